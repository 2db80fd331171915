"""Image transforms on torchvision's tv_tensors, so that boxes follow their image.

A transform of ours describes itself to the cache of teacher assignments: `cache_key` names its class and every setting
that decides pixels or boxes, and `is_deterministic` whether the image and its recorded flip decide them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ResizeKeepRatio(v2.Transform):
    """Scale the short side to one of `short_sides`, or less where the long side would exceed `long_side`.

    Sides are rounded to the nearest pixel, as OpenMMLab does.

    Args:
        short_sides: Pixels; of several, one is drawn at random for each image (multi-scale training).
        long_side: Maximal long side in pixels.
    """

    def __init__(self, short_sides: Sequence[int], long_side: int) -> None:
        super().__init__()
        self.short_sides, self.long_side = tuple(short_sides), long_side

    @property
    def is_deterministic(self) -> bool:
        """Return whether there is a single short side."""
        return len(set(self.short_sides)) == 1

    def cache_key(self) -> str:
        """Return the class and its settings."""
        return f"{type(self).__name__}(short_sides={list(self.short_sides)}, long_side={self.long_side})"

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the size of one image and its boxes; called by torchvision."""
        height, width = v2.query_size(flat_inputs)
        short_side = self.short_sides[int(torch.randint(len(self.short_sides), ()))]
        return {"size": resized_hw((height, width), short_side, self.long_side)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize an image or its boxes; called by torchvision."""
        # No antialiasing: the published checkpoints were trained on OpenCV's bilinear resizing, which has none.
        return self._call_kernel(F.resize, inpt, list(params["size"]), antialias=False)


class RandomFlip(nn.Module):
    """Flip images and boxes horizontally with a probability, and toggle a boolean beside them that records the flip.

    It counts as deterministic, and its key omits the probability: the recorded flip is part of the cache's `ImageKey`.

    Args:
        probability: Probability of a flip, 0 … 1.
    """

    is_deterministic = True

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def cache_key(self) -> str:
        """Return the class; the recorded flip decides the rest."""
        return f"{type(self).__name__}(horizontal)"

    def forward(self, *inputs: Any) -> Any:
        """Return the inputs, all flipped or none: image and boxes mirrored, a boolean negated; labels stay."""
        if torch.rand(()) < self.probability:
            inputs = tuple(map(_flipped, inputs))
        return inputs if len(inputs) > 1 else inputs[0]


def transform_cache_key(transform: Any) -> str:
    """Return a description of everything in a data set's transform that decides pixels and boxes.

    A teacher's assignments may be cached under it: equal keys give equal inputs for the same image and flip.

    Args:
        transform: A transform, a `v2.Compose` of several, or None for unchanged images.

    Raises:
        ValueError: A transform is random, or has no `cache_key` and `is_deterministic`; names it and the remedy.
    """
    if transform is None:
        return "None"
    if type(transform) is v2.Compose:
        return f"Compose({', '.join(map(transform_cache_key, transform.transforms))})"
    if type(transform) is v2.ToDtype:  # its repr has no dtype
        return f"ToDtype(dtype={transform.dtype}, scale={transform.scale})"
    if type(transform) is v2.Normalize:
        return repr(transform)
    name = getattr(transform, "__name__", type(transform).__name__)
    if not (hasattr(transform, "cache_key") and hasattr(transform, "is_deterministic")):
        raise ValueError(
            f"transform '{name}' does not say whether it is deterministic, so the teacher's assignments cannot be "
            "cached; give it a method cache_key() and an attribute is_deterministic, or set cache_teacher=False"
        )
    if not transform.is_deterministic:
        raise ValueError(
            f"transform '{name}' is random ({transform.cache_key()}), so the teacher's assignments cannot be cached; "
            "fix its settings (one short side for ResizeKeepRatio), or set cache_teacher=False"
        )
    return str(transform.cache_key())


def resized_hw(hw: tuple[int, int], short_side: int, long_side: int) -> tuple[int, int]:
    """Return `hw` scaled to the short side, or less where the long side would exceed its limit."""
    scale = min(short_side / min(hw), long_side / max(hw))
    return max(1, int(hw[0] * scale + 0.5)), max(1, int(hw[1] * scale + 0.5))


def train_transform(short_sides: Sequence[int], long_side: int, flip_probability: float = 0.5) -> v2.Transform:
    """Return the transform of training images: resize (multi-scale for several short sides), flip, normalize.

    Called with (image, boxes, labels, False), it returns in the last place whether it flipped them.
    """
    return v2.Compose([ResizeKeepRatio(short_sides, long_side), RandomFlip(flip_probability), *normalization()])


def eval_transform(short_side: int, long_side: int, flip: bool = False) -> v2.Transform:
    """Return the transform of test images: resize, flip horizontally if `flip`, normalize."""
    return v2.Compose([ResizeKeepRatio([short_side], long_side), RandomFlip(float(flip)), *normalization()])


def normalization() -> list[v2.Transform]:
    """Return the last steps of every transform: pixels as floats, normalized by ImageNet's statistics."""
    return [v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]


def _flipped(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return F.horizontal_flip(value) if isinstance(value, tv_tensors.TVTensor) else value
