"""Coverage-guided fuzzing of the JSON reader: any bytes are read, or refused in one line that names the file.

    pip install atheris
    python tests/fuzz/fuzz_annotations.py -runs=10000      # without -runs: until a defect or an interrupt

A failing input is written to crash-<hash>; the command with that file's name as argument repeats it.
"""

import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lad.data.annotations", "lad.data.records", "lad.utils.messages", "json"]):
    from lad.data.annotations import read_annotations

VALID = json.dumps(
    {
        "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 30}],
        "categories": [{"id": 90, "name": "zebra"}, {"id": 3, "name": "car"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [5, 6, 10, 12], "iscrowd": 0}],
    }
).encode()
PATH = Path(tempfile.mkdtemp()) / "instances_train.json"


def read(content: bytes) -> None:
    """Read a valid document in which up to three byte ranges are replaced."""
    provider = atheris.FuzzedDataProvider(content)
    document = VALID
    for _ in range(provider.ConsumeIntInRange(1, 3)):
        start = provider.ConsumeIntInRange(0, len(document))
        end = provider.ConsumeIntInRange(start, min(len(document), start + 30))
        document = document[:start] + provider.ConsumeBytes(provider.ConsumeIntInRange(0, 30)) + document[end:]
    PATH.write_bytes(document)
    try:
        records = read_annotations(PATH).records
    except ValueError as error:
        assert str(error).startswith(f"{PATH}: ") and len(str(error).splitlines()) == 1
        return
    for record in records:
        assert (record.boxes[:, 2:] > record.boxes[:, :2]).all()


if __name__ == "__main__":
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
