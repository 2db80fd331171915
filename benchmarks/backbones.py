"""Parameters, multiply-adds and memory of every PAA detector at 800 x 1333 pixels (padded to 800 x 1344).

    python benchmarks/backbones.py

Multiply-adds, which detection papers call FLOPs, are counted by torch's FlopCounterMode on the meta device (half of its
count of operations). Memory is the peak of a fresh process that builds the network and runs one image, minus that of a
process that has only imported torch.
"""

from functools import cache

import torch
from measure import machine, peak_memory
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from lad.models.backbones.registry import BACKBONES
from lad.models.detector import build_detector

PADDED_HW = (800, 1344)


@register_flop_formula(torch.ops.torchvision.deform_conv2d)
def deform_conv_flops(input_shape, weight_shape, *_arguments, out_shape=None, **_options) -> int:
    """Count a deformable convolution as a convolution of the same size, without the sampling."""
    out_channels, in_channels_of_group, rows, columns = weight_shape
    return 2 * out_shape[0] * out_shape[2] * out_shape[3] * out_channels * in_channels_of_group * rows * columns


@cache
def cost(backbone: str, padded_hw: tuple[int, int] = PADDED_HW, width: float = 1, channels: int = 256):
    """Return millions of parameters, and billions of multiply-adds for one image."""
    with torch.device("meta"), torch.no_grad():
        detector = build_detector(backbone, 80, width, channels=channels).eval()
        with FlopCounterMode(display=False) as counter:
            detector(torch.zeros(1, 3, *padded_hw))
    return sum(p.numel() for p in detector.parameters()) / 1e6, counter.get_total_flops() / 2e9


@torch.inference_mode()
def run_one_image(backbone: str) -> None:
    """Build a detector and run it on one image."""
    build_detector(backbone, num_classes=80).eval()(torch.zeros(1, 3, *PADDED_HW))


def main() -> None:
    idle = peak_memory(len, ())
    print(f"{machine()}\n")
    print("| backbone | parameters, M | GFLOPs | memory, MB |")
    print("|---|---|---|---|")
    for backbone in BACKBONES:
        parameters, flops = cost(backbone)
        print(f"| {backbone} | {parameters:.1f} | {flops:.0f} | {peak_memory(run_one_image, backbone) - idle:.0f} |")


if __name__ == "__main__":
    main()
