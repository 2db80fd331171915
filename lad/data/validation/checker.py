"""Validation of COCO-format data sets: findings about the JSON, its entries, its image files and its splits.

An error stops training or would make it learn something wrong; a warning is about data that reading corrects or
ignores; a note is about something that may be intended.
"""

import filecmp
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from lad.data.annotations import read_annotations
from lad.data.coco import MAX_PROBED_IMAGES, find_split, fullest_folder, rows_of_part
from lad.data.file_names import find_names
from lad.data.layouts import locate_split
from lad.data.val_share import DEFAULT_VAL_SHARE, validation_rows
from lad.data.validation.entries import category_name, image_size, is_inside_folder, is_int64
from lad.data.validation.image_files import image_file_problems, message_without_path
from lad.data.validation.rules import (
    SEVERITIES,
    Finding,
    abbreviate,
    check_entries,
    entry_finding,
    entry_lists,
    read_values,
)
from lad.utils.messages import format_value, one_line


@dataclass(frozen=True)
class CheckedSplit:
    """The content of a split and its findings.

    Attributes:
        images: Images folder.
        path: The instances JSON.
        findings: The worst first.
        image_count: Number of images listed.
        annotation_count: Number of annotations listed.
        categories: Name by category id.
        file_names: File name by image id, as it was found.
        objects: Category ids of the annotations by image id.
        whole: The JSON of which this is a part, where training and validation have one; else None.
    """

    images: Path
    path: Path
    findings: list[Finding]
    image_count: int = 0
    annotation_count: int = 0
    categories: Mapping[int, str] = field(default_factory=dict)
    file_names: Mapping[int, str] = field(default_factory=dict)
    objects: Mapping[int, list[Any]] = field(default_factory=dict)
    whole: "CheckedSplit | None" = None


def validate(images: Path, path: Path, decode: bool = True) -> list[Finding]:
    """Return all findings about an instances JSON and the images that it lists, the worst first.

    No finding is an error if and only if `read_annotations` reads the JSON and `ensure_usable` accepts all its images.
    Never raises for the content of the files.

    Args:
        images: Images folder.
        path: The instances JSON.
        decode: Whether to read the images, rather than only check that the files exist.
    """
    return _check_split(images, path, decode).findings


def validate_folder(
    folder: Path,
    splits: Sequence[str] = ("train", "val"),
    decode: bool = True,
    images: Path | None = None,
    val_share: float | None = None,
) -> dict[str, CheckedSplit]:
    """Check each split of a data set folder, and each pair of splits for different categories and shared images.

    Args:
        folder: Data set folder or JSON file.
        splits: Names of splits.
        decode: Whether to read the images, rather than only check that the files exist.
        images: Folder of the images of a JSON file; None looks beside it.
        val_share: Share of the images for validation, of data with one JSON for both parts; None: 0.2.

    Returns:
        Checked splits by name; findings about a pair are those of the later split.

    Raises:
        ValueError: There is no such folder, or a split is not a name.
    """
    if not folder.is_dir() and not folder.is_file():
        raise ValueError(one_line(f"{folder}: no such folder; name one with images and a COCO instances JSON"))
    if wrong := [name for name in splits if not re.fullmatch(r"[\w.-]+", name)]:
        raise ValueError(f"split {format_value(wrong[0])}: is no name of a split, such as train, val or test-dev")
    wholes: dict[Path, CheckedSplit] = {}
    checked: dict[str, CheckedSplit] = {}
    for name in splits:
        try:
            image_folder, path = _find_split(folder, name, images)
            split = wholes.get(path) or _check_split(image_folder, path, decode)
            if locate_split(folder, name, images).is_shared:
                wholes[path] = split
                split = _part(split, name, val_share or DEFAULT_VAL_SHARE)
        except ValueError as error:
            split = CheckedSplit(folder, folder, [Finding("error", "no-split", folder, None, None, str(error))])
        if name == "train":  # nothing can be learned
            findings = [replace(f, severity="error") if f.kind == "no-gts" else f for f in split.findings]
            split = replace(split, findings=findings)
        of_pairs = [finding for earlier in checked.values() for finding in _check_pair(earlier, split)]
        checked[name] = replace(split, findings=_sorted([*split.findings, *of_pairs]))
    return checked


def read_document(path: Path) -> dict[str, Any]:
    """Return the whole content of an instances JSON.

    Raises:
        ValueError: It cannot be read or is not a JSON object; one line that names the file.
    """
    if not path.is_file():  # reading a named pipe would block
        raise ValueError(one_line(f"{path}: no such file"))
    try:
        content = path.read_bytes()
        try:
            document = msgspec.json.decode(content)
        except (
            msgspec.DecodeError,
            UnicodeDecodeError,
        ):  # Python's json reads UTF-16, a mark and NaN
            document = json.loads(content)
    except OSError as error:
        raise ValueError(one_line(f"{path}: cannot be read ({error.strerror})")) from None
    except RecursionError:
        raise ValueError(one_line(f"{path}: is nested too deeply")) from None
    except ValueError as error:
        raise ValueError(one_line(f"{path}: is not valid JSON ({error})")) from None
    if not isinstance(document, dict):
        raise ValueError(one_line(f"{path}: is not a COCO instances JSON, which is an object"))
    return document


def _check_split(images: Path, path: Path, decode: bool) -> CheckedSplit:
    try:
        document = read_document(path)
    except ValueError as error:
        return _check_undecodable(images, path, decode, message_without_path(error, path))
    lists, findings = entry_lists(path, document)
    findings += [*read_values(path, lists), *check_entries(path, lists)]
    if not any(finding.severity == "error" for finding in findings):
        findings += _check_reading(path)
    with_file = [entry for entry in lists["images"] if is_inside_folder(entry[1].get("file_name"))]
    found = find_names(images, [image["file_name"] for _, image in with_file])
    if found.note is not None:
        findings.append(Finding("note", "other-spelling", path, None, None, found.note))
    files = [(name, image_size(image)) for name, (_, image) in zip(found.names, with_file, strict=True)]
    problems = image_file_problems(images, files, decode)
    for entry, name, problem in zip(with_file, found.names, problems, strict=True):
        if problem is not None:
            kind, message = problem
            findings.append(entry_finding(images / name, "images", entry, "error", kind, message))
    objects: dict[int, list[Any]] = defaultdict(list)
    for _, annotation in lists["annotations"]:
        if is_int64(annotation.get("image_id")):
            objects[annotation["image_id"]].append(annotation.get("category_id"))
    return CheckedSplit(
        images,
        path,
        _sorted(findings),
        len(lists["images"]),
        len(lists["annotations"]),
        {
            category["id"]: category_name(category)
            for _, category in lists["categories"]
            if is_int64(category.get("id"))
        },
        {
            image["id"]: name
            for (_, image), name in zip(with_file, found.names, strict=True)
            if is_int64(image.get("id"))
        },
        objects,
    )


def _check_undecodable(images: Path, path: Path, decode: bool, reason: str) -> CheckedSplit:
    """Check a JSON that cannot be decoded as a whole, though training may be able to read the fields it needs."""
    if _check_reading(path):
        return CheckedSplit(images, path, [Finding("error", "unreadable-json", path, None, None, reason)])
    with _silenced("lad.data.annotations"):
        annotations = read_annotations(path)
    message = f"{reason}; training skips this part of the file, and only the parts that it reads were checked"
    findings = [Finding("warning", "odd-json", path, None, None, message)]
    records = annotations.records
    if not len(records):
        findings.append(Finding("error", "empty-set", path, None, None, "lists no images"))
    found = find_names(images, records.file_names())
    if found.note is not None:
        findings.append(Finding("note", "other-spelling", path, None, None, found.note))
    records = records.renamed(found.names)
    files = [(record.file_name, record.hw) for record in records]
    for record, problem in zip(records, image_file_problems(images, files, decode), strict=True):
        if problem is not None:
            kind, message = problem
            findings.append(Finding("error", kind, images / record.file_name, record.image_id, None, message))
    return CheckedSplit(
        images,
        path,
        _sorted(findings),
        len(records),
        len(records.labels),
        dict(zip(annotations.category_ids, annotations.class_names, strict=True)),
        {record.image_id: record.file_name for record in records},
        {record.image_id: record.labels.tolist() for record in records},
    )


def _part(whole: CheckedSplit, part: str, val_share: float) -> CheckedSplit:
    """Return the part "train" or "val" of a JSON for both; what belongs to no validation image counts for training."""
    for_validation = _validation_ids(whole, val_share)
    num_images = len(for_validation)
    num_annotations = sum(len(whole.objects.get(number, ())) for number in for_validation)
    if part == "train":
        num_images, num_annotations = whole.image_count - num_images, whole.annotation_count - num_annotations
    return replace(
        whole,
        findings=[finding for finding in whole.findings if (finding.image_id in for_validation) == (part == "val")],
        image_count=num_images,
        annotation_count=num_annotations,
        file_names={id_: name for id_, name in whole.file_names.items() if (id_ in for_validation) == (part == "val")},
        whole=whole,
    )


def _validation_ids(whole: CheckedSplit, val_share: float) -> set[int]:
    """Return the ids of the images of a JSON that training would validate on.

    If training refuses the JSON, they are chosen in the same way from the entries that can be read.
    """
    with suppress(ValueError, RecursionError), _silenced("lad.data.annotations"):
        annotations = read_annotations(whole.path)
        return set(annotations.records.image_id[rows_of_part(annotations, "val", val_share)].tolist())
    if len(whole.file_names) < 2:
        return set()
    classes = [set(filter(is_int64, whole.objects.get(number, ()))) for number in whole.file_names]
    rows = validation_rows(list(whole.file_names.values()), classes, val_share)
    return {number for number, is_val in zip(whole.file_names, rows, strict=True) if is_val}


def _check_pair(first: CheckedSplit, second: CheckedSplit) -> Iterator[Finding]:
    """Yield findings about different categories and shared images of two splits."""
    if not (first.categories and second.categories):
        return
    if first.categories != second.categories:
        pairs = ((first.categories, second.categories), (second.categories, first.categories))
        missing, added = (
            abbreviate([f"{number} {name}" for number, name in sorted(a.items() - b.items())]) or "none"
            for a, b in pairs
        )
        message = f"its categories differ from those of {first.path}; missing here: {missing}; only here: {added}"
        yield Finding("error", "categories-differ", second.path, None, None, message)
    files = {name: first.images / name for name in first.file_names.values()}
    for image_id, name in second.file_names.items():
        file = second.images / name
        if name in files and _have_equal_content(files[name], file):
            message = f"is also listed by {first.path}, so this split does not measure results on unseen images"
            yield Finding("warning", "in-both-splits", file, image_id, None, message)


def _have_equal_content(file: Path, other: Path) -> bool:
    try:
        return file.samefile(other) or (file.is_file() and filecmp.cmp(file, other, shallow=False))
    except (OSError, ValueError):
        return False


def _find_split(folder: Path, split: str, images: Path | None) -> tuple[Path, Path]:
    """Find a split as `find_split` does, even if all images are missing or the JSON is corrupted."""
    try:
        return find_split(folder, split, images)
    except (ValueError, RecursionError):
        files = locate_split(folder, split, images)
    names: list[str] = []
    with suppress(ValueError):
        lists, _ = entry_lists(files.path, read_document(files.path))
        file_names = [image.get("file_name") for _, image in lists["images"][:MAX_PROBED_IMAGES]]
        names = [name for name in file_names if is_inside_folder(name)]
    return fullest_folder(files.image_folders, names)[0], files.path


def _check_reading(path: Path) -> list[Finding]:
    """Return the error that training raises on reading a JSON, as the final check that it can be read."""
    try:
        with _silenced("lad.data.annotations"):
            read_annotations(path)
    except (ValueError, RecursionError) as error:
        return [Finding("error", "refused", path, None, None, message_without_path(error, path))]
    return []


@contextmanager
def _silenced(logger: str) -> Iterator[None]:
    """Drop the warnings of a logger, which the findings repeat."""

    def drop(_record: logging.LogRecord) -> bool:
        return False

    logging.getLogger(logger).addFilter(drop)
    try:
        yield
    finally:
        logging.getLogger(logger).removeFilter(drop)


def _sorted(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings by severity, image id and annotation id, those without an id first."""

    def key(finding: Finding) -> tuple[int, tuple[bool, int], tuple[bool, int]]:
        image, annotation = ((number is not None, number or 0) for number in (finding.image_id, finding.annotation_id))
        return SEVERITIES.index(finding.severity), image, annotation

    return sorted(findings, key=key)
