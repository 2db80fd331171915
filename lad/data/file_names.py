"""File names of images as annotation tools write them: with backslashes, in other Unicode, with a repeated folder."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PureWindowsPath
from unicodedata import normalize

from lad.utils.messages import one_line

REPEATED_FOLDERS = {
    "images",
    "data",
    "train",
    "val",
    "valid",
    "test",
}  # at the start of a name, beside the folder's own


@dataclass(frozen=True)
class FoundNames:
    """The names under which the images of a folder are found.

    Attributes:
        names: The name of each image within the folder; as given if it is not found.
        exact: Number of images that have the given name.
        found: Number of images found under any name.
        note: One line about names that differ from those given; None if there are none.
    """

    names: list[str]
    exact: int
    found: int
    note: str | None


def stays_inside(name: str) -> bool:
    """Return whether a file name is relative and has no "..", read as a POSIX or as a Windows path."""
    path = PureWindowsPath(name)  # which takes both / and \\ for separators
    return not (path.drive or path.root or ".." in path.parts)


def find_names(images: Path, names: Sequence[str]) -> FoundNames:
    """Look for images in a folder: by their names, else with / for each backslash, by equal Unicode, less the folder.

    Two names never become the same one: where they would, both stay as given.

    Args:
        images: Images folder.
        names: File names, which stay inside the folder.
    """
    entries = cache(_entries)
    is_exact = [_is_entry(images, name, entries) for name in names]
    found = [name if exact else _find(images, name, entries) for name, exact in zip(names, is_exact, strict=True)]
    listed = Counter(dict(zip(names, found, strict=True)).values())
    found = [other if other == name or listed[other] == 1 else None for name, other in zip(names, found, strict=True)]
    changes = {name: other for name, other in zip(names, found, strict=True) if other is not None and other != name}
    resolved = [changes.get(name, name) for name in names]
    return FoundNames(resolved, sum(is_exact), len(found) - found.count(None), _note(changes) if changes else None)


def slashed(name: str) -> str:
    """Return a name in composed Unicode with / between its folders."""
    return normalize("NFC", name).replace("\\", "/")


def _find(images: Path, name: str, entries: Callable[[str], dict[str, str]]) -> str | None:
    """Return the name under which an image is found in another spelling, None if it is not."""
    for separated in dict.fromkeys((name, name.replace("\\", "/"))):
        parts = [part for part in separated.split("/") if part not in ("", ".")]
        while parts:
            if (found := _spelled(images, parts, entries)) is not None:
                return found
            if parts[0] not in REPEATED_FOLDERS | {images.name}:
                break
            parts = parts[1:]
    return None


def _spelled(images: Path, parts: Iterable[str], entries: Callable[[str], dict[str, str]]) -> str | None:
    """Return the path of these parts as the file system spells it, None if it does not exist."""
    folder = str(images)
    spelled = []
    for part in parts:
        of_folder = entries(folder)
        entry = of_folder.get(part) or of_folder.get(normalize("NFC", part))
        if entry is None:
            return None
        spelled.append(entry)
        folder = os.path.join(folder, entry)
    return "/".join(spelled)


def _is_entry(images: Path, name: str, entries: Callable[[str], dict[str, str]]) -> bool:
    folder, base = os.path.split(os.path.join(images, name))
    return entries(folder).get(base) == base


def _entries(folder: str) -> dict[str, str]:
    """Return the entries of a folder by their name and by its composed Unicode; none if it cannot be read."""
    try:
        names = os.listdir(folder)
    except (OSError, ValueError):
        return {}
    return {normalize("NFC", name): name for name in names} | {name: name for name in names}


def _note(changes: dict[str, str]) -> str:
    first, found = next(iter(changes.items()))
    number = f"{len(changes):,} image file{' is' if len(changes) == 1 else 's are'}"
    reasons = {
        r"\ read as /": any("\\" in name for name in changes),
        "Unicode normalization": any(_base(name) != _base(other) for name, other in changes.items()),
        "a repeated folder left out": any(
            slashed(name).count("/") > other.count("/") for name, other in changes.items()
        ),
    }
    listed = ", ".join(reason for reason, applies in reasons.items() if applies)
    return one_line(f"{number} found under another spelling ({listed}), such as {first} as {found}")


def _base(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]
