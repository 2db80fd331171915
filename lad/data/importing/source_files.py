"""Files of a data set in another format: images, their sizes, text files and the folders of splits."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageOps

from lad.data.images import ORIENTATION, check_file
from lad.utils.messages import format_path, one_line

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
SPLIT_FOLDERS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


def list_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files with these suffixes in a folder and its subfolders, sorted; hidden ones are left out."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    return sorted(path for path in paths if not _is_hidden(path.relative_to(folder)) and path.is_file())


def list_images(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, sorted; hidden ones are left out."""
    return list_files(folder, IMAGE_SUFFIXES)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def image_sizes(path: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (width, height) of an image as stored, and as it looks by its EXIF orientation.

    Raises:
        ValueError: The file is not an image; one line that names it.
    """
    check_file(path)
    try:
        with Image.open(path) as image:
            is_turned = image.getexif().get(ORIENTATION, 1) in TURNED
            upright = image.size[::-1] if is_turned else image.size
            if image.format == "TIFF":  # Pillow's reader turns it, and in some versions exchanges its size already
                upright = ImageOps.exif_transpose(image).size
    except Exception as error:  # corrupted files raise many kinds of errors in Pillow's decoders
        reason = one_line(str(error) or type(error).__name__)
        raise ValueError(f"{format_path(path)}: cannot be read as an image ({reason})") from None
    width, height = upright
    return (height, width) if is_turned else (width, height), (width, height)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file without white space around them.

    Raises:
        ValueError: The file cannot be read; one line that names it.
    """
    if not path.is_file():  # reading a named pipe would block
        raise ValueError(f"{format_path(path)}: no such file")
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ValueError(f"{format_path(path)}: cannot be read ({reason})") from None


def count_note(paths: Sequence[Path], what: str) -> list[str]:
    """Return a line like "images without objects: 3 (first: a.jpg)", or none for no paths."""
    return [f"{what}: {len(paths):,} (first: {format_path(paths[0])})"] if paths else []


def first_existing(paths: Iterable[Path]) -> Path | None:
    """Return the first path that exists."""
    return next((path for path in paths if path.exists()), None)
