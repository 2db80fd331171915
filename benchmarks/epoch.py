"""The time of an epoch: plain student, LAD, and LAD with a cached teacher.

    python benchmarks/epoch.py [--rounds 5] [--images 800] [--student r50] [--teacher r101]

The toy profile without evaluation. Each round trains one epoch of each variant, in turn, from the same weights; the
cache already holds every image and its mirror image. The losses of both LAD epochs are compared bit by bit.
"""

import argparse
import copy
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from lightning_fabric import Fabric
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
from lad.training.interrupt import Interrupt
from lad.training.loaders import load_batches, training_sampler
from lad.training.optimizer import build_optimizer
from lad.training.step import teacher_assignment
from lad.training.trainer import Trainer, train_epoch


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
    class_names = train_set.annotations.class_names
    torch.manual_seed(0)
    student = new_detector(lad, class_names)
    teacher = fuse_batchnorm(new_detector(lad.of_teacher(), class_names))
    teacher.to(memory_format=torch.channels_last)
    losses: dict[str, dict[str, float]] = {}

    def epoch(name: str, parameters: Parameters, teacher=None, cache=None) -> Callable[[], object]:
        def train() -> None:
            network = copy.deepcopy(student).to(memory_format=torch.channels_last)
            model, optimizer = fabric.setup(network, build_optimizer(parameters, list(network.parameters())))
            batches = load_batches(train_set, training_sampler(train_set, parameters, fabric), parameters, fabric)
            trainer = Trainer(parameters, network, model, optimizer, fabric, Path(folder), len(batches), teacher, cache)
            progress = train_epoch(trainer, batches, Progress(), Interrupt())
            losses[name] = {term: float(value) for term, value in progress.sums.items()}

        return train

    with tempfile.TemporaryDirectory() as folder:
        cache = AssignmentCache(Path(folder), {})
        for flip in (0, 1):  # each image, and its mirror image
            train_set.transform = train_transform(lad.short_sides, lad.long_side, flip)
            for batch in DataLoader(train_set, lad.batch_size, collate_fn=collate):
                cache.get(batch, make_anchors(batch.padded_hw), teacher_assignment(lad, [teacher], fabric))
        train_set.transform = train_transform(lad.short_sides, lad.long_side, lad.flip)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        tasks = {
            "plain student": epoch("plain student", lad.plain()),
            "LAD": epoch("LAD", lad, teacher),
            "LAD, teacher cached": epoch("LAD, teacher cached", lad, teacher, cache),
        }
        seconds = alternate(tasks, given.rounds)
    cached, uncached = losses["LAD, teacher cached"], losses["LAD"]
    assert all(uncached[name] == value for name, value in cached.items()), "the losses differ"
    print(
        f"{machine()}; student {given.student}, teacher {given.teacher}, {given.images} images; medians of "
        f"{given.rounds} rounds.\nThe losses of both LAD epochs are identical, bit by bit. The cache takes "
        f"{size / len(cache):.0f} bytes per image.\n"
    )
    print("| epoch | seconds | of the plain student's |")
    print("|---|---:|---:|")
    for name, times in seconds.items():
        print(f"| {name} | {statistics.median(times):.2f} | {median_ratio(times, seconds['plain student']):.3f} |")


if __name__ == "__main__":
    main()
