"""Animated images (GIF, APNG, WebP, AVIF): their frames as arrays, and new animations with the same timing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lad.data.images import ANIMATED_FORMATS, check_file, to_rgb
from lad.utils.messages import format_path, one_line

MAX_ANIMATION_PIXELS = 2**28  # in all frames together; they are written at once and need 3 bytes per pixel


@dataclass(frozen=True)
class Animation:
    """The properties that all frames of an animated image have in common.

    Attributes:
        format: Pillow's name of its format.
        num_frames: Number of frames; the still image that an APNG may have for old viewers is not one.
        size: (width, height).
        loop: How often it repeats, 0 for ever; None if the file does not say so.
    """

    format: str
    num_frames: int
    size: tuple[int, int]
    loop: int | None

    @property
    def is_writable(self) -> bool:
        """Return whether its frames are few enough to be written as a new animation."""
        return self.num_frames * self.size[0] * self.size[1] <= MAX_ANIMATION_PIXELS


def read_animation(path: Path) -> Animation | None:
    """Read the properties of an animated image; return None for a still image, and for a file that is no image."""
    try:
        check_file(path)
        with Image.open(path) as image:
            if image.format not in ANIMATED_FORMATS or not getattr(image, "is_animated", False):
                return None
            loop = image.info.get("loop")
            return Animation(image.format, _num_frames(image) - _first_frame(image), image.size, loop)
    except Exception:  # what is wrong with the file is reported when it is read
        return None


def read_frames(path: Path) -> Iterator[tuple[np.ndarray, float]]:
    """Yield each frame of an animated image as [H, W, 3] uint8 RGB, with its duration in milliseconds.

    Raises:
        ValueError: A frame cannot be read; one line that names the file. The frames before it were yielded.
    """
    index = 0
    try:
        with Image.open(path) as image:
            if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are too many")
            for index in range(_first_frame(image), _num_frames(image)):
                image.seek(index)
                image.load()  # Pillow knows the duration of a WebP's frame only then
                yield to_rgb(image), float(image.info.get("duration") or 0)
    except Exception as error:  # corrupted files raise many kinds of errors in Pillow's decoders
        reason = one_line(str(error) or type(error).__name__)
        raise ValueError(f"{format_path(path)}: frame {index} cannot be read ({reason})") from None


def write_animation(
    path: Path, frames: Sequence[Image.Image], durations: Sequence[float], animation: Animation
) -> None:
    """Write frames as an animated image of the format and with the repetitions of another.

    Args:
        path: File to write.
        frames: At least one frame.
        durations: Milliseconds of each frame.
        animation: The animated image whose format and repetitions to use.
    """
    options: dict[str, Any] = {} if animation.loop is None else {"loop": animation.loop}
    if animation.format == "WEBP":
        options |= {"quality": 90, "method": 2}
    frames[0].save(
        path,
        format=animation.format,
        save_all=True,
        append_images=list(frames[1:]),
        duration=[round(milliseconds) for milliseconds in durations],
        **options,
    )


def _num_frames(image: Image.Image) -> int:
    return int(getattr(image, "n_frames", 1))


def _first_frame(image: Image.Image) -> int:
    """Return the index of the first frame: 1 in an APNG with a still image for viewers that show no animations."""
    return int(getattr(image, "default_image", False))
