"""Loading of image files of any mode as RGB arrays."""

import stat
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from lad.utils.messages import format_path, one_line

ORIENTATION = 0x0112  # the EXIF tag
ANIMATED_FORMATS = ("AVIF", "GIF", "PNG", "WEBP")  # frames of other formats (MPO, TIFF) are views or pages of one image


def load_image(path: Path | BinaryIO, annotated_hw: tuple[int, int] | None = None) -> np.ndarray:
    """Load an image file as [H, W, 3] uint8 RGB.

    Grayscale, palette, CMYK, alpha (dropped, as OpenCV does) and 16-bit (high byte) images are converted. The EXIF
    orientation is applied, unless only the image as stored has the annotated size.

    Args:
        path: Image file, or an open one.
        annotated_hw: (height, width) that the image must have, None for any.

    Raises:
        ValueError: The file is not a regular file with one complete image, has more pixels than Pillow's limit or not
            the annotated size; one line that names the file.
    """
    if isinstance(path, Path):
        check_file(path)
    try:
        with Image.open(path) as opened:
            problem = _too_many_pixels(opened.size) or _animation(opened)
            pixels = None if problem else to_rgb(_oriented(opened, annotated_hw))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        pixels, problem = None, _too_many_pixels(_size_in_header(path)) or _too_many_pixels(None)
    except Exception as error:  # corrupted files raise many kinds of errors in Pillow's decoders
        pixels, problem = None, f"cannot be read as an image ({error or type(error).__name__})"
    if pixels is None:
        raise _unusable(path, problem)
    if annotated_hw is not None and pixels.shape[:2] != annotated_hw:
        file_size = f"is {pixels.shape[1]} x {pixels.shape[0]} pixels"
        annotated_size = f"{annotated_hw[1]} x {annotated_hw[0]}"
        raise _unusable(path, f"{file_size}, annotated as {annotated_size}; correct width and height in the JSON")
    return pixels


def check_file(path: Path) -> None:
    """Check that a file is regular and not empty, without reading it: reading a named pipe would block forever.

    Raises:
        ValueError: It is not; one line that names the file.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise _unusable(path, "no such image file") from None
    except (OSError, ValueError) as error:  # impossible names: with NUL or a lone surrogate, or too long
        reason = getattr(error, "strerror", None) or error
        raise _unusable(path, f"cannot be read as an image ({reason})") from None
    if stat.S_ISDIR(status.st_mode):
        raise _unusable(path, "is a folder, not an image file")
    if not stat.S_ISREG(status.st_mode):
        raise _unusable(path, "is not a regular file but a pipe, a socket or a device, and cannot be read")
    if status.st_size == 0:
        raise _unusable(path, "is empty (0 bytes)")


def to_rgb(image: Image.Image) -> np.ndarray:
    """Convert an image of any mode to [H, W, 3] uint8 RGB."""
    if image.mode.startswith("I"):  # 16-bit pixels, which Pillow would clip rather than scale
        high_byte = (np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)
        return np.repeat(high_byte[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("mode F, floating-point pixels; save it with 8 bits per channel")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))  # convert would copy RGB once more


def _unusable(path: Path | BinaryIO, reason: str | None) -> ValueError:
    name = path if isinstance(path, Path) else Path(str(getattr(path, "name", "the image")))
    return ValueError(f"{format_path(name)}: {one_line(str(reason))}")


def _oriented(image: Image.Image, annotated_hw: tuple[int, int] | None) -> Image.Image:
    """Apply the EXIF orientation, unless only the image as stored has the annotated size."""
    if image.getexif().get(ORIENTATION, 1) == 1:
        return image
    upright = ImageOps.exif_transpose(image)
    fits_only_as_stored = (image.height, image.width) == annotated_hw != (upright.height, upright.width)
    return image if fits_only_as_stored else upright


def _animation(image: Image.Image) -> str | None:
    """Return what is wrong with an animated image, None for a still one."""
    if image.format in ANIMATED_FORMATS and getattr(image, "is_animated", False):
        return "is an animation; save the annotated frame as a separate image"
    return None


def _too_many_pixels(size: tuple[int, int] | None) -> str | None:
    """Return what is wrong with a (width, height) beyond Pillow's limit; a size of None is beyond it, but unknown."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is None or (size is not None and size[0] * size[1] <= limit):
        return None
    pixels = "more pixels" if size is None else f"{size[0]} x {size[1]} = {size[0] * size[1]:,} pixels, more"
    return (
        f"has {pixels} than the limit of {limit:,} that protects from decompression bombs; resize it together with its "
        "annotations, or remove it"
    )


def _size_in_header(path: Path | BinaryIO) -> tuple[int, int] | None:
    """Return (width, height) of an image that Pillow refuses to open for its size, None if its header is unreadable."""
    try:
        with path.open("rb") if isinstance(path, Path) else nullcontext(path) as file:
            file.seek(0)
            prefix = file.read(16)
            for factory, accepts in (Image.OPEN[name] for name in Image.ID):
                if accepts is not None and accepts(prefix) is True:
                    file.seek(0)
                    return factory(file, "").size
    except Exception:  # the size is only for the message
        return None
    return None
