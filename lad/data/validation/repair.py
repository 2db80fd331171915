"""A corrected copy of an instances JSON: what can be mended is, what cannot is left out, all else stays as it was."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from lad.data.images import load_image
from lad.data.validation.checker import read_document, validate
from lad.data.validation.entries import (
    clip_boxes,
    corner_boxes,
    have_area,
    image_sizes,
    is_box,
    is_whole,
    segmentation_problem,
)
from lad.data.validation.rules import SECTIONS, Finding
from lad.utils.atomic_io import write_text
from lad.utils.messages import one_line

LEFT_OUT = {  # kinds of findings whose entry the copy has not
    "not-an-object", "bad-id", "duplicate-category-id", "duplicate-image-id", "bad-file-name", "outside-folder",
    "missing-file", "unreadable-image", "unknown-image", "unknown-category", "bad-box", "empty-box",
}  # fmt: skip
BY_HAND = {"unreadable-json", "odd-json", "missing-list", "refused"}

Boxes = Mapping[int, Sequence[list[float]]]  # by image id


def fix(images: Path, path: Path, out: Path, findings: Sequence[Finding] | None = None) -> list[str]:
    """Write a corrected copy of an instances JSON as the new file `out`; returns what was done, a line per finding
    about an entry. findings: those of `validate`, so that the images are not read again.

    Left out are images that cannot be used, annotations without a finite box with area, entries whose id is taken or no
    id, and the annotations of what is left out. Boxes are clipped; a wrong size is replaced by the file's where the
    boxes fit it, and nothing is scaled; annotations get new ids where theirs are taken; segmentations that do not fit
    are emptied. The copy has no error by `validate`.

    Raises ValueError, and writes nothing, if `out` is there, nothing would be left, or the JSON must be mended by hand.
    """
    if os.path.lexists(out):
        raise ValueError(one_line(f"{out}: is there already; a corrected copy is always a new file"))
    findings = validate(images, path) if findings is None else findings
    for finding in findings:
        if finding.kind in BY_HAND:
            raise ValueError(one_line(f"{path}: {finding.message}; this has to be mended by hand"))
    document = read_document(path)
    done = _mend(document, images, findings)
    for section in ("images", "categories"):
        if not document[section]:
            raise ValueError(one_line(f"{path}: none of its {section} can be used, so no corrected copy is written"))
    try:
        text = json.dumps(document)
    except RecursionError:
        raise ValueError(one_line(f"{path}: is nested too deeply to be written again")) from None
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
    return done


def _mend(document: dict[str, Any], images: Path, findings: Sequence[Finding]) -> list[str]:
    """Correct a document in place."""
    annotations = _objects(document.get("annotations"))
    boxes_of = _boxes_by_image(annotations)
    new_ids = count(max((one["id"] for one in annotations if is_whole(one.get("id"))), default=0) + 1)
    done = []
    for section in SECTIONS:  # images before annotations, whose boxes are clipped to the sizes found then
        entries = document.get(section) or []
        hw_of = image_sizes(document["images"]) if section == "annotations" else {}
        gone = set()
        for finding in findings:
            if finding.entry is None or finding.entry[0] != section:
                continue
            place = finding.entry[1]
            if finding.kind in LEFT_OUT or place in gone:
                what = "left out"
            elif finding.kind in ("bad-size", "wrong-size"):
                what = _correct_size(entries[place], images, boxes_of)
            elif finding.kind == "outside-box":
                what = _clip_box(entries[place], hw_of)
            elif finding.kind in ("duplicate-annotation-id", "odd-annotation-id"):
                entries[place]["id"] = next(new_ids)
                what = f"is annotation {entries[place]['id']} now"
            elif finding.kind == "bad-segmentation":
                entries[place]["segmentation"] = []
                what = "segmentation emptied"
            else:
                what = "left as it is"
            if what.startswith("left out"):
                gone.add(place)
            done.append(f"{finding}: {what}")
        if section in document:
            document[section] = [entry for place, entry in enumerate(entries) if place not in gone]
    return done + _follow(document)


def _follow(document: dict[str, Any]) -> list[str]:
    """What the annotations need after images were left out or given another size, and categories left out."""
    annotations = document.get("annotations") or []
    hw_of = image_sizes(document["images"])
    categories = {category["id"] for category in document["categories"]}
    left = [one for one in annotations if one["image_id"] in hw_of and one["category_id"] in categories]
    unfit = [one for one in left if segmentation_problem(one.get("segmentation"), hw_of[one["image_id"]])]
    for annotation in unfit:
        annotation["segmentation"] = []
    if "annotations" in document:
        document["annotations"] = left
    done = []
    if len(left) < len(annotations):
        done.append(f"annotations left out with their images or categories: {len(annotations) - len(left):,}")
    if unfit:
        done.append(f"segmentations emptied because their images have another size now: {len(unfit):,}")
    return done


def _correct_size(image: dict[str, Any], images: Path, boxes_of: Boxes) -> str:
    try:
        height, width = load_image(images / image["file_name"]).shape[:2]
        boxes = corner_boxes(boxes_of.get(image["id"], []))
    except (ValueError, KeyError, TypeError):
        return "left out"  # for what its other findings say
    clipped = clip_boxes(boxes, np.array([[height, width]] * len(boxes)).reshape(-1, 2))
    if (abs(boxes - clipped) > 1).any():
        return (
            f"left out: its boxes leave the file's {width} x {height}, so they are of another picture or another size"
        )
    image["width"], image["height"] = width, height
    return f"width and height are the file's now, {width} x {height}; boxes were not scaled, so look whether they fit"


def _clip_box(annotation: dict[str, Any], hw_of: Mapping[int, tuple[int, int] | None]) -> str:
    hw = hw_of.get(annotation["image_id"])
    if hw is None:
        return "left out with its image"
    clipped = clip_boxes(corner_boxes([annotation["bbox"]]), np.array([hw]))
    if not have_area(clipped)[0]:
        return "left out"
    x0, y0, x1, y1 = clipped[0].tolist()
    annotation["bbox"] = [x0, y0, x1 - x0, y1 - y0]
    return f"clipped to {annotation['bbox']}"


def _boxes_by_image(annotations: Iterable[Mapping[str, Any]]) -> Boxes:
    boxes: dict[int, list[list[float]]] = {}
    for annotation in annotations:
        if is_whole(annotation.get("image_id")) and is_box(annotation.get("bbox")):
            boxes.setdefault(annotation["image_id"], []).append(annotation["bbox"])
    return boxes


def _objects(entries: Any) -> list[dict[str, Any]]:
    return [entry for entry in entries or [] if isinstance(entry, dict)]
