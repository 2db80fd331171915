"""Random gts, and random outputs of a network for them: the input of most benchmarks."""

import torch

from lad.geometry import Anchors, make_anchors
from lad.structures import HeadOutputs, Targets

IMAGES, CLASSES = 2, 80

Scene = tuple[HeadOutputs, Anchors, Targets]


def scene(gts: int, hw: tuple[int, int], images: int = IMAGES) -> Scene:
    """Return random outputs, distributed as those of a network in training, and random gts.

    Args:
        gts: Number of gts per image.
        hw: Height and width of the images.
        images: Number of images.
    """
    targets, anchors = targets_of(gts, hw, images), make_anchors(hw)
    count = len(anchors.boxes)
    outputs = HeadOutputs(
        torch.randn(images, count, CLASSES) - 4, torch.randn(images, count, 4) / 2, torch.randn(images, count)
    )
    return outputs, anchors, targets


def targets_of(gts: int, hw: tuple[int, int], images: int = IMAGES) -> Targets:
    """Return random gts with sides uniform over the octaves from 8 to 512 pixels, limited by the image size."""
    torch.manual_seed(gts)
    height, width = hw
    wh = torch.tensor([width, height])
    side = 8 * 64 ** torch.rand(images * gts, 1)
    shape = 3 ** (torch.rand(images * gts, 1) - 0.5)
    half = torch.minimum(torch.cat([side * shape, side / shape], dim=1), wh * 0.9) / 2
    center = half + torch.rand(images * gts, 2) * (wh - 2 * half)
    return Targets(
        torch.cat([center - half, center + half], dim=1),
        torch.randint(CLASSES, (images * gts,)),
        torch.arange(images).repeat_interleave(gts),
        torch.tensor([hw] * images),
    )
