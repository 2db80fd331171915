"""The time of a training step of each method, of the network alone, and of assignment and loss alone.

    python benchmarks/step.py                                       # PAA-R50, two images of 256 x 320, on the CPU
    python benchmarks/step.py --terms                               # all methods and distillation terms
    python benchmarks/step.py --compile --plain                     # with torch.compile
    python benchmarks/step.py --device cuda --batch 8 --height 800 --width 1344 --precision bf16-mixed [--student r101]

Random images with gts as in `scenes.py`, for a GPU in pinned memory, as the loader delivers them. The backbone's stem
and first stage are frozen and BatchNorm uses its stored statistics, as in the paper's recipe. A step is all work
between two batches: candidates, networks, assignment, losses, backward and optimizer. "bare network": forward, and
backward of the sum of its outputs. "assignment and loss": the rest of the baseline's step, from given outputs and with
the backward pass to them. A round runs each variant once, in turn.
"""

import argparse
import functools
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from lightning_fabric import Fabric
from measure import alternate, machine, median_ratio
from scenes import targets_of

from lad.assigners import PAA, AssignmentContext
from lad.config.experiment import Parameters, make_parameters
from lad.distillation.assignment_cache import AssignmentCache
from lad.distillation.methods import baseline_loss
from lad.distillation.terms import TERMS
from lad.geometry import make_anchors
from lad.models.detector import build_detector
from lad.models.fuse_batchnorm import fuse_batchnorm
from lad.models.student_teacher import StudentTeacherPair
from lad.structures import Batch, HeadOutputs
from lad.training.optimizer import build_optimizer
from lad.training.step import optimizer_step, training_step
from lad.utils.memory import keep_freed_memory

CLASSES = 80
PAPER = {"frozen_stages": 1, "norm_eval": True}


def random_batch(images: int, hw: tuple[int, int], gts: int) -> Batch:
    """Return random images of one size with `gts` gts each."""
    targets = targets_of(gts, hw, images)
    original_hw = torch.tensor([hw] * images)
    flipped = torch.zeros(images, dtype=torch.bool)
    return Batch(torch.randn(images, 3, *hw), targets, torch.arange(images), original_hw, flipped)


def step_builders(
    given: argparse.Namespace, fabric: Fabric, folder: Path
) -> dict[str, Callable[[], Callable[[], object]]]:
    """Return a function for each task, by name, that builds its networks and returns the task.

    Args:
        given: The command line's arguments.
        fabric: Device and precision.
        folder: Folder for the cache of the teacher's assignments.
    """
    torch.manual_seed(0)
    batch = random_batch(given.batch, (given.height, given.width), given.gts)
    if fabric.device.type == "cuda":
        batch = batch.pin_memory()
    trained = functools.partial(training_task, given, batch, fabric)
    builders = {
        "bare network": functools.partial(bare, given, batch, fabric),
        "assignment and loss": functools.partial(on_given_outputs, batch, fabric),
        "baseline": functools.partial(trained, "baseline"),
    }
    if given.plain:
        return builders
    builders |= {
        "LAD": functools.partial(trained, "lad"),
        "LAD, teacher cached": functools.partial(trained, "lad", folder),
        "CoLAD": functools.partial(trained, "colad"),
    }
    if not given.terms:
        return builders
    with_terms = {
        f"{title} + {entry.title}": functools.partial(trained, method, distill=(name,))
        for title, method in (("baseline", "baseline"), ("LAD", "lad"))
        for name, entry in TERMS.items()
    }
    return {
        "baseline": builders["baseline"],
        "soft label": functools.partial(trained, "soft_label"),
        "LAD": builders["LAD"],
        "SoLAD": functools.partial(trained, "solad"),
        **with_terms,
    }


def training_task(
    given: argparse.Namespace,
    batch: Batch,
    fabric: Fabric,
    method: str,
    cache_folder: Path | None = None,
    distill: Sequence[str] = (),
) -> Callable[[], object]:
    """Return a training step of a method; with a folder, its teacher's assignments are cached there."""
    parameters = parameters_of(given, method, cache_folder is not None, distill)
    network = build_detector(given.student, CLASSES, **PAPER)
    if method == "colad":
        network = StudentTeacherPair(network, build_detector(given.teacher, CLASSES, **PAPER))
    network.to(memory_format=torch.channels_last)
    if given.compile:
        network.compile()
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    model, optimizer = fabric.setup(network, build_optimizer(parameters, weights))
    teacher = None
    if parameters.needs_teacher and method != "colad":
        teacher = fuse_batchnorm(build_detector(given.teacher, CLASSES))
        teacher.to(fabric.device, memory_format=torch.channels_last)
    cache = None if cache_folder is None else AssignmentCache(cache_folder, {})
    model.train()

    def step() -> None:
        result = training_step(parameters, model, batch, fabric, teacher, cache)
        fabric.backward(result.total())
        optimizer_step(parameters, optimizer, result.total(), fabric)
        synchronize(fabric)

    return step


def parameters_of(given: argparse.Namespace, method: str, cached: bool, distill: Sequence[str] = ()) -> Parameters:
    """Return the parameters of a method under the paper's recipe."""
    teacher = {"teacher": given.teacher, "cache_teacher": cached} if method != "baseline" or distill else {}
    network = {"student": given.student, "precision": given.precision}
    return make_parameters({"profile": "coco_1x", "method": method, "distill": list(distill), **network, **teacher})


def bare(given: argparse.Namespace, batch: Batch, fabric: Fabric) -> Callable[[], object]:
    """Return forward and backward of the student's network alone."""
    network = build_detector(given.student, CLASSES, **PAPER).to(fabric.device, memory_format=torch.channels_last)
    network.train()
    if given.compile:
        network.compile()
    images = batch.images.to(fabric.device, memory_format=torch.channels_last)

    def forward_and_backward() -> None:
        with fabric.autocast():
            outputs = network(images)
        network.zero_grad()
        sum(field.float().sum() for field in outputs).backward()
        synchronize(fabric)

    return forward_and_backward


def on_given_outputs(batch: Batch, fabric: Fabric) -> Callable[[], object]:
    """Return assignment, loss and backward to the outputs, which are random."""
    host_anchors, anchors = make_anchors(batch.padded_hw), make_anchors(batch.padded_hw, fabric.device)
    shape, targets = (len(batch.images), len(anchors.boxes)), batch.targets.to(fabric.device)
    outputs = HeadOutputs(
        torch.randn(*shape, CLASSES, device=fabric.device).sub(4).requires_grad_(),
        torch.randn(*shape, 4, device=fabric.device).div(2).requires_grad_(),
        torch.randn(shape, device=fabric.device).requires_grad_(),
    )

    def assign_and_compute_loss() -> None:
        candidates = PAA().find_candidates(host_anchors, batch.targets).to(fabric.device)
        loss = baseline_loss(outputs, None, AssignmentContext(candidates, anchors, targets))
        torch.autograd.grad(torch.stack(list(loss.terms.values())).sum(), outputs)
        synchronize(fabric)

    return assign_and_compute_loss


def synchronize(fabric: Fabric) -> None:
    """Wait until the device has finished its work."""
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--student", default="r50")
    parser.add_argument("--teacher", default="r101")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed", "16-mixed"), default="32-true")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--gts", type=int, default=8, help="per image")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--plain", action="store_true", help="the baseline alone, no method with a teacher")
    parser.add_argument("--terms", action="store_true", help="every method with a frozen teacher, and every term")
    parser.add_argument("--rounds", type=int, default=7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    given = parser.parse_args()
    keep_freed_memory()
    fabric = Fabric(accelerator=given.device, devices=1, precision=given.precision)
    with tempfile.TemporaryDirectory() as folder:
        tasks = {name: build() for name, build in step_builders(given, fabric, Path(folder)).items()}
        torch._dynamo.utils.counters.clear()
        seconds = alternate(tasks, given.rounds)
    device = torch.cuda.get_device_name() if given.device == "cuda" else machine()
    compiled = ""
    if given.compile:
        compiled = f", compiled with {sum(torch._dynamo.utils.counters['graph_break'].values())} graph breaks"
    print(
        f"{device}; student {given.student}, teacher {given.teacher}, {given.batch} images of "
        f"{given.height} x {given.width}, {given.gts} gts each, {given.precision}{compiled}; "
        f"medians of {given.rounds} rounds.\n"
    )
    references = {"bare network": "of the bare network", "baseline": "of the baseline's step"}
    references = {name: title for name, title in references.items() if name in seconds}
    print(f"| step | ms | images/s | {' | '.join(references.values())} |")
    print("|---|---:|---:|" + "---:|" * len(references))
    for name, times in seconds.items():
        median = statistics.median(times)
        ratios = " | ".join(f"{median_ratio(times, seconds[other]):.3f}" for other in references)
        print(f"| {name} | {1000 * median:.0f} | {given.batch / median:.2f} | {ratios} |")


if __name__ == "__main__":
    main()
