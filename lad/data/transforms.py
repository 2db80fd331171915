"""Image transforms, on torchvision's tv_tensors, so that boxes follow their image."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ResizeKeepRatio(v2.Transform):
    """Scale so that the short side is one of `short_sides` (drawn at random) unless the long side would pass
    `long_side`; sides are rounded to the nearest pixel, as OpenMMLab does.
    """

    def __init__(self, short_sides: Sequence[int], long_side: int) -> None:
        super().__init__()
        self.short_sides, self.long_side = tuple(short_sides), long_side

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.query_size(flat_inputs)
        short_side = self.short_sides[int(torch.randint(len(self.short_sides), ()))]
        return {"size": resized_hw((height, width), short_side, self.long_side)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        # No antialiasing: the published checkpoints were trained on OpenCV's bilinear resizing, which has none.
        return self._call_kernel(F.resize, inpt, list(params["size"]), antialias=False)


class RandomFlip(nn.Module):
    """A horizontal flip of images and boxes, and of a truth value beside them that says whether they are flipped."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, *inputs: Any) -> Any:
        if torch.rand(()) < self.probability:
            inputs = tuple(not one if isinstance(one, bool) else F.horizontal_flip(one) for one in inputs)
        return inputs if len(inputs) > 1 else inputs[0]


def resized_hw(hw: tuple[int, int], short_side: int, long_side: int) -> tuple[int, int]:
    """(height, width) after scaling `hw` to the short side, or less where the long side would pass its limit."""
    scale = min(short_side / min(hw), long_side / max(hw))
    return max(1, int(hw[0] * scale + 0.5)), max(1, int(hw[1] * scale + 0.5))


def train_transform(short_sides: Sequence[int], long_side: int, flip_probability: float = 0.5) -> v2.Transform:
    """Resize (multi-scale when several short sides are given), flip horizontally, normalize. Called with (image, boxes,
    False), it tells in the third place whether it flipped them."""
    return v2.Compose([ResizeKeepRatio(short_sides, long_side), RandomFlip(flip_probability), *_normalize()])


def eval_transform(short_side: int, long_side: int, flip: bool = False) -> v2.Transform:
    """Resize, flip horizontally if told to, normalize."""
    return v2.Compose([ResizeKeepRatio([short_side], long_side), RandomFlip(float(flip)), *_normalize()])


def _normalize() -> list[v2.Transform]:
    return [v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
