"""Files to predict: images, animations and videos, named directly, by their folder or by a pattern."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from lad.data.videos import VIDEO_SUFFIXES, import_opencv
from lad.inference.results import JSON_FILE
from lad.utils.messages import format_path
from lad.utils.paths import absolute_path

IMAGE_SUFFIXES = (
    ".apng", ".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A file to predict.

    Attributes:
        path: The file.
        name: Its name below the folder that it was found in, with slashes; different for every file.
        image_id: Its id in COCO's results.
    """

    path: Path
    name: str
    image_id: int

    @property
    def is_video(self) -> bool:
        """Return whether it is a video, by the suffix of its name."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def find_sources(given: str | Path | Sequence[str | Path]) -> list[Source]:
    """Find the files to predict.

    Args:
        given: One or several image or video files; folders, of which all images are taken, those of subfolders too;
            and patterns with *, ? and ** for images and videos. Hidden files (.name) and, in a folder, the folders of
            earlier predictions are skipped.

    Returns:
        The files in the given order, those of a folder or pattern sorted by name; none twice. Each is named relative to
        its folder, or to the folder before a pattern's first wildcard. If two files had the same name, all are named
        relative to the folder that they have in common. If all names are different numbers, as in COCO, they are the
        image ids; otherwise, the files are numbered from 1.

    Raises:
        ValueError: A file, folder or pattern does not exist or has no images, or OpenCV is missing for a video.
    """
    words = [given] if isinstance(given, str | Path) else given
    names: dict[Path, str] = {}
    for word in words:
        is_empty = True
        for path, name in _files_of(word):
            names.setdefault(path, name)
            is_empty = False
        if is_empty:
            kinds = " ".join(IMAGE_SUFFIXES)
            raise ValueError(f"{format_path(Path(word))}: no images found (files that end with {kinds})")
    if not names:
        raise ValueError("no images given; name image files, folders or patterns")
    if len(set(names.values())) < len(names):
        common = Path(os.path.commonpath([path.parent for path in names]))
        names = {path: path.relative_to(common).as_posix() for path in names}
    sources = [
        Source(path, name, image_id) for (path, name), image_id in zip(names.items(), _image_ids(names), strict=True)
    ]
    for source in sources:
        if source.is_video:
            import_opencv(source.path)
    return sources


def _files_of(word: str | Path) -> Iterator[tuple[Path, str]]:
    """Yield the absolute path and the name of each file of a given word, sorted."""
    absolute_path("source", word)  # raises for what cannot be a path
    path = Path(os.path.abspath(Path(word).expanduser()))
    if path.is_dir():
        yield from _named(_walk(path), path, IMAGE_SUFFIXES)
    elif os.path.lexists(path):
        yield path, path.name
    elif glob.has_magic(str(path)):
        existing = next(parent for parent in path.parents if parent.exists())  # as written, with brackets in its name
        pattern = path.relative_to(existing)
        found = (existing / match for match in glob.iglob(str(pattern), root_dir=existing, recursive=True))
        yield from _named(filter(os.path.isfile, found), existing, IMAGE_SUFFIXES + VIDEO_SUFFIXES)
    else:
        raise ValueError(f"{format_path(Path(word))}: no such file or folder")


def _named(paths: Iterator[Path], folder: Path, suffixes: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Yield the files with one of these suffixes and their names relative to the folder, sorted."""
    kept = (path for path in paths if path.suffix.lower() in suffixes)
    for path in sorted(kept, key=lambda path: path.parts):
        yield path, path.relative_to(folder).as_posix()


def _walk(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder, through links, too, but each folder once; nothing hidden, no old predictions."""
    visited = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited or (JSON_FILE in files and Path(parent) != folder):
            folders.clear()
            continue
        visited.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def _image_ids(names: dict[Path, str]) -> list[int]:
    """Return the numbers that the files are named by, if all are and no two are equal; else 1, 2, 3 and so on."""
    stems = [PurePath(name).stem for name in names.values()]
    if all(stem.isascii() and stem.isdigit() and len(stem) <= 18 for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(names) + 1))
