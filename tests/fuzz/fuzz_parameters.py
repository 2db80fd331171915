"""Atheris: any YAML as parameters is a run or one line that says what is wrong.

    pip install atheris
    python fuzz/fuzz_parameters.py -runs=10000      # or none: until a defect is found or it is stopped

An input that fails is written to crash-<hash>; the same command with that file's name repeats it.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["lad.config.experiment", "lad.config.yaml_file", "lad.utils.messages", "yaml"]
):
    from lad.config.experiment import Parameters, make_parameters
    from lad.config.yaml_file import read_values

VALID = (
    b"profile: toy\nmethod: lad\nstudent: r50\nteacher: r101\nepochs: 3\nlr: 1e-4\nshort_sides: [64, 128]\nout: runs\n"
)
NAMES = list(Parameters.model_fields)
PATH = Path(tempfile.mkdtemp()) / "row.yaml"


def read(content: bytes) -> None:
    """A valid file in which up to three stretches are replaced, by a name among others."""
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
