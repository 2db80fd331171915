"""How often a cached assignment differs from the one that the teacher would make in the current batch.

    python benchmarks/cache_padding.py FOLDER [--teacher r50] [--epochs 10] [--short-side 240] [--long-side 320]

FOLDER: a data set in COCO format whose images have several sizes. First, a teacher is trained on it. Then, in each of
several rounds, every training image or its mirror image is in one batch, with other images each time; the padding
follows from the largest of them. The first assignment is cached, as with `cache_teacher`, and compared with the later
ones.
"""

import argparse
import tempfile

import torch
from lightning_fabric import Fabric
from measure import machine

from lad.config.experiment import make_parameters
from lad.distillation.assignment_cache import AssignmentCache
from lad.distillation.statistics import jaccard
from lad.experiments.runner import run_experiment
from lad.experiments.setup import open_data
from lad.geometry import make_anchors
from lad.models.fuse_batchnorm import fuse_batchnorm
from lad.training.loaders import load_batches, training_sampler
from lad.training.step import teacher_assignment

ROUNDS = 12  # epochs of batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--teacher", default="r50")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--short-side", type=int, default=240)
    parser.add_argument("--long-side", type=int, default=320)
    parser.add_argument("--batch-size", type=int, default=4)
    given = parser.parse_args()
    fabric = Fabric(accelerator="cpu", devices=1)
    with tempfile.TemporaryDirectory() as folder:
        parameters = make_parameters(
            {
                "data": given.folder, "out": folder, "method": "baseline", "student": given.teacher,
                "epochs": given.epochs, "batch_size": given.batch_size, "accelerator": "cpu", "lr": 1e-3,
                "short_sides": [given.short_side], "test_short_side": given.short_side, "long_side": given.long_side,
            }
        )  # fmt: skip
        run = run_experiment(parameters)
        teacher = fuse_batchnorm(run.load_detector()).to(memory_format=torch.channels_last)
        assign = teacher_assignment(parameters, [teacher], fabric)
        train_set, _ = open_data(parameters)
        sampler = training_sampler(train_set, parameters, fabric)
        cache = AssignmentCache(run.folder, {})
        first_padding: dict[tuple[int, bool], tuple[int, int]] = {}
        images, differing, agreement = {True: 0, False: 0}, {True: 0, False: 0}, []  # by whether padded alike
        for sampler.epoch in range(ROUNDS):
            for batch in load_batches(train_set, sampler, parameters, fabric):
                anchors, current = make_anchors(batch.padded_hw), assign(batch)
                cached = cache.get(batch, anchors, assign)
                for row, image_key in enumerate(zip(batch.image_id.tolist(), batch.is_flipped.tolist(), strict=True)):
                    if image_key not in first_padding:
                        first_padding[image_key] = batch.padded_hw
                        continue
                    is_padded_alike = first_padding[image_key] == batch.padded_hw
                    images[is_padded_alike] += 1
                    differing[is_padded_alike] += not torch.equal(current[row], cached[row])
                    if not is_padded_alike and (cached[row] >= 0).any():
                        agreement.append(jaccard(current[row], cached[row]).item())
    print(f"\n{machine()}; PAA-{given.teacher}, {given.epochs} epochs, AP {run.metrics['AP']:.3f}\n")
    print("| padding of the batch | images | assignment differs | positives that agree, mean |")
    print("|---|---:|---:|---:|")
    print(f"| as in the cached batch | {images[True]} | {differing[True]} | – |")
    mean = sum(agreement) / max(len(agreement), 1)
    share = differing[False] / max(images[False], 1)
    print(f"| other | {images[False]} | {differing[False]} ({share:.0%}) | {mean:.1%} |")


if __name__ == "__main__":
    main()
