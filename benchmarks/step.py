"""A training step of each method, beside forward and backward of the bare network, and what assignment and loss take.

    python benchmarks/step.py                                       # PAA-R50, two images of 256 x 320, on the CPU
    python benchmarks/step.py --compile --plain                     # with torch.compile
    python benchmarks/step.py --device cuda --batch 8 --height 800 --width 1344 --precision bf16-mixed [--student r101]

Random images with gts as in `assignment.py`; the backbone's stem and first stage are frozen and BatchNorm uses its
stored statistics, as in the paper's recipe. A step is everything between a batch and the next: candidates, networks,
assignment, losses, backward and optimizer. "bare network": forward, and backward of the sum of its outputs.
"assignment and loss": what remains of the baseline's step when the outputs are given, with its backward to them.
A round runs everything once, in turn.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from assignment import targets_of
from lightning.fabric import Fabric
from measure import alternate, machine, median_ratio

from lad.assigners.candidates import match_candidates
from lad.config.experiment import Parameters, make_parameters
from lad.distillation.assignment_cache import AssignmentCache
from lad.distillation.methods import baseline
from lad.geometry import make_anchors
from lad.models.detector import build_detector
from lad.models.fuse_batchnorm import fuse_batchnorm
from lad.models.student_teacher import StudentTeacherPair
from lad.structures import Batch, HeadOutputs
from lad.training.optimizer import build_optimizer
from lad.training.step import optimizer_step, training_step

CLASSES = 80
PAPER = {"frozen_stages": 1, "norm_eval": True}


def random_batch(images: int, hw: tuple[int, int], gts: int) -> Batch:
    targets = targets_of(gts, hw, images)
    original_hw = torch.tensor([hw] * images)
    flipped = torch.zeros(images, dtype=torch.bool)
    return Batch(torch.randn(images, 3, *hw), targets, torch.arange(images), original_hw, flipped)


def steps(given: argparse.Namespace, fabric: Fabric, folder: Path) -> dict[str, Callable[[], object]]:
    """The tasks by name."""
    torch.manual_seed(0)
    batch = random_batch(given.batch, (given.height, given.width), given.gts)
    teacher = fuse_batchnorm(build_detector(given.teacher, CLASSES)).to(
        fabric.device, memory_format=torch.channels_last
    )

    def trained(method: str, cached: bool = False) -> Callable[[], object]:
        parameters = parameters_of(given, method, cached)
        network = build_detector(given.student, CLASSES, **PAPER)
        if method == "colad":
            network = StudentTeacherPair(network, build_detector(given.teacher, CLASSES, **PAPER))
        network.to(memory_format=torch.channels_last)
        if given.compile:
            network.compile()
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        model, optimizer = fabric.setup(network, build_optimizer(parameters, weights))
        asked = teacher if method == "lad" else None
        cache = AssignmentCache(folder, {}) if cached else None
        model.train()

        def step() -> None:
            learned, _, _ = training_step(parameters, model, asked, cache, batch, fabric)
            optimizer_step(parameters, model, optimizer, torch.stack(list(learned.terms.values())).sum(), fabric)
            wait(fabric)

        return step

    tasks = {
        "bare network": bare(given, batch, fabric),
        "assignment and loss": on_given_outputs(batch, fabric),
        "baseline": trained("baseline"),
    }
    if given.plain:
        return tasks
    taught = {"LAD": trained("lad"), "LAD, teacher remembered": trained("lad", cached=True), "CoLAD": trained("colad")}
    return tasks | taught


def parameters_of(given: argparse.Namespace, method: str, cached: bool) -> Parameters:
    taught = {} if method == "baseline" else {"teacher": given.teacher, "cache_teacher": cached}
    return make_parameters(
        {"profile": "coco_1x", "student": given.student, "method": method, "precision": given.precision, **taught}
    )


def bare(given: argparse.Namespace, batch: Batch, fabric: Fabric) -> Callable[[], object]:
    network = build_detector(given.student, CLASSES, **PAPER).to(fabric.device, memory_format=torch.channels_last)
    network.train()
    if given.compile:
        network.compile()
    images = batch.images.to(fabric.device, memory_format=torch.channels_last)

    def both_ways() -> None:
        with fabric.autocast():
            outputs = network(images)
        network.zero_grad()
        sum(one.float().sum() for one in outputs).backward()
        wait(fabric)

    return both_ways


def on_given_outputs(batch: Batch, fabric: Fabric) -> Callable[[], object]:
    host_anchors, anchors = make_anchors(batch.padded_hw), make_anchors(batch.padded_hw, fabric.device)
    shape, targets = (len(batch.images), len(anchors.boxes)), batch.targets.to(fabric.device)
    outputs = HeadOutputs(
        torch.randn(*shape, CLASSES, device=fabric.device).sub(4).requires_grad_(),
        torch.randn(*shape, 4, device=fabric.device).div(2).requires_grad_(),
        torch.randn(shape, device=fabric.device).requires_grad_(),
    )

    def assign_and_lose() -> None:
        candidates = match_candidates(host_anchors, batch.targets).to(fabric.device)
        learned = baseline(outputs, None, candidates, anchors, targets)
        torch.autograd.grad(torch.stack(list(learned.terms.values())).sum(), outputs)
        wait(fabric)

    return assign_and_lose


def wait(fabric: Fabric) -> None:
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()


def arguments(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument("--rounds", type=int, default=7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments(parser)
    given = parser.parse_args()
    fabric = Fabric(accelerator=given.device, devices=1, precision=given.precision)
    with tempfile.TemporaryDirectory() as folder:
        tasks = steps(given, fabric, Path(folder))
        torch._dynamo.utils.counters.clear()
        seconds = alternate(tasks, given.rounds)
    device = torch.cuda.get_device_name() if given.device == "cuda" else machine()
    compiled = ""
    if given.compile:
        compiled = f", compiled with {sum(torch._dynamo.utils.counters['graph_break'].values())} graph breaks"
    print(
        f"{device}; {given.student} taught by {given.teacher}, {given.batch} images of {given.height} x {given.width}, "
        f"{given.gts} gts each, {given.precision}{compiled}; medians of {given.rounds} rounds.\n"
    )
    print("| step | ms | images/s | of the bare network | of the baseline's step |")
    print("|---|---:|---:|---:|---:|")
    for name, own in seconds.items():
        median = statistics.median(own)
        of_bare, of_baseline = (median_ratio(own, seconds[other]) for other in ("bare network", "baseline"))
        print(f"| {name} | {1000 * median:.0f} | {given.batch / median:.2f} | {of_bare:.3f} | {of_baseline:.3f} |")


if __name__ == "__main__":
    main()
