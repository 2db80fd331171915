"""Atheris: any YAML of parameters makes a run or raises one line that says what is wrong.

    pip install atheris
    python tests/fuzz/fuzz_parameters.py -runs=10000      # without -runs: until a defect is found or it is stopped

A failing input is written to crash-<hash>; the same command with that file's name runs it again.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["lad.config.experiment", "lad.config.yaml_file", "lad.utils.messages", "lad.utils.options", "yaml"]
):
    from lad.config.experiment import Parameters, make_parameters
    from lad.config.yaml_file import read_values

VALID = (
    b"profile: toy\nmethod: solad\nstudent: r50\nteacher: r101\nepochs: 3\nlr: 1e-4\nshort_sides: [64, 128]\n"
    b"out: runs\nassigner_options: {topk: 13, min_iou: 0.2}\nmethod_options: {cls_weight: 5}\n"
)
NAMES = list(Parameters.model_fields)
PATH = Path(tempfile.mkdtemp()) / "row.yaml"


def read(content: bytes) -> None:
    """Replace up to three parts of a valid file, some by the name of a parameter, and make parameters of it."""
    provider = atheris.FuzzedDataProvider(content)
    document = VALID
    for _ in range(provider.ConsumeIntInRange(1, 3)):
        start = provider.ConsumeIntInRange(0, len(document))
        end = provider.ConsumeIntInRange(start, min(len(document), start + 30))
        name = f"\n{provider.PickValueInList(NAMES)}: ".encode() if provider.ConsumeBool() else b""
        document = document[:start] + name + provider.ConsumeBytes(provider.ConsumeIntInRange(0, 20)) + document[end:]
    PATH.write_bytes(document)
    try:
        parameters = make_parameters(read_values(PATH))
    except ValueError as error:
        assert type(error) is ValueError and len(str(error).splitlines()) == 1
        return
    assert parameters.teacher is None or parameters.of_teacher().run_name
    assert parameters.run_name and parameters.summary()


if __name__ == "__main__":
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
