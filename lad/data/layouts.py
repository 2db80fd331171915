"""Layouts of data set folders, as annotation tools export them: where the JSON and the images of a split are.

A layout is a row of `LAYOUTS`. A folder without a validation JSON has one JSON for both parts, as has a JSON file that
is given as the data itself; `lad.data.val_share` splits it.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lad.utils.messages import format_path, one_line

SPLIT_FOLDERS = {"val": ("val", "valid", "validation")}  # other splits have one name
COCO_KINDS = ("instances", "image_info")  # the latter are lists of test images
MAX_LISTED = 4  # files that a message names


class Layout(NamedTuple):
    """Where a tool writes its files, relative to the data set folder.

    Attributes:
        tool: The tool whose export it is.
        files: Glob patterns of the JSON; "{split}" is the split's name. Without it, the JSON is for all splits.
        images: Folders that may hold the images; "{stem}" is the JSON's name without "instances_" and ".json".
    """

    tool: str
    files: tuple[str, ...]
    images: tuple[str, ...]


LAYOUTS = (
    Layout(
        "COCO",
        tuple(f"{place}{kind}_{{split}}*.json" for kind in COCO_KINDS for place in ("", "annotations/")),
        ("{stem}", "images/{stem}", "{split}", "images/{split}", "images", "."),
    ),
    Layout("Roboflow", ("{split}/_annotations.coco.json",), ("{split}", ".")),
    Layout("FiftyOne", ("{split}/labels.json",), ("{split}/data", "{split}", ".")),
    Layout(
        "CVAT",
        ("annotations/instances_default.json", "instances_default.json"),
        ("images", "images/default", "default", "."),
    ),
    Layout("Label Studio", ("result.json",), ("images", ".")),
    Layout("FiftyOne", ("labels.json",), ("data", ".")),
)
BESIDE_JSON = tuple(
    f"{place}{name}" for place in ("", "../") for name in ("images", "{stem}", "images/{stem}", "data", ".")
)


@dataclass(frozen=True)
class SplitFiles:
    """The files of a split.

    Attributes:
        data: The data set folder, or the JSON that was given in its place.
        path: The JSON.
        image_folders: Folders that may hold its images.
        is_shared: Whether the JSON is for training and validation, of which the split is a share.
    """

    data: Path
    path: Path
    image_folders: tuple[Path, ...]
    is_shared: bool = False


def locate_split(data: Path, split: str, images: Path | str | None = None) -> SplitFiles:
    """Return the files of a split ("train", "val", "test-dev" …) of a data set.

    Args:
        data: Data set folder in one of `LAYOUTS`, or a JSON file.
        split: Name of the split.
        images: Folder of the images of a JSON file; None looks beside it.

    Raises:
        ValueError: There is no such folder, or not exactly one such JSON; one line that names those found.
    """
    if data.is_file():
        if split not in ("train", "val"):
            raise _refusal(data, f"a JSON file has a training and a validation part, not '{split}'; give a folder")
        if images is not None and not Path(images).is_dir():
            raise ValueError(one_line(f"images '{images}': no such folder"))
        folders = _folders(data.parent, BESIDE_JSON, data, split) if images is None else (Path(images),)
        return SplitFiles(data, data, folders, is_shared=True)
    if not data.is_dir():
        raise _refusal(data, "no such folder")
    if images is not None:
        raise _refusal(data, "images is for a JSON file given as data; leave it out with a folder")
    found = _matches(data, split) + _matches(data, None)
    if split == "val" and not found and _is_whole(data):
        found = _matches(data, "train")
    if len(found) > 1:
        tools = {layout.tool for layout, _ in found}
        reason = f"layouts of {' and '.join(sorted(tools))}" if len(tools) > 1 else "JSON files"
        raise _refusal(
            data,
            f"several {reason} in it, {_names(data, (path for _, path in found))}; exactly one is needed for the split "
            f"{split}: move the others away, or give one JSON file as data",
        )
    if not found:
        raise _refusal(data, _reason_for_none(data, split))
    layout, path = found[0]
    is_shared = split in ("train", "val") and (_is_for_all(layout) or _is_whole(data))
    return SplitFiles(data, path, _folders(data, layout.images, path, split), is_shared)


def is_shared(data: Path) -> bool:
    """Return whether training and validation share one JSON, so that `val_share` splits it; False for unusable data."""
    try:
        return locate_split(data, "train").is_shared
    except (ValueError, OSError):
        return False


def data_of(path: Path) -> Path:
    """Return the data set folder that a JSON belongs to by its place, or the JSON if that is none of `LAYOUTS`."""
    for folder in (path.parent.parent, path.parent):
        for split in ("train", "val", "test", None):
            if path in (found for _, found in _matches(folder, split)):
                return folder
    return path.parent.parent if path.parent.name == "annotations" else path


def split_name(path: Path) -> str:
    """Return the name of the images folder that is tried first for an instances JSON."""
    return re.sub("^(instances|image_info)_", "", path.stem).replace("-dev", "")


def _is_for_all(layout: Layout) -> bool:
    return "{split}" not in layout.files[0]


def _is_whole(folder: Path) -> bool:
    """Return whether a folder has one JSON for training, and no other that might be for validation."""
    jsons = {path for pattern in ("instances_*.json", "*/instances_*.json", "*/_annotations.coco.json", "*/labels.json")
             for path in folder.glob(pattern)}  # fmt: skip
    return len(_matches(folder, "train")) == len(jsons) == 1


def _matches(folder: Path, split: str | None) -> list[tuple[Layout, Path]]:
    """Return the JSON files of a split by their layout; those for all splits if it is None."""
    found: dict[Path, Layout] = {}
    for layout in LAYOUTS:
        if _is_for_all(layout) != (split is None):
            continue
        for pattern in layout.files:
            names = ("",) if split is None else SPLIT_FOLDERS.get(split, (split,))
            for name in names:
                found |= {path: layout for path in sorted(folder.glob(pattern.replace("{split}", name)))}
    return [(layout, path) for path, layout in found.items()]


def _folders(folder: Path, patterns: Iterable[str], path: Path, split: str) -> tuple[Path, ...]:
    """Return the folders of the patterns, each once."""
    name = path.parent.name if path.parent.name in SPLIT_FOLDERS.get(split, ()) else split
    filled = (pattern.replace("{stem}", split_name(path)).replace("{split}", name) for pattern in patterns)
    return tuple(dict.fromkeys(Path(os.path.normpath(folder / name)) for name in filled))


def _reason_for_none(folder: Path, split: str) -> str:
    reason = f"no instances_{split}*.json in it or its annotations/ folder"
    jsons = sorted([*folder.glob("*.json"), *folder.glob("*/*.json")])
    hint = f", such as {format_path(jsons[0])}" if jsons and split in ("train", "val") else ""
    return (
        f"{reason}; exactly one is needed, or an export of Roboflow, CVAT, Label Studio or FiftyOne "
        f"(docs/own_data.md), or a JSON file as data{hint}"
    )


def _names(folder: Path, paths: Iterable[Path]) -> str:
    names = [str(path.relative_to(folder)) for path in paths]
    return ", ".join(names[:MAX_LISTED]) + (" …" if len(names) > MAX_LISTED else "")


def _refusal(data: Path, reason: str) -> ValueError:
    return ValueError(one_line(f"data '{data}': {reason}"))
