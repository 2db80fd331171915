"""Reading image files, whatever their mode, into RGB bytes."""

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

ORIENTATION = 0x0112  # the EXIF tag


def load_image(path: Path | BinaryIO, annotated_hw: tuple[int, int] | None = None) -> np.ndarray:
    """The image of a file as [H, W, 3] uint8 RGB.

    Grayscale, palette, CMYK, alpha (dropped, as OpenCV does) and 16-bit (high byte) images are converted. An EXIF
    orientation is applied, unless only the image as stored has the annotated (height, width).

    Raises ValueError, naming the file, if it cannot be read or has not the annotated size.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                image = _oriented(opened, annotated_hw)
                image.load()
    except FileNotFoundError:
        raise ValueError(f"{path}: no such image file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"{_name(path)}: cannot be read as an image ({error})") from None
    if annotated_hw is not None and (image.height, image.width) != annotated_hw:
        raise ValueError(
            f"{_name(path)}: is {image.width} x {image.height} pixels but its annotations say "
            f"{annotated_hw[1]} x {annotated_hw[0]}; correct width and height there"
        )
    return to_rgb(image)


def _name(path: Path | BinaryIO) -> str:
    return str(path if isinstance(path, Path) else getattr(path, "name", "the picture"))


def _oriented(image: Image.Image, annotated_hw: tuple[int, int] | None) -> Image.Image:
    if image.getexif().get(ORIENTATION, 1) == 1:
        return image
    upright = ImageOps.exif_transpose(image)
    fits_only_as_stored = (image.height, image.width) == annotated_hw != (upright.height, upright.width)
    return image if fits_only_as_stored else upright


def to_rgb(image: Image.Image) -> np.ndarray:
    """The pixels of an image of any mode, [H, W, 3] uint8 RGB."""
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip instead of scale
        high_byte = (np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)
        return np.repeat(high_byte[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("mode F, floating-point pixels; save it with 8 bits a channel")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))  # converting RGB would copy it once more
