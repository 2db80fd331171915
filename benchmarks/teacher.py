"""The time of a teacher's forward pass, and what each of its optimizations saves.

    python benchmarks/teacher.py [--teacher r101] [--device cpu] [--height 256] [--width 320] [--batch 2] [--rounds 9]

Each row changes one setting of the row above it; a round runs each variant once, in turn.
"""

import argparse
import contextlib
import copy
import statistics
from collections.abc import Callable

import torch
from measure import alternate, machine, median_ratio
from torch import nn

from lad.models.detector import build_detector
from lad.models.fuse_batchnorm import fuse_batchnorm


def forward(
    teacher: nn.Module, images: torch.Tensor, gradients_off: type, autocast: bool = False
) -> Callable[[], object]:
    """Return a forward pass under a context without gradients."""
    device = images.device.type

    def run() -> None:
        with gradients_off(), torch.autocast(device, torch.bfloat16) if autocast else contextlib.nullcontext():
            teacher(images)
        if device == "cuda":
            torch.cuda.synchronize()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", default="r101")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    torch.manual_seed(0)
    plain = build_detector(given.teacher, 80).eval().to(given.device)
    last, fused = (make(plain).to(memory_format=torch.channels_last) for make in (copy.deepcopy, fuse_batchnorm))
    images = torch.randn(given.batch, 3, given.height, given.width, device=given.device)
    images_last = images.contiguous(memory_format=torch.channels_last)
    tasks = {
        "eval mode, no gradients": forward(plain, images, torch.no_grad),
        "+ inference mode": forward(plain, images, torch.inference_mode),
        "+ channels last": forward(last, images_last, torch.inference_mode),
        "+ BatchNorm fused": forward(fused, images_last, torch.inference_mode),
        "without inference mode (lad)": forward(fused, images_last, torch.no_grad),
        "+ autocast to bfloat16 (lad, with bf16-mixed)": forward(fused, images_last, torch.no_grad, autocast=True),
    }
    seconds = alternate(tasks, given.rounds)
    device = torch.cuda.get_device_name() if given.device == "cuda" else machine()
    print(f"{device}; PAA-{given.teacher}, {given.batch} images of {given.height} x {given.width}.\n")
    print("| teacher | ms | of the first | of the row above |")
    print("|---|---:|---:|---:|")
    names = list(tasks)
    for name, above in zip(names, [names[0], *names], strict=False):
        times = seconds[name]
        ratios = [f"{median_ratio(times, seconds[other]):.2f}" for other in (names[0], above)]
        print(f"| {name} | {1000 * statistics.median(times):.0f} | {' | '.join(ratios)} |")


if __name__ == "__main__":
    main()
