"""An epoch of LAD with a remembered teacher, beside the plain student's and LAD's own.

    python benchmarks/epoch.py [--rounds 5] [--images 800] [--student r50] [--teacher r101]

The toy profile, evaluation left out. Each round trains one epoch of each, in turn, from the same weights; the cache has
seen every image and its mirror image before. The losses of both LAD epochs are compared bit by bit.
"""

import argparse
import copy
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from lightning.fabric import Fabric
from measure import alternate, machine, median_ratio
from torch.utils.data import DataLoader

from lad.config.experiment import Parameters, make_parameters
from lad.data.collate import collate
from lad.data.transforms import train_transform
from lad.distillation.assignment_cache import AssignmentCache
from lad.experiments.setup import new_detector, open_data
from lad.geometry import make_anchors
from lad.models.fuse_batchnorm import fuse_batchnorm
from lad.training.checkpoint import Progress
from lad.training.interrupt import StopRequest
from lad.training.optimizer import build_optimizer
from lad.training.step import teacher_assignment
from lad.training.trainer import load_batches, train_epoch, training_sampler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--student", default="r50")
    parser.add_argument("--teacher", default="r101")
    given = parser.parse_args()
    lad = make_parameters(
        {"student": given.student, "teacher": given.teacher, "train_images": given.images, "accelerator": "cpu"}
    )
    fabric = Fabric(accelerator="cpu", devices=1)
    train_set, _ = open_data(lad)
    names = train_set.annotations.class_names
    torch.manual_seed(0)
    student, teacher = new_detector(lad, names), fuse_batchnorm(new_detector(lad.of_teacher(), names))
    teacher.to(memory_format=torch.channels_last)
    losses: dict[str, dict[str, float]] = {}

    def epoch(name: str, parameters: Parameters, teacher=None, cache=None) -> Callable[[], object]:
        def train() -> None:
            network = copy.deepcopy(student).to(memory_format=torch.channels_last)
            model, optimizer = fabric.setup(network, build_optimizer(parameters, list(network.parameters())))
            batches = load_batches(train_set, training_sampler(train_set, parameters, fabric), parameters, fabric)
            length, place, request = len(batches), Progress(), StopRequest()
            end = train_epoch(
                parameters, model, optimizer, teacher, cache, batches, fabric, place, length, Path(folder), request
            )
            losses[name] = {sum_of: float(value) for sum_of, value in end.sums.items()}

        return train

    with tempfile.TemporaryDirectory() as folder:
        cache = AssignmentCache(Path(folder), {})
        for flip in (0, 1):  # each image, and its mirror image
            train_set.transform = train_transform(lad.short_sides, lad.long_side, flip)
            for batch in DataLoader(train_set, lad.batch_size, collate_fn=collate):
                cache.get(batch, make_anchors(batch.padded_hw), teacher_assignment(lad, teacher, fabric))
        train_set.transform = train_transform(lad.short_sides, lad.long_side, lad.flip)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        tasks = {
            "plain student": epoch("plain student", lad.plain()),
            "LAD": epoch("LAD", lad, teacher),
            "LAD, teacher remembered": epoch("LAD, teacher remembered", lad, teacher, cache),
        }
        seconds = alternate(tasks, given.rounds)
    remembered, asked = losses["LAD, teacher remembered"], losses["LAD"]
    assert all(remembered[name] == asked[name] for name in remembered), "the losses differ"
    print(
        f"{machine()}; {given.student} taught by {given.teacher}, {given.images} images; medians of {given.rounds} "
        f"rounds.\nBoth LAD epochs have the same losses, bit by bit. The cache takes {size / len(cache):.0f} bytes for "
        "each image.\n"
    )
    print("| epoch | seconds | of the plain student's |")
    print("|---|---:|---:|")
    for name, own in seconds.items():
        print(f"| {name} | {statistics.median(own):.2f} | {median_ratio(own, seconds['plain student']):.3f} |")


if __name__ == "__main__":
    main()
