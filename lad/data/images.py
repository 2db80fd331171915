"""Reading image files, whatever their mode, into RGB bytes."""

import stat
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from lad.utils.messages import format_path, one_line

ORIENTATION = 0x0112  # the EXIF tag
ANIMATED_FORMATS = ("AVIF", "GIF", "PNG", "WEBP")  # the frames of others (MPO, TIFF) are views or pages of one picture


def load_image(path: Path | BinaryIO, annotated_hw: tuple[int, int] | None = None) -> np.ndarray:
    """The image of a file as [H, W, 3] uint8 RGB.

    Grayscale, palette, CMYK, alpha (dropped, as OpenCV does) and 16-bit (high byte) images are converted. An EXIF
    orientation is applied, unless only the image as stored has the annotated (height, width).

    Raises ValueError, one line that names the file, if it is not a whole, single image in an ordinary file, has more
    pixels than Pillow's limit or has not the annotated size.
    """
    if isinstance(path, Path):
        check_file(path)
    try:
        with Image.open(path) as opened:
            problem = _too_many_pixels(opened.size) or _animation(opened)
            pixels = None if problem else to_rgb(_oriented(opened, annotated_hw))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        pixels, problem = None, _too_many_pixels(_size_in_header(path)) or _too_many_pixels(None)
    except Exception as error:  # whatever a damaged file leads Pillow's many readers to
        pixels, problem = None, f"cannot be read as an image ({error or type(error).__name__})"
    if pixels is None:
        raise _unusable(path, problem)
    if annotated_hw is not None and pixels.shape[:2] != annotated_hw:
        is_size = f"is {pixels.shape[1]} x {pixels.shape[0]} pixels"
        says = f"its annotations say {annotated_hw[1]} x {annotated_hw[0]}; correct width and height there"
        raise _unusable(path, f"{is_size} but {says}")
    return pixels


def check_file(path: Path) -> None:
    """Raises ValueError, one line that names the file, unless it is an ordinary file that has bytes: reading a named
    pipe would wait forever."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise _unusable(path, "no such image file") from None
    except (OSError, ValueError) as error:  # no name of a file: a NUL in it, a lone surrogate, thousands of letters
        reason = getattr(error, "strerror", None) or error
        raise _unusable(path, f"cannot be read as an image ({reason})") from None
    if stat.S_ISDIR(found.st_mode):
        raise _unusable(path, "is a folder, not an image file")
    if not stat.S_ISREG(found.st_mode):
        raise _unusable(path, "is no ordinary file (a pipe, a socket or a device), so it is not read")
    if found.st_size == 0:
        raise _unusable(path, "is empty (0 bytes)")


def to_rgb(image: Image.Image) -> np.ndarray:
    """The pixels of an image of any mode, [H, W, 3] uint8 RGB."""
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip instead of scale
        high_byte = (np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)
        return np.repeat(high_byte[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("mode F, floating-point pixels; save it with 8 bits a channel")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))  # converting RGB would copy it once more


def _unusable(path: Path | BinaryIO, reason: str | None) -> ValueError:
    name = path if isinstance(path, Path) else Path(str(getattr(path, "name", "the picture")))
    return ValueError(f"{format_path(name)}: {one_line(str(reason))}")


def _oriented(image: Image.Image, annotated_hw: tuple[int, int] | None) -> Image.Image:
    if image.getexif().get(ORIENTATION, 1) == 1:
        return image
    upright = ImageOps.exif_transpose(image)
    fits_only_as_stored = (image.height, image.width) == annotated_hw != (upright.height, upright.width)
    return image if fits_only_as_stored else upright


def _animation(image: Image.Image) -> str | None:
    if image.format in ANIMATED_FORMATS and getattr(image, "is_animated", False):
        return "is an animation; save the frame that is annotated as an image of its own"
    return None


def _too_many_pixels(size: tuple[int, int] | None) -> str | None:
    """What is wrong with a (width, height) beyond Pillow's limit. None as size: beyond it, but not known."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is None or (size is not None and size[0] * size[1] <= limit):
        return None
    pixels = "more pixels" if size is None else f"{size[0]} x {size[1]} = {size[0] * size[1]:,} pixels, more"
    return (
        f"has {pixels} than the limit of {limit:,} that keeps small files from filling the memory; make it smaller, "
        "and its annotations with it, or leave it out"
    )


def _size_in_header(path: Path | BinaryIO) -> tuple[int, int] | None:
    """(width, height) of an image that Pillow does not open for its size, by the same readers."""
    try:
        with path.open("rb") if isinstance(path, Path) else nullcontext(path) as file:
            file.seek(0)
            prefix = file.read(16)
            for factory, accepts in (Image.OPEN[name] for name in Image.ID):
                if accepts is not None and accepts(prefix) is True:
                    file.seek(0)
                    return factory(file, "").size
    except Exception:  # the message can do without
        return None
    return None
