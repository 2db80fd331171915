"""Reading of annotations of COCO's size: seconds, peak memory, and memory of the records in each worker process.

    python benchmarks/annotations.py [--rounds 3]

The file is generated, with as many images and gts as train2017, and with polygons. A round reads it with lad and
pycocotools in turn. Peak memory is that of a fresh process, including imports and the pages of the file that lad maps.
A worker's memory is its private memory after it has read every record, minus that of a worker without records.
"""

import argparse
import contextlib
import io
import json
import random
import statistics
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import psutil
from measure import alternate, machine, peak_memory
from pycocotools.coco import COCO
from torch.utils.data import DataLoader, Dataset

from lad.data.annotations import read_annotations

IMAGES, GTS, CATEGORIES = 118_287, 860_001, 80  # of train2017
WORKERS = 4


def write_instances(path: Path) -> None:
    """Write images of 640 x 480 with their gts one by one, without holding the document in memory."""
    generator = random.Random(0)
    outlines = [
        json.dumps([[round(generator.uniform(0, 480), 2) for _ in range(2 * generator.randint(3, 40))]])
        for _ in range(1000)
    ]
    image = '{{"license": 3, "file_name": "{0:012d}.jpg", "height": 480, "width": 640, "id": {0}}}'
    gt = (
        '{{"segmentation": {}, "area": 702.1057499999998, "iscrowd": 0, "image_id": {}, '
        '"bbox": [{:.2f}, {:.2f}, {:.2f}, {:.2f}], "category_id": {}, "id": {}}}'
    )
    with path.open("w") as file:
        file.write('{"images": [' + ", ".join(image.format(number) for number in range(IMAGES)))
        file.write('], "annotations": [')
        for number in range(GTS):
            x, y, width, height = (side * generator.random() for side in (320, 240, 320, 240))
            image_id, category_id = generator.randrange(IMAGES), generator.randint(1, CATEGORIES)
            file.write(", " * (number > 0))
            file.write(gt.format(outlines[number % 1000], image_id, x, y, width + 1, height + 1, category_id, number))
        categories = [{"id": number, "name": f"class {number}"} for number in range(1, CATEGORIES + 1)]
        file.write(f'], "categories": {json.dumps(categories)}}}')


def read_with_pycocotools(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(path)


class PrivateMemory(Dataset[float]):
    """Private memory of each worker in MB, after it has read all records."""

    def __init__(self, records: Sequence) -> None:
        self.records = records

    def __len__(self) -> int:
        return WORKERS

    def __getitem__(self, index: int) -> float:
        for record in self.records:
            record.boxes.sum()
        return psutil.Process().memory_full_info().uss / 2**20


def worker_memory(records: Sequence, start_method: str) -> float:
    """Return the MB that the records add to a worker, averaged over the workers."""

    def mean(subset: Sequence) -> float:
        loader = DataLoader(
            PrivateMemory(subset), batch_size=None, num_workers=WORKERS, multiprocessing_context=start_method
        )
        return statistics.mean(loader)

    return mean(records) - mean(records[:0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    warnings.filterwarnings("ignore", message="This DataLoader will create")  # more workers than cores
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "instances_train.json"
        write_instances(path)
        print(
            f"{machine()}; {path.stat().st_size / 1e6:.0f} MB, {IMAGES:,} images, {GTS:,} gts, {given.rounds} rounds\n"
        )

        print("| reading | seconds | peak memory, MB |\n|---|---:|---:|")
        readers = {"lad": read_annotations, "pycocotools": read_with_pycocotools}
        seconds = alternate({name: lambda read=read: read(path) for name, read in readers.items()}, given.rounds)
        for name, read in readers.items():
            print(f"| {name} | {statistics.median(seconds[name]):.1f} | {peak_memory(read, path):.0f} |", flush=True)

        print(f"\n| records, in {WORKERS} workers | fork, MB each | spawn, MB each |\n|---|---:|---:|")
        records = read_annotations(path).records
        objects = tuple(records)
        for name, sequence in (("flat tensors (lad)", records), ("a tuple of objects", objects)):
            fork, spawn = (worker_memory(sequence, start_method) for start_method in ("fork", "spawn"))
            print(f"| {name} | {fork:.0f} | {spawn:.0f} |", flush=True)


if __name__ == "__main__":
    main()
