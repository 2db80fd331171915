"""Augmentations of training images by name, from torchvision, with options that users can give.

None lets an image exceed the short and the long side of training, and all random numbers come from torch's default
generator.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from torch import nn
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from lad.data.transforms import IMAGENET_MEAN, RandomFlip, ResizeKeepRatio, normalization
from lad.utils.messages import format_value, invalid_choice_message
from lad.utils.options import OPTIONS, build_options

FILL = [round(255 * mean) for mean in IMAGENET_MEAN]  # RGB around a zoomed-out image; almost 0 once it is normalized
MAX_ASPECT = 2.0  # longer / shorter side of a crop


@dataclass(frozen=True, config=OPTIONS)
class IoUCropOptions:
    """Options of `iou_crop`.

    Attributes:
        min_scale: Smallest side of a crop, as a fraction of the image's.
    """

    min_scale: float = Field(default=0.3, ge=0.05, le=1)


@dataclass(frozen=True, config=OPTIONS)
class ScaleJitterOptions:
    """Options of `scale_jitter`.

    Attributes:
        min_scale: Smallest factor on the size.
        max_scale: Largest factor on the size.
    """

    min_scale: float = Field(default=0.5, ge=0.1, le=4)
    max_scale: float = Field(default=2.0, ge=0.1, le=4)

    @model_validator(mode="after")
    def _are_in_order(self) -> "ScaleJitterOptions":
        if self.min_scale > self.max_scale:
            raise ValueError(f"min_scale = {self.min_scale} is more than max_scale = {self.max_scale}")
        return self


@dataclass(frozen=True, config=OPTIONS)
class PhotometricOptions:
    """Options of `photometric`.

    Attributes:
        p: Probability of each of the changes: brightness, contrast, saturation, hue, order of the color channels.
        brightness: Largest change of the factor 1 on the brightness.
        contrast: Largest change of the factor 1 on the contrast.
        saturation: Largest change of the factor 1 on the saturation.
        hue: Largest shift of the hue, as a fraction of the color circle.
    """

    p: float = Field(default=0.5, ge=0, le=1)
    brightness: float = Field(default=0.125, ge=0, le=1)
    contrast: float = Field(default=0.5, ge=0, le=1)
    saturation: float = Field(default=0.5, ge=0, le=1)
    hue: float = Field(default=0.05, ge=0, le=0.5)


@dataclass(frozen=True, config=OPTIONS)
class ZoomOutOptions:
    """Options of `zoom_out`.

    Attributes:
        p: Probability.
        max_scale: Largest side of the canvas, as a multiple of the image's.
    """

    p: float = Field(default=0.5, ge=0, le=1)
    max_scale: float = Field(default=4.0, ge=1, le=8)


@dataclass(frozen=True, config=OPTIONS)
class VerticalFlipOptions:
    """Options of `vertical_flip`.

    Attributes:
        p: Probability.
    """

    p: float = Field(default=0.5, ge=0, le=1)


# Options by name, in the order in which the augmentations are applied.
AUGMENTATIONS: dict[str, type] = {
    "iou_crop": IoUCropOptions,
    "scale_jitter": ScaleJitterOptions,
    "photometric": PhotometricOptions,
    "zoom_out": ZoomOutOptions,
    "vertical_flip": VerticalFlipOptions,
}


def resolve_augment(given: Any) -> dict[str, dict[str, float]]:
    """Return all options of the given augmentations by name, in the order of `AUGMENTATIONS`.

    Args:
        given: A list of names, or a mapping from names to options; options that are missing keep their defaults.

    Raises:
        ValueError: A name or an option is unknown, or a value out of range; one line that names what is allowed.
    """
    if not isinstance(given, list | tuple | dict):
        example = "must be a list of names, or map names to options, as in {zoom_out: {p: 0.3}}"
        raise ValueError(f"parameter 'augment' = {format_value(given)} {example}; names: {', '.join(AUGMENTATIONS)}")
    options_of: dict[str, Any] = {}
    for name in given:
        if not isinstance(name, str) or name not in AUGMENTATIONS:
            raise ValueError(invalid_choice_message("augment", name, AUGMENTATIONS))
        options = given[name] if isinstance(given, dict) else None
        options_of[name] = {} if options is None else options
        if not isinstance(options_of[name], dict):
            value = format_value(options)
            raise ValueError(f"parameter 'augment': {name} = {value} must map options to values; {{}} for the defaults")
    return {
        name: dataclasses.asdict(build_options("augment", f"'{name}'", options, options_of[name]))
        for name, options in AUGMENTATIONS.items()
        if name in options_of
    }


def augmented_transform(
    augment: Mapping[str, Mapping[str, float]], short_sides: Sequence[int], long_side: int, flip_probability: float
) -> v2.Compose:
    """Return the transform of training images with augmentations.

    Called with (image, boxes, labels, False), it returns them transformed, and in the last place whether it flipped
    them horizontally. Boxes of which less than a pixel remains are dropped with their labels.

    Args:
        augment: Options by name, complete, as `resolve_augment` returns them.
        short_sides: As for `lad.data.transforms.train_transform`.
        long_side: As for `train_transform`.
        flip_probability: As for `train_transform`.
    """
    steps: list[nn.Module] = []
    if "iou_crop" in augment:
        steps.append(IoUCrop(**augment["iou_crop"]))
    if "scale_jitter" in augment:
        steps.append(ScaleJitter(short_sides, long_side, **augment["scale_jitter"]))
    else:
        steps.append(ResizeKeepRatio(short_sides, long_side))
    if "photometric" in augment:
        steps.append(_photometric(**augment["photometric"]))
    if "zoom_out" in augment:
        steps.append(ZoomOut(**augment["zoom_out"]))
    steps.append(RandomFlip(flip_probability))
    if "vertical_flip" in augment:
        steps.append(v2.RandomVerticalFlip(**augment["vertical_flip"]))
    # Rounding may move a box's edge slightly outside, for which it would be dropped.
    steps += [v2.ClampBoundingBoxes(), v2.SanitizeBoundingBoxes(labels_getter=lambda inputs: inputs[2])]
    return v2.Compose([*steps, *normalization()])


class IoUCrop(nn.Module):
    """torchvision's RandomIoUCrop, which keeps landscape images landscape and portrait images portrait.

    A batch holds images of one orientation, so that they need little padding. Images without boxes are not cropped,
    nor are images of a few pixels.

    Args:
        min_scale: Smallest side of a crop, as a fraction of the image's.
    """

    def __init__(self, min_scale: float) -> None:
        super().__init__()
        self.min_scale = min_scale
        self.wide = v2.RandomIoUCrop(min_scale, min_aspect_ratio=1, max_aspect_ratio=MAX_ASPECT)
        self.high = v2.RandomIoUCrop(min_scale, min_aspect_ratio=1 / MAX_ASPECT, max_aspect_ratio=1)

    def forward(self, image: tv_tensors.Image, boxes: tv_tensors.BoundingBoxes, *rest: Any) -> Any:
        """Return the inputs, cropped or as they are; boxes whose center is outside become empty."""
        height, width = image.shape[-2:]
        if len(boxes) == 0 or min(height, width) * self.min_scale < 2:
            return image, boxes, *rest
        return (self.wide if width >= height else self.high)(image, boxes, *rest)


class ScaleJitter(ResizeKeepRatio):
    """Resize by a random factor more or less than `ResizeKeepRatio`, and crop what exceeds its size.

    Differs from torchvision's ScaleJitter: the size without jitter, not a fixed target, is the unit and the limit.

    Args:
        short_sides: As for `ResizeKeepRatio`.
        long_side: As for `ResizeKeepRatio`.
        min_scale: Smallest factor.
        max_scale: Largest factor.
    """

    is_deterministic = False

    def __init__(self, short_sides: Sequence[int], long_side: int, min_scale: float, max_scale: float) -> None:
        super().__init__(short_sides, long_side)
        self.scales = (min_scale, max_scale)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the size of one image and the place of the crop; called by torchvision."""
        limit = super().make_params(flat_inputs)["size"]
        scale = _uniform(*self.scales)
        size = [max(1, round(side * scale)) for side in limit]
        height, width = map(min, size, limit)
        crop = [*_random_corner(size[0] - height, size[1] - width), height, width]
        return {"size": size, "crop": crop}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize and crop an image or its boxes; called by torchvision."""
        return self._call_kernel(F.crop, super().transform(inpt, params), *params["crop"])


class ZoomOut(v2.RandomZoomOut):
    """torchvision's RandomZoomOut, at the size of the image: shrink it, and pad it to its former size.

    torchvision's enlarges the canvas instead, up to 16 times the pixels, only to have it resized afterwards.

    Args:
        p: Probability.
        max_scale: Largest side of the canvas, as a multiple of the image's.
    """

    def __init__(self, p: float, max_scale: float) -> None:
        super().__init__(FILL, (1.0, max_scale), p)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the size of one image and its place on the canvas; called by torchvision."""
        height, width = v2.query_size(flat_inputs)
        scale = _uniform(*self.side_range)
        size = [max(1, round(height / scale)), max(1, round(width / scale))]
        top, left = _random_corner(height - size[0], width - size[1])
        return {"size": size, "padding": [left, top, width - size[1] - left, height - size[0] - top]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Shrink and pad an image or its boxes; called by torchvision."""
        return super().transform(self._call_kernel(F.resize, inpt, params["size"]), {"padding": params["padding"]})


def _photometric(p: float, brightness: float, contrast: float, saturation: float, hue: float) -> v2.Transform:
    factors = [(1 - change, 1 + change) for change in (brightness, contrast, saturation)]
    return v2.RandomPhotometricDistort(*factors, (-hue, hue), p)


def _uniform(low: float, high: float) -> float:
    return float(torch.empty(()).uniform_(low, high))


def _random_corner(height: int, width: int) -> list[int]:
    """Draw a (top, left) of whole pixels within a margin, its ends included."""
    return [int(torch.randint(margin + 1, ())) for margin in (height, width)]
