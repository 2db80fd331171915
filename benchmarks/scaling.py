"""Time and memory of a training step against gts per image, image size and batch size, with a figure.

    python benchmarks/scaling.py [--student r50] [--rounds 5] [--figure docs/figures/scaling.png]

Plain PAA on the CPU, like the baseline of `step.py`. One size varies; the others are those of two images of 256 x 320
with 8 gts each. A round takes one step of every size, in turn; memory is the peak of a process that takes two steps.
"assignment and loss" is timed alone, on images of 800 x 1344 with 22,400 anchors each.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import torch
from lightning_fabric import Fabric
from measure import alternate, machine, peak_memory, slope
from step import CLASSES, PAPER, on_given_outputs, parameters_of, random_batch

from lad.models.detector import build_detector
from lad.training.optimizer import build_optimizer
from lad.training.step import optimizer_step, training_step

GTS = (2, 8, 32, 100, 250, 500)
SIZES = ((128, 160), (192, 256), (256, 320), (384, 480), (512, 640))
BATCHES = (1, 2, 4, 8)
USUAL = {"images": 2, "hw": (256, 320), "gts": 8}
BLUE, ORANGE = "#0072b2", "#d55e00"

Axis = tuple[str, list[float], list[dict]]  # what varies, its values, the settings of each value


def step(student: str, images: int, hw: tuple[int, int], gts: int) -> Callable[[], object]:
    """Return a training step on random images."""
    fabric = Fabric(accelerator="cpu", devices=1)
    torch.manual_seed(0)
    given = SimpleNamespace(student=student, precision="32-true")
    parameters = parameters_of(given, "baseline", cached=False)
    network = build_detector(student, CLASSES, **PAPER).to(memory_format=torch.channels_last)
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    model, optimizer = fabric.setup(network, build_optimizer(parameters, weights))
    model.train()
    batch = random_batch(images, hw, gts)

    def take() -> None:
        result = training_step(parameters, model, batch, fabric)
        fabric.backward(result.total())
        optimizer_step(parameters, optimizer, result.total(), fabric)

    return take


def two_steps(student: str, images: int, hw: tuple[int, int], gts: int) -> None:
    """Take two training steps: in the second, the optimizer has its state."""
    take = step(student, images, hw, gts)
    take()
    take()


def axes_of() -> list[Axis]:
    """Return the sizes that vary, one at a time."""
    return [
        ("gts per image", list(GTS), [{**USUAL, "gts": gts} for gts in GTS]),
        ("megapixels of an image", [h * w / 1e6 for h, w in SIZES], [{**USUAL, "hw": hw} for hw in SIZES]),
        ("images in a batch", list(BATCHES), [{**USUAL, "images": images} for images in BATCHES]),
    ]


def draw(measured: list[tuple[str, list[float], list[float], list[float]]], path: Path, student: str) -> None:
    """Draw seconds and memory against each size."""
    figure, axes = plt.subplots(1, len(measured), figsize=(4 * len(measured), 3.4), layout="constrained")
    for axis, (name, values, seconds, memory) in zip(axes, measured, strict=True):
        axis.plot(values, seconds, "o-", color=BLUE)
        axis.set(xlabel=name, ylabel="seconds of a step", ylim=(0, 1.15 * max(seconds)))
        axis.yaxis.label.set_color(BLUE)
        beside = axis.twinx()
        beside.plot(values, memory, "s--", color=ORANGE)
        beside.set(ylabel="peak memory of the process, GB", ylim=(0, 1.15 * max(memory)))
        beside.yaxis.label.set_color(ORANGE)
        for twin in (axis, beside):
            twin.spines["top"].set_visible(False)
    figure.get_layout_engine().set(wspace=0.08)
    figure.suptitle(f"A training step of PAA-{student.upper()} on two CPU cores")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", default="r50")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    print(f"{machine()}; PAA-{given.student}, medians of {given.rounds} rounds.")
    measured = []
    for name, values, settings in axes_of():
        tasks = {str(value): step(given.student, **setting) for value, setting in zip(values, settings, strict=True)}
        seconds = [statistics.median(times) for times in alternate(tasks, given.rounds).values()]
        memory = [peak_memory(two_steps, given.student, *setting.values()) / 1024 for setting in settings]
        measured.append((name, values, seconds, memory))
        print(f"\n| {name} | seconds | peak memory, GB |\n|---:|---:|---:|")
        for value, second, peak in zip(values, seconds, memory, strict=True):
            print(f"| {value:g} | {second:.2f} | {peak:.2f} |")
        unit = name.removesuffix("s per image").removesuffix("s of an image").removesuffix("s in a batch")
        milliseconds, megabytes = 1000 * slope(values, seconds), 1024 * slope(values, memory)
        print(f"\nOne more {unit} takes {milliseconds:.2g} ms and {megabytes:.2g} MB.", flush=True)
    fabric = Fabric(accelerator="cpu", devices=1)
    tasks = {str(gts): on_given_outputs(random_batch(2, (800, 1344), gts), fabric) for gts in GTS}
    seconds = [statistics.median(times) for times in alternate(tasks, given.rounds).values()]
    print("\n| gts per image, 800 x 1344 | assignment and loss, ms |\n|---:|---:|")
    for gts, second in zip(GTS, seconds, strict=True):
        print(f"| {gts} | {1000 * second:.0f} |")
    print(f"\nOne more gt per image takes {1000 * slope(GTS, seconds):.2g} ms.")
    if given.figure:
        draw(measured, given.figure, given.student)


if __name__ == "__main__":
    main()
