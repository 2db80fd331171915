"""Speed of the data loader alone, in images per second, and the share of padding in its batches.

    python benchmarks/loader.py [--short-side 800] [--long-side 1333] [--workers 0 1 2] [--images 64]

Photograph-like JPEGs of COCO's sizes are written to a temporary folder, loaded, resized, flipped, normalized and
collated in batches of two, as in training. Compare the images per second and worker with the time of a training step in
the table of `step.py`: the loader should be faster. The share of padding is given with and without separate batches of
landscape and portrait images.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from measure import machine
from PIL import Image

from lad.config.experiment import make_parameters
from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset
from lad.data.collate import collate
from lad.data.samplers import AspectRatioBatchSampler
from lad.data.transforms import train_transform
from lad.training.loaders import load_batches, training_sampler

SIZES = ((480, 640), (427, 640), (640, 480), (640, 427), (375, 500))  # (height, width), the most frequent of COCO
SHARES = (0.38, 0.30, 0.14, 0.10, 0.08)
GTS = 7


def write_photographs(folder: Path, images: int) -> Path:
    rng = np.random.default_rng(0)
    images_listed, gts = [], []
    for number in range(images):
        height, width = SIZES[rng.choice(len(SIZES), p=SHARES)]
        coarse = rng.integers(0, 255, (height // 20, width // 20, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = (smooth + rng.integers(-12, 12, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{number}.jpg", quality=90)
        images_listed.append({"id": number, "file_name": f"{number}.jpg", "height": height, "width": width})
        for _ in range(GTS):
            x, y = rng.uniform(0, width / 2), rng.uniform(0, height / 2)
            gts.append({"id": len(gts), "image_id": number, "category_id": 1, "bbox": [x, y, width / 4, height / 4]})
    path = folder / "instances_train.json"
    path.write_text(
        json.dumps({"images": images_listed, "annotations": gts, "categories": [{"id": 1, "name": "thing"}]})
    )
    return path


def padding_share(dataset: CocoDataset, is_grouped: bool, batch_size: int) -> float:
    """Return the fraction of the pixels of an epoch's batches that are padding."""
    hw = dataset.annotations.records.hw
    sampler = AspectRatioBatchSampler(hw if is_grouped else torch.ones_like(hw), batch_size, seed=0)
    batches = [collate([dataset[key.index] for key in batch]) for batch in sampler]
    pixels = sum(batch.images[:, 0].numel() for batch in batches)
    return 1 - sum(int(batch.targets.image_hw.prod(dim=1).sum()) for batch in batches) / pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short-side", type=int, default=800)
    parser.add_argument("--long-side", type=int, default=1333)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    fabric = Fabric(accelerator="cpu", devices=1)
    with tempfile.TemporaryDirectory() as folder:
        annotations = read_annotations(write_photographs(Path(folder), given.images))
        dataset = CocoDataset(Path(folder), annotations, train_transform([given.short_side], given.long_side))
        print(f"{machine()}; JPEGs to {given.short_side} x {given.long_side}; medians of {given.rounds} epochs.\n")
        print("| workers | images/s |\n|---:|---:|")
        for workers in given.workers:
            parameters = make_parameters({"batch_size": given.batch, "workers": workers})
            loader = load_batches(dataset, training_sampler(dataset, parameters, fabric), parameters, fabric)
            seconds = []
            for _ in range(given.rounds + 1):  # the first one starts the workers
                started = time.perf_counter()
                count = sum(len(batch.images) for batch in loader)
                seconds.append((time.perf_counter() - started) / count)
            print(f"| {workers} | {1 / statistics.median(seconds[1:]):.1f} |", flush=True)
        grouped, mixed = (padding_share(dataset, is_grouped, given.batch) for is_grouped in (True, False))
        print(f"\nPadding is {grouped:.1%} of the pixels; {mixed:.1%} if batches mixed landscape and portrait images.")


if __name__ == "__main__":
    main()
