"""Rules that the entries of an instances JSON must meet; each violation is a `Finding`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lad.data.annotations import look_like_corners
from lad.data.validation.entries import (
    Entry,
    category_name,
    clip_boxes,
    corner_boxes,
    has_area,
    image_size,
    image_sizes,
    is_inside_folder,
    is_int64,
    segmentation_problem,
)
from lad.data.values import READERS, is_area, is_box, is_crowd_flag, is_rewritten
from lad.utils.messages import format_path, format_value, one_line

Severity = Literal["error", "warning", "note"]
Lists = Mapping[str, list[Entry]]  # entries of each section of a JSON
Sizes = Mapping[int, tuple[int, int] | None]  # (height, width) by image id, None where unknown

SECTIONS = ("categories", "images", "annotations")  # of the JSON
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One problem of a data set.

    Attributes:
        severity: "error" if it stops training or makes it learn something wrong, "warning" for data that reading
            corrects or ignores, "note" for something that may be intended.
        kind: Stable short name, such as "missing-file".
        path: The JSON or the image file.
        image_id: COCO image id, None if the problem has none.
        annotation_id: COCO annotation id, None if the problem has none.
        message: What is wrong.
        entry: Section of the JSON and index in it, ("annotations", 12); None for the file as a whole.
    """

    severity: Severity
    kind: str
    path: Path
    image_id: int | None
    annotation_id: int | None
    message: str
    entry: tuple[str, int] | None = None

    def __str__(self) -> str:
        ids = {"images": self.image_id, "annotations": self.annotation_id}
        places = [f"{section[:-1]} {number}" for section, number in ids.items() if number is not None]
        if self.entry is not None and ids.get(self.entry[0]) is None:  # without an id, the index locates it
            places.append(f"{self.entry[0]}[{self.entry[1]}]")
        where = f"{', '.join(places)}: " if places else ""
        return one_line(f"{self.severity}: {format_path(self.path)}: {where}{self.message} [{self.kind}]")


def entry_lists(path: Path, document: Mapping[str, Any]) -> tuple[dict[str, list[Entry]], list[Finding]]:
    """Return the entries of each section that are objects, and the findings about the sections themselves."""
    lists: dict[str, list[Entry]] = {}
    findings = []
    for section in SECTIONS:
        entries = document.get(section)
        if entries is None and section == "annotations" and path.name.startswith("image_info"):
            entries = []
        if not isinstance(entries, list):
            message = f"has no list '{section}' ({format_value(entries)})"
            findings.append(Finding("error", "missing-list", path, None, None, message))
            entries = []
        elif not entries and section != "annotations":
            findings.append(Finding("error", "empty-set", path, None, None, f"lists no {section}"))
        lists[section] = [(index, entry) for index, entry in enumerate(entries) if isinstance(entry, dict)]
        findings += [
            Finding(
                "error",
                "not-an-object",
                path,
                None,
                None,
                f"is not an object ({format_value(entry)})",
                (section, index),
            )
            for index, entry in enumerate(entries)
            if not isinstance(entry, dict)
        ]
    return lists, findings


def read_values(path: Path, lists: Lists) -> list[Finding]:
    """Replace the values of all entries by what training reads, and return the findings about those replaced."""
    findings = []
    for section, readers in READERS.items():
        for entry in lists[section]:
            content = entry[1]
            for field, read in readers.items():
                written = content.get(field)
                value = read(written)
                if value is written:
                    continue
                if field in content:
                    content[field] = value
                if is_rewritten(field, written, value):
                    message = f"has {field} {format_value(written)}, read as {format_value(value)}"
                    findings.append(entry_finding(path, section, entry, "warning", "odd-number", message))
    return findings


def check_entries(path: Path, lists: Lists) -> list[Finding]:
    """Return the findings about the categories, images and annotations of a JSON, without opening image files.

    Args:
        path: The JSON.
        lists: Its entries, after `read_values`.
    """
    hw_of = image_sizes(image for _, image in lists["images"])
    return [
        *_check_categories(path, lists["categories"]),
        *_check_images(path, lists["images"]),
        *_check_annotations(path, lists, hw_of),
        *_check_boxes(path, lists, hw_of),
    ]


def entry_finding(path: Path, section: str, entry: Entry, severity: Severity, kind: str, message: str) -> Finding:
    """Return a finding about an entry, with the entry's ids."""
    index, content = entry
    image_id, annotation_id = {
        "categories": (None, None),
        "images": (content.get("id"), None),
        "annotations": (content.get("image_id"), content.get("id")),
    }[section]
    return Finding(
        severity,
        kind,
        path,
        image_id if is_int64(image_id) else None,
        annotation_id if is_int64(annotation_id) else None,
        message,
        (section, index),
    )


def abbreviate(names: Sequence[str], limit: int = 10) -> str:
    """Return the first names and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _check_categories(path: Path, categories: Iterable[Entry]) -> Iterator[Finding]:
    ids: set[int] = set()
    id_of: dict[str, int] = {}
    for entry in categories:
        finding = partial(entry_finding, path, "categories", entry)
        number, name = entry[1].get("id"), category_name(entry[1])
        if not is_int64(number):
            yield finding("error", "bad-id", _not_int64("id", number))
            continue
        if number in ids:
            yield finding("error", "duplicate-category-id", f"repeats the id of an earlier category, {number}")
        elif name in id_of:
            yield finding(
                "warning", "same-name", f"categories {id_of[name]} and {number} are both named {format_value(name)}"
            )
        ids.add(number)
        id_of.setdefault(name, number)


def _check_images(path: Path, images: Iterable[Entry]) -> Iterator[Finding]:
    first: dict[int, dict[str, Any]] = {}
    id_of: dict[str, Any] = {}
    for entry in images:
        finding = partial(entry_finding, path, "images", entry)
        image = entry[1]
        number, name = image.get("id"), image.get("file_name")
        if not is_int64(number):
            yield finding("error", "bad-id", _not_int64("id", number))
        elif number in first:
            rest = "are the same" if _are_equal(image, first[number]) else "differ"
            yield finding("error", "duplicate-image-id", f"repeats the id of an earlier image; the other fields {rest}")
        else:
            first[number] = image
        if image_size(image) is None:
            sides = f"width {format_value(image.get('width'))}, height {format_value(image.get('height'))}"
            yield finding("error", "bad-size", f"its width and height are not positive integers ({sides})")
        if not is_inside_folder(name):
            yield finding("error", "bad-file-name", f"has no file_name inside the images folder ({format_value(name)})")
        elif str(Path(name)) in id_of:
            yield finding(
                "warning", "duplicate-file", f"lists {name}, as does image {format_value(id_of[str(Path(name))])}"
            )
        else:
            id_of[str(Path(name))] = number


def _check_annotations(path: Path, lists: Lists, hw_of: Sizes) -> Iterator[Finding]:
    known = {
        "image": hw_of.keys(),
        "category": {category["id"] for _, category in lists["categories"] if is_int64(category.get("id"))},
    }
    ids: set[int] = set()
    for entry in lists["annotations"]:
        finding = partial(entry_finding, path, "annotations", entry)
        annotation = entry[1]
        number, image_id, bbox = (annotation.get(key) for key in ("id", "image_id", "bbox"))
        if not is_int64(number):
            yield finding("warning", "odd-annotation-id", _not_int64("id", number))
        elif number in ids:
            yield finding("warning", "duplicate-annotation-id", "repeats the id of an earlier annotation")
        else:
            ids.add(number)
        for kind, known_ids in known.items():
            reference = annotation.get(f"{kind}_id")
            if not is_int64(reference):
                yield finding("error", "bad-id", _not_int64(f"{kind}_id", reference))
            elif reference not in known_ids and known_ids:  # an empty section has a finding already
                yield finding("error", f"unknown-{kind}", f"has {kind}_id {reference}, which is not listed")
        if not is_box(bbox):
            yield finding("error", "bad-box", f"has bbox {format_value(bbox)}; expected four finite numbers")
        crowd = annotation.get("iscrowd")
        if crowd is not None and not is_crowd_flag(crowd):
            yield finding("error", "bad-crowd", f"has iscrowd {format_value(crowd)}; expected 0 or 1")
        elif crowd not in (None, 0, 1):
            yield finding("warning", "odd-crowd", f"has iscrowd {format_value(crowd)}, which counts as 1")
        if "area" in annotation and not is_area(annotation["area"]):
            message = f"has area {format_value(annotation['area'])}; evaluation takes the box's width × height"
            yield finding("warning", "odd-area", message)
        hw = hw_of.get(image_id) if is_int64(image_id) else None
        problem = segmentation_problem(annotation.get("segmentation"), hw)
        if problem is not None:
            yield finding("warning", "bad-segmentation", f"has a segmentation {problem}; training does not use it")


def _check_boxes(path: Path, lists: Lists, hw_of: Sizes) -> Iterator[Finding]:
    """Check the boxes that reading clips or drops, and whether any gts remain."""
    entries = [entry for entry in lists["annotations"] if is_box(entry[1].get("bbox"))]
    image_ids = [entry[1].get("image_id") for entry in entries]
    sizes = [hw_of.get(image_id) if is_int64(image_id) else None for image_id in image_ids]
    boxes = corner_boxes([entry[1]["bbox"] for entry in entries])
    clipped = clip_boxes(boxes, np.array([hw or (np.inf, np.inf) for hw in sizes], dtype=np.float64).reshape(-1, 2))
    is_known = np.array([hw is not None for hw in sizes], dtype=bool)
    clipped = np.where(is_known[:, None], clipped, boxes)
    is_box_with_area, is_gt = has_area(boxes), has_area(clipped)
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        is_beyond = (abs(boxes - clipped) > 1).any(axis=1)  # one pixel of tolerance: rounding is common
    is_outside = is_box_with_area & (is_beyond | ~is_gt) & is_known
    for index in np.flatnonzero(is_outside | ~is_box_with_area):
        finding = partial(entry_finding, path, "annotations", entries[index])
        bbox, hw = f"has bbox {format_value(entries[index][1]['bbox'])}", sizes[index]
        if is_outside[index] and hw is not None:
            result = "is clipped to it" if is_gt[index] else "has no part inside, so it is not a gt"
            message = f"{bbox}, which extends beyond its image of {hw[1]} x {hw[0]} and {result}"
            yield finding("warning", "outside-box", message)
        else:
            message = f"{bbox}, which has no area: training leaves it out, evaluation counts it as missed"
            yield finding("warning", "empty-box", message)

    gts = [entries[index][1] for index in np.flatnonzero(is_box_with_area & is_gt)]
    yield from _check_gts(path, lists, hw_of, [gt for gt in gts if not gt.get("iscrowd")])
    if is_known.all() and len(boxes):
        is_gt_outside = np.array([not entry[1].get("iscrowd") for entry in entries], dtype=bool) & is_outside
        written = np.array([entry[1]["bbox"] for entry in entries], dtype=np.float64)
        if look_like_corners(written, np.array(sizes), is_gt_outside):
            message = "all boxes seem to be corners [x0, y0, x1, y1]; expected [x, y, width, height]"
            yield Finding("warning", "corner-boxes", path, None, None, message)
    if len(boxes) and is_box_with_area.any() and boxes.min() >= 0 and boxes.max() <= 1:
        message = (
            "all boxes lie in the first pixel of their image: they seem to be fractions of its size; expected pixels"
        )
        yield Finding("warning", "tiny-boxes", path, None, None, message)


def _check_gts(path: Path, lists: Lists, hw_of: Sizes, gts: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Check that there are gts, in all images and of all categories."""
    crowds = sum(bool(entry.get("iscrowd")) for _, entry in lists["annotations"])
    if crowds:
        message = f"{crowds:,} of {len(lists['annotations']):,} annotations are crowds, which are not trained on"
        yield Finding("note", "crowds", path, None, None, message)
    if not gts:
        if not path.name.startswith("image_info"):
            yield Finding(
                "warning", "no-gts", path, None, None, "has no gts: nothing can be learned from it, and it has no AP"
            )
        return
    empty = hw_of.keys() - {gt["image_id"] for gt in gts if is_int64(gt.get("image_id"))}
    if empty:
        message = f"{len(empty):,} of {len(hw_of):,} images have no gts (first: image {min(empty)})"
        yield Finding("note", "images-without-gts", path, None, None, message)
    with_gts = {gt["category_id"] for gt in gts if is_int64(gt.get("category_id"))}
    names = [
        category_name(category)
        for _, category in lists["categories"]
        if is_int64(category.get("id")) and category["id"] not in with_gts
    ]
    if names:
        message = f"{len(names):,} of {len(lists['categories']):,} categories have no gts: {abbreviate(names)}"
        yield Finding("note", "categories-without-gts", path, None, None, message)


def _not_int64(key: str, value: Any) -> str:
    return f"has no 64-bit integer '{key}' ({format_value(value)})"


def _are_equal(image: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    try:
        return image == other
    except RecursionError:  # deeply nested fields
        return False
