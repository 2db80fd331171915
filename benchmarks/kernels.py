"""Operations of an assignment and its losses, and how many of them cause a device synchronization.

    python benchmarks/kernels.py [--gts 8] [--device cpu]

Two images of 800 x 1344, 80 classes. On a CUDA device, kernels and synchronizations are counted; on the CPU, the
operations that torch dispatches and, among them, those that would synchronize with a device because the host needs the
shape or value of their result. Forward passes only.
"""

import argparse
from collections.abc import Callable

import torch
from scenes import scene
from torch.profiler import ProfilerActivity, profile

from lad.assigners import PAA, AssignmentContext, match_candidates
from lad.assigners.gmm import fit_mixture
from lad.assigners.paa import select_positives, topk_per_level
from lad.geometry import make_anchors
from lad.losses import detection_loss
from lad.structures import HeadOutputs

HW = (800, 1344)
SYNCHRONIZING = (
    "aten::nonzero",
    "aten::_local_scalar_dense",
    "aten::bincount",
    "aten::masked_select",
    "aten::_unique2",
)
VIEWS = {  # operations that compute nothing
    f"aten::{name}"
    for name in (
        "alias", "as_strided", "detach", "empty", "empty_like", "empty_strided", "expand", "resize_", "select", "slice",
        "split", "squeeze", "t", "transpose", "unbind", "unsqueeze", "view", "_unsafe_view",
    )
}  # fmt: skip
CUDA_SYNCHRONIZATIONS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaMemcpy")


def count(task: Callable[[], object], is_cuda: bool) -> tuple[int, int]:
    """Return the numbers of operations and synchronizations of a task."""
    task()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if is_cuda else [])]
    with profile(activities=activities) as profiler:
        task()
    events = profiler.events()
    if is_cuda:
        kernels = sum(event.device_type == torch.autograd.DeviceType.CUDA for event in events)
        return kernels, sum(event.name.startswith(CUDA_SYNCHRONIZATIONS) for event in events)
    leaves = [event.name for event in events if event.name.startswith("aten::") and not event.cpu_children]
    return sum(name not in VIEWS for name in leaves), sum(event.name in SYNCHRONIZING for event in events)


def count_operations(gts: int, hw: tuple[int, int], device: str) -> dict[str, tuple[int, int]]:
    """Return the operations (CUDA: kernels) and synchronizations of each part of an assignment and its losses."""
    outputs, host_anchors, host_targets = scene(gts, hw)
    outputs = HeadOutputs(*(field.to(device) for field in outputs))
    anchors, targets = make_anchors(hw, device), host_targets.to(device)
    candidates = match_candidates(host_anchors, host_targets).to(device)
    assigner, context = PAA(), AssignmentContext(candidates, anchors, targets)
    scores = assigner.score(outputs, context)
    cost, _, number = topk_per_level(candidates, scores[:, 0], context.num_gts)
    mixture = fit_mixture(cost, number)
    gt_index = assigner.assign(scores, context)
    tasks = {
        "candidates, on the host": lambda: match_candidates(host_anchors, host_targets),
        "cost": lambda: assigner.score(outputs, context),
        "top candidates per level": lambda: topk_per_level(candidates, scores[:, 0], context.num_gts),
        f"mixture, {int(mixture.iterations.max())} iterations": lambda: fit_mixture(cost, number),
        "select positives": lambda: select_positives(mixture, cost, number),
        "whole assignment after the cost": lambda: assigner.assign(scores, context),
        "losses": lambda: detection_loss(outputs, gt_index, anchors, targets, "iou"),
    }
    return {name: count(task, device == "cuda") for name, task in tasks.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gts", type=int, default=8, help="per image")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args()
    kind = ("kernels", "synchronizations") if given.device == "cuda" else ("operations", "that would synchronize")
    print(f"torch {torch.__version__.split('+')[0]} on {given.device}; {given.gts} gts per image\n")
    print(f"| part | {kind[0]} | {kind[1]} |\n|---|---:|---:|")
    for name, (operations, synchronizations) in count_operations(given.gts, HW, given.device).items():
        print(f"| {name} | {operations} | {synchronizations} |")


if __name__ == "__main__":
    main()
