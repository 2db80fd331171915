"""What is wrong with the entries of an instances JSON, finding by finding."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lad.data.validation.entries import (
    Entry,
    category_name,
    clip_boxes,
    corner_boxes,
    have_area,
    image_size,
    image_sizes,
    is_box,
    is_inside,
    is_whole,
    segmentation_problem,
)
from lad.utils.messages import format_path, format_value, one_line

Severity = Literal["error", "warning", "note"]
Lists = Mapping[str, list[Entry]]  # the objects in each list of a JSON
Sizes = Mapping[int, tuple[int, int] | None]  # (height, width) by image id, None where it is not known

SECTIONS = ("categories", "images", "annotations")  # of the JSON
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """Something wrong with a data set.

    kind: a short name that stays, such as "missing-file". path: the JSON, or the image file. entry: which list of the
    JSON it is about and the place there, ("annotations", 12); None for the file as a whole.
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
        if self.entry is not None and ids.get(self.entry[0]) is None:  # it has no id to be found by
            places.append(f"{self.entry[0]}[{self.entry[1]}]")
        where = f"{', '.join(places)}: " if places else ""
        return one_line(f"{self.severity}: {format_path(self.path)}: {where}{self.message} [{self.kind}]")


def entry_lists(path: Path, document: Mapping[str, Any]) -> tuple[dict[str, list[Entry]], list[Finding]]:
    """The objects in each list, and what is wrong with the lists themselves."""
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
        lists[section] = [(place, entry) for place, entry in enumerate(entries) if isinstance(entry, dict)]
        findings += [
            Finding(
                "error",
                "not-an-object",
                path,
                None,
                None,
                f"is not an object ({format_value(entry)})",
                (section, place),
            )
            for place, entry in enumerate(entries)
            if not isinstance(entry, dict)
        ]
    return lists, findings


def check_entries(path: Path, lists: Lists) -> list[Finding]:
    """What is wrong with the categories, images and annotations of a JSON, as far as it can be told without the files
    of the images."""
    hw_of = image_sizes(image for _, image in lists["images"])
    return [
        *_check_categories(path, lists["categories"]),
        *_check_images(path, lists["images"]),
        *_check_annotations(path, lists, hw_of),
        *_check_boxes(path, lists, hw_of),
    ]


def about_entry(path: Path, section: str, entry: Entry, severity: Severity, kind: str, message: str) -> Finding:
    """About an entry, with the ids that it gives."""
    place, content = entry
    image_id, annotation_id = {
        "categories": (None, None),
        "images": (content.get("id"), None),
        "annotations": (content.get("image_id"), content.get("id")),
    }[section]
    return Finding(
        severity,
        kind,
        path,
        image_id if is_whole(image_id) else None,
        annotation_id if is_whole(annotation_id) else None,
        message,
        (section, place),
    )


def some(names: Sequence[str], most: int = 10) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _check_categories(path: Path, categories: Iterable[Entry]) -> Iterator[Finding]:
    ids: set[int] = set()
    id_of: dict[str, int] = {}
    for entry in categories:
        found = partial(about_entry, path, "categories", entry)
        number, name = entry[1].get("id"), category_name(entry[1])
        if not is_whole(number):
            yield found("error", "bad-id", _not_whole("id", number))
            continue
        if number in ids:
            yield found("error", "duplicate-category-id", f"its id, {number}, is an earlier category's")
        elif name in id_of:
            yield found(
                "warning", "same-name", f"categories {id_of[name]} and {number} are both named {format_value(name)}"
            )
        ids.add(number)
        id_of.setdefault(name, number)


def _check_images(path: Path, images: Iterable[Entry]) -> Iterator[Finding]:
    first: dict[int, dict[str, Any]] = {}
    id_of: dict[str, Any] = {}
    for entry in images:
        found = partial(about_entry, path, "images", entry)
        image = entry[1]
        number, name = image.get("id"), image.get("file_name")
        if not is_whole(number):
            yield found("error", "bad-id", _not_whole("id", number))
        elif number in first:
            rest = "the same" if _are_equal(image, first[number]) else "not the same"
            yield found("error", "duplicate-image-id", f"its id is an earlier image's; the rest of it is {rest}")
        else:
            first[number] = image
        if image_size(image) is None:
            sides = f"width {format_value(image.get('width'))}, height {format_value(image.get('height'))}"
            yield found("error", "bad-size", f"has no width and height in whole, positive numbers ({sides})")
        if not is_inside(name):
            yield found("error", "bad-file-name", f"has no file_name inside the images folder ({format_value(name)})")
        elif str(Path(name)) in id_of:
            yield found(
                "warning", "duplicate-file", f"lists {name}, as image {format_value(id_of[str(Path(name))])} does"
            )
        else:
            id_of[str(Path(name))] = number


def _check_annotations(path: Path, lists: Lists, hw_of: Sizes) -> Iterator[Finding]:
    known = {
        "image": hw_of.keys(),
        "category": {one["id"] for _, one in lists["categories"] if is_whole(one.get("id"))},
    }
    ids: set[int] = set()
    for entry in lists["annotations"]:
        found = partial(about_entry, path, "annotations", entry)
        annotation = entry[1]
        number, image_id, bbox = (annotation.get(key) for key in ("id", "image_id", "bbox"))
        if not is_whole(number):
            yield found("warning", "odd-annotation-id", _not_whole("id", number))
        elif number in ids:
            yield found("warning", "duplicate-annotation-id", "its id is an earlier annotation's")
        else:
            ids.add(number)
        for of, members in known.items():
            one = annotation.get(f"{of}_id")
            if not is_whole(one):
                yield found("error", "bad-id", _not_whole(f"{of}_id", one))
            elif one not in members and members:  # no list is a finding of its own
                yield found("error", f"unknown-{of}", f"has {of}_id {one}, which is not listed")
        if not is_box(bbox):
            yield found("error", "bad-box", f"has bbox {format_value(bbox)}; four finite numbers are needed")
        crowd = annotation.get("iscrowd")
        if crowd not in (None, 0, 1):
            yield found(
                "warning", "odd-crowd", f"has iscrowd {format_value(crowd)}, which counts as {int(bool(crowd))}"
            )
        hw = hw_of.get(image_id) if is_whole(image_id) else None
        problem = segmentation_problem(annotation.get("segmentation"), hw)
        if problem is not None:
            yield found("warning", "bad-segmentation", f"has a segmentation {problem}; training does not use it")


def _check_boxes(path: Path, lists: Lists, hw_of: Sizes) -> Iterator[Finding]:
    """What reading mends in boxes, and what has no gt after that."""
    entries = [entry for entry in lists["annotations"] if is_box(entry[1].get("bbox"))]
    image_ids = [entry[1].get("image_id") for entry in entries]
    sizes = [hw_of.get(one) if is_whole(one) else None for one in image_ids]
    boxes = corner_boxes([entry[1]["bbox"] for entry in entries])
    clipped = clip_boxes(boxes, np.array([hw or (np.inf, np.inf) for hw in sizes], dtype=np.float64).reshape(-1, 2))
    is_known = np.array([hw is not None for hw in sizes], dtype=bool)
    clipped = np.where(is_known[:, None], clipped, boxes)
    has_area, is_left = have_area(boxes), have_area(clipped)
    with np.errstate(invalid="ignore"):  # ∞ − ∞
        leaves = (abs(boxes - clipped) > 1).any(axis=1)  # a pixel is common rounding
    is_outside = has_area & (leaves | ~is_left) & is_known
    for place in np.flatnonzero(is_outside | ~has_area):
        found = partial(about_entry, path, "annotations", entries[place])
        bbox, hw = f"has bbox {format_value(entries[place][1]['bbox'])}", sizes[place]
        if is_outside[place] and hw is not None:
            rest = "is clipped to it" if is_left[place] else "has no part inside, so it is no gt"
            yield found("warning", "outside-box", f"{bbox}, which leaves its image of {hw[1]} x {hw[0]} and {rest}")
        else:
            yield found("warning", "empty-box", f"{bbox}, without area, so it is no gt")

    gts = [entries[place][1] for place in np.flatnonzero(has_area & is_left)]
    yield from _check_gts(path, lists, hw_of, [gt for gt in gts if not gt.get("iscrowd")])
    if len(boxes) and has_area.any() and boxes.min() >= 0 and boxes.max() <= 1:
        message = "all boxes lie in the first pixel of their image; are they fractions of it? Pixels are needed"
        yield Finding("warning", "tiny-boxes", path, None, None, message)


def _check_gts(path: Path, lists: Lists, hw_of: Sizes, gts: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    if not gts:
        if not path.name.startswith("image_info"):
            yield Finding("warning", "no-gts", path, None, None, "has no gt, so there is nothing to learn from it")
        return
    empty = hw_of.keys() - {gt["image_id"] for gt in gts if is_whole(gt.get("image_id"))}
    if empty:
        message = f"{len(empty):,} of {len(hw_of):,} images have no gts (first: image {min(empty)})"
        yield Finding("note", "images-without-gts", path, None, None, message)
    learned = {gt["category_id"] for gt in gts if is_whole(gt.get("category_id"))}
    names = [
        category_name(one) for _, one in lists["categories"] if is_whole(one.get("id")) and one["id"] not in learned
    ]
    if names:
        message = f"{len(names):,} of {len(lists['categories']):,} categories have no gts: {some(names)}"
        yield Finding("note", "categories-without-gts", path, None, None, message)


def _not_whole(key: str, value: Any) -> str:
    return f"has no whole number '{key}' of at most 64 bits ({format_value(value)})"


def _are_equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    try:
        return one == other
    except RecursionError:
        return False
