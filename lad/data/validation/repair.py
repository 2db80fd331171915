"""Corrected copies of instances JSON files: entries are repaired or removed, everything else is unchanged."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from lad.data.file_names import find_names
from lad.data.images import load_image
from lad.data.validation.checker import read_document, validate
from lad.data.validation.entries import (
    clip_boxes,
    corner_boxes,
    has_area,
    image_sizes,
    is_inside_folder,
    is_int64,
    segmentation_problem,
)
from lad.data.validation.rules import SECTIONS, Finding, entry_lists, read_values
from lad.data.values import is_area, is_box
from lad.utils.atomic_io import write_text
from lad.utils.messages import one_line

REMOVED_KINDS = {  # findings whose entry is removed from the copy
    "not-an-object", "bad-id", "duplicate-category-id", "duplicate-image-id", "bad-file-name", "outside-folder",
    "missing-file", "unreadable-image", "unknown-image", "unknown-category", "bad-box", "bad-crowd", "empty-box",
}  # fmt: skip
UNREPAIRABLE_KINDS = {"unreadable-json", "odd-json", "missing-list", "refused"}

Boxes = Mapping[int, Sequence[list[float]]]  # by image id


def fix(images: Path, path: Path, out: Path, findings: Sequence[Finding] | None = None) -> list[str]:
    """Write a corrected copy of an instances JSON as a new file; `validate` finds no error in it.

    It removes unusable images, annotations without a finite box with area, entries with a repeated or invalid id, and
    the annotations of removed images and categories. Boxes are clipped. A wrong image size is replaced by the file's
    where the boxes fit it; boxes are never scaled. Annotations with a repeated id get new ones. Segmentations that do
    not fit their image are emptied.

    Args:
        images: Images folder.
        path: The instances JSON.
        out: New file.
        findings: Those of `validate`, if known, so that the images are not read again.

    Returns:
        The corrections, one line per finding about an entry.

    Raises:
        ValueError: `out` exists, nothing would remain, or the JSON must be fixed by hand; nothing is written.
    """
    if os.path.lexists(out):
        raise ValueError(one_line(f"{out}: already exists; a corrected copy is always a new file"))
    findings = validate(images, path) if findings is None else findings
    for finding in findings:
        if finding.kind in UNREPAIRABLE_KINDS:
            raise ValueError(one_line(f"{path}: {finding.message}; this must be fixed by hand"))
    document = read_document(path)
    read_values(path, entry_lists(path, document)[0])
    num_annotations = len(document.get("annotations") or [])
    corrections = [*_use_found_names(document, images), *_correct(document, images, findings)]
    for section in ("images", "categories"):
        if not document[section]:
            raise ValueError(one_line(f"{path}: none of its {section} can be used, so there is nothing to write"))
    num_lost = num_annotations - len(document.get("annotations") or [])
    if num_lost == num_annotations > 0:
        raise ValueError(
            one_line(f"{path}: none of its {num_annotations:,} annotations can be used, so there is nothing to write")
        )
    if num_lost:
        corrections.append(f"{path.name}: {num_lost:,} of {num_annotations:,} annotations are not in the copy")
    try:
        text = json.dumps(document)
    except RecursionError:
        raise ValueError(one_line(f"{path}: is nested too deeply to be written")) from None
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
    return corrections


def _use_found_names(document: dict[str, Any], images: Path) -> list[str]:
    """Set the file names of images to those under which they are found, and return the correction."""
    entries = [image for image in _objects(document.get("images")) if is_inside_folder(image.get("file_name"))]
    found = find_names(images, [image["file_name"] for image in entries])
    for image, name in zip(entries, found.names, strict=True):
        image["file_name"] = name
    return [] if found.note is None else [f"{found.note}: file names corrected"]


def _correct(document: dict[str, Any], images: Path, findings: Sequence[Finding]) -> list[str]:
    """Correct a document in place and return the corrections."""
    annotations = _objects(document.get("annotations"))
    boxes_of = _boxes_by_image(annotations)
    used_ids = (annotation["id"] for annotation in annotations if is_int64(annotation.get("id")))
    new_ids = count(max(used_ids, default=0) + 1)
    corrections = []
    for section in SECTIONS:  # images before annotations, whose boxes are clipped to the corrected sizes
        entries = document.get(section) or []
        hw_of = image_sizes(document["images"]) if section == "annotations" else {}
        removed = set()
        for finding in findings:
            if finding.entry is None or finding.entry[0] != section:
                continue
            index = finding.entry[1]
            if finding.kind in REMOVED_KINDS or index in removed:
                correction = "removed"
            elif finding.kind in ("bad-size", "wrong-size"):
                correction = _correct_size(entries[index], images, boxes_of)
            elif finding.kind == "outside-box":
                correction = _clip_box(entries[index], hw_of)
            elif finding.kind in ("duplicate-annotation-id", "odd-annotation-id"):
                entries[index]["id"] = next(new_ids)
                correction = f"renumbered to annotation {entries[index]['id']}"
            elif finding.kind == "odd-number":
                correction = "written as a number"
            elif finding.kind == "odd-area":
                correction = _correct_area(entries[index])
            elif finding.kind == "bad-segmentation":
                entries[index]["segmentation"] = []
                correction = "segmentation emptied"
            else:
                correction = "unchanged"
            if correction.startswith("removed"):
                removed.add(index)
            corrections.append(f"{finding}: {correction}")
        if section in document:
            document[section] = [entry for index, entry in enumerate(entries) if index not in removed]
    return corrections + _correct_dependent_annotations(document)


def _correct_dependent_annotations(document: dict[str, Any]) -> list[str]:
    """Correct annotations whose image or category was removed, or whose image has a new size."""
    annotations = document.get("annotations") or []
    hw_of = image_sizes(document["images"])
    categories = {category["id"] for category in document["categories"]}
    kept = [
        annotation
        for annotation in annotations
        if annotation["image_id"] in hw_of and annotation["category_id"] in categories
    ]
    misfits = [
        annotation
        for annotation in kept
        if segmentation_problem(annotation.get("segmentation"), hw_of[annotation["image_id"]])
    ]
    for annotation in misfits:
        annotation["segmentation"] = []
    if "annotations" in document:
        document["annotations"] = kept
    corrections = []
    if len(kept) < len(annotations):
        corrections.append(f"annotations removed with their images or categories: {len(annotations) - len(kept):,}")
    if misfits:
        corrections.append(f"segmentations emptied because the sizes of their images changed: {len(misfits):,}")
    return corrections


def _correct_area(annotation: dict[str, Any]) -> str:
    """Set an annotation's area to that of its box and return the correction."""
    if is_box(annotation["bbox"]) and not is_area(annotation["area"]):
        annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3]
    return f"area set to {annotation['area']}"


def _correct_size(image: dict[str, Any], images: Path, boxes_of: Boxes) -> str:
    """Set an image's size to that of its file and return the correction; "removed …" if that cannot be right."""
    try:
        height, width = load_image(images / image["file_name"]).shape[:2]
        boxes = corner_boxes(boxes_of.get(image["id"], []))
    except (ValueError, KeyError, TypeError):
        return "removed"  # its other findings say why
    clipped = clip_boxes(boxes, np.array([[height, width]] * len(boxes)).reshape(-1, 2))
    if (abs(boxes - clipped) > 1).any():
        return (
            f"removed: its boxes extend beyond the file's {width} x {height}, so they belong to another image or size"
        )
    image["width"], image["height"] = width, height
    return f"width and height set to the file's, {width} x {height}; boxes were not scaled, check that they fit"


def _clip_box(annotation: dict[str, Any], hw_of: Mapping[int, tuple[int, int] | None]) -> str:
    """Clip an annotation's box to its image and return the correction; "removed …" if nothing remains."""
    hw = hw_of.get(annotation["image_id"])
    if hw is None:
        return "removed with its image"
    clipped = clip_boxes(corner_boxes([annotation["bbox"]]), np.array([hw]))
    if not has_area(clipped)[0]:
        return "removed"
    x0, y0, x1, y1 = clipped[0].tolist()
    annotation["bbox"] = [x0, y0, x1 - x0, y1 - y0]
    return f"clipped to {annotation['bbox']}"


def _boxes_by_image(annotations: Iterable[Mapping[str, Any]]) -> Boxes:
    boxes: dict[int, list[list[float]]] = {}
    for annotation in annotations:
        if is_int64(annotation.get("image_id")) and is_box(annotation.get("bbox")):
            boxes.setdefault(annotation["image_id"], []).append(annotation["bbox"])
    return boxes


def _objects(entries: Any) -> list[dict[str, Any]]:
    return [entry for entry in entries or [] if isinstance(entry, dict)]
