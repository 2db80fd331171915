"""Writing of a COCO folder from images and objects that were read from another format."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lad.data.importing.source_files import count_note
from lad.utils.atomic_io import write_text
from lad.utils.messages import one_line
from lad.utils.progress import progress_bar

DECIMALS = 4  # of a box in pixels: fractions of the image become the integers that they were made from
TOLERANCE = 1.0  # pixels beyond the image that rounding explains


@dataclass(frozen=True)
class ImportedObject:
    """An object of an image.

    Attributes:
        name: Class name.
        box: (x0, y0, x1, y1) in pixels, from the upper left corner of the image.
        flags: Further fields of its COCO annotation, such as {"difficult": 1}.
    """

    name: str
    box: tuple[float, float, float, float]
    flags: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportedImage:
    """An image file and its objects.

    Attributes:
        path: The file.
        file_name: Its name in the COCO folder, relative to the folder of its split.
        size: (width, height) in pixels, in the orientation that the boxes refer to.
        objects: Its objects, in the order of the label file.
    """

    path: Path
    file_name: str
    size: tuple[int, int]
    objects: Sequence[ImportedObject]


@dataclass(frozen=True)
class ImportedSet:
    """A data set read from another format.

    Attributes:
        class_names: Names of the classes, in their order.
        splits: Images by split: "train", "val", "test".
        notes: What the user should know, one line each.
    """

    class_names: Sequence[str]
    splits: Mapping[str, Sequence[ImportedImage]]
    notes: Sequence[str] = ()


def check_is_new(out: Path) -> None:
    """Raise ValueError if a folder to write exists."""
    if os.path.lexists(out):
        raise ValueError(one_line(f"{out}: already exists; an import always writes a new folder, so name another one"))


def write_coco_folder(imported: ImportedSet, out: Path, copy: bool = False) -> list[str]:
    """Write annotations/instances_<split>.json and the images of each split, in <split>/; all of it or nothing.

    Boxes are clipped to their images, and boxes without area left out.

    Args:
        imported: The data set.
        out: New folder.
        copy: Whether to copy the images; by default they are hard links, or copies where these are not possible.

    Returns:
        The notes of `imported` and those about boxes, one line each, and last what was written.

    Raises:
        ValueError: `out` exists, or the classes or file names are not unique; nothing is written.
        OSError: `out` cannot be written; nothing is left.
    """
    check_is_new(out)
    if len(set(imported.class_names)) != len(imported.class_names):
        raise ValueError(one_line(f"class names are not unique: {', '.join(imported.class_names)}"))
    documents = {split: _document(images, imported.class_names) for split, images in imported.splits.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as unfinished:
        draft = Path(unfinished) / out.name
        (draft / "annotations").mkdir(parents=True)
        for split, images in imported.splits.items():
            write_text(draft / "annotations" / f"instances_{split}.json", json.dumps(documents[split]))
            for image in progress_bar(images, f"{split} images"):
                target = draft / split / image.file_name
                target.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(image.path, target, copy)
        draft.rename(out)
    return [*imported.notes, *_notes_about_boxes(imported), _summary(out, documents, len(imported.class_names))]


def _summary(out: Path, documents: Mapping[str, dict[str, Any]], num_classes: int) -> str:
    """Return a line like "written to new: train 231 images, 2,301 objects; val …; 12 classes"."""
    splits = [
        f"{split} {len(document['images']):,} images, {len(document['annotations']):,} objects"
        for split, document in documents.items()
    ]
    return f"written to {out}: {'; '.join(splits)}; {num_classes} classes"


def _document(images: Sequence[ImportedImage], class_names: Sequence[str]) -> dict[str, Any]:
    """Return the content of an instances JSON."""
    if len({image.file_name for image in images}) != len(images):
        names = [image.file_name for image in images]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(one_line(f"two images of one split are both named {twice}; rename one of them"))
    category_ids = {name: number for number, name in enumerate(class_names, start=1)}
    image_entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, start=1):
        width, height = image.size
        image_entries.append({"id": image_id, "file_name": image.file_name, "width": width, "height": height})
        for item in image.objects:
            bbox = _bbox(item.box, image.size)
            if min(bbox[2:]) <= 0:
                continue
            entry: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": category_ids[item.name],
            }
            entry |= {"bbox": bbox, "area": round(bbox[2] * bbox[3], DECIMALS), "iscrowd": 0}
            annotations.append({**entry, **item.flags})
    categories = [{"id": number, "name": name} for name, number in category_ids.items()]
    return {"images": image_entries, "annotations": annotations, "categories": categories}


def _bbox(box: tuple[float, float, float, float], size: tuple[int, int]) -> list[float]:
    """Return [x, y, width, height] of the part of a box (x0, y0, x1, y1) that is in the image."""
    x0, x1 = (min(max(x, 0), size[0]) for x in box[::2])
    y0, y1 = (min(max(y, 0), size[1]) for y in box[1::2])
    return [round(value, DECIMALS) for value in (x0, y0, x1 - x0, y1 - y0)]


def _notes_about_boxes(imported: ImportedSet) -> list[str]:
    """Return a line each about boxes that were clipped or left out, with the first image that has one."""
    clipped, empty = [], []
    for image in (image for images in imported.splits.values() for image in images):
        for item in image.objects:
            x0, y0, x1, y1 = item.box
            if min(_bbox(item.box, image.size)[2:]) <= 0:
                empty.append(image.path)
            elif max(-x0, -y0, x1 - image.size[0], y1 - image.size[1]) > TOLERANCE:
                clipped.append(image.path)
    return [
        *count_note(empty, "boxes without area in their image, left out"),
        *count_note(clipped, "boxes that reach outside their image, clipped"),
    ]


def _link_or_copy(source: Path, target: Path, copy: bool) -> None:
    if not copy:
        try:
            os.link(source.resolve(), target)
            return
        except (OSError, NotImplementedError):  # another file system, or one without links
            pass
    shutil.copy2(source, target)
