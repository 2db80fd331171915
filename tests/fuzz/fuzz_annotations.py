"""Atheris: any bytes as an instances JSON are annotations or one line that names the file.

    pip install atheris
    python fuzz/fuzz_annotations.py -runs=10000      # or none: until a defect is found or it is stopped

An input that fails is written to crash-<hash>; the same command with that file's name repeats it.
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
    """A valid document in which up to three stretches are replaced."""
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
