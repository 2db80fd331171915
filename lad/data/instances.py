"""Reading of COCO instances JSON files: needed fields are read by `lad.data.values` and checked, others skipped."""

import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from lad.data.values import READERS, area_of, is_area, is_box, is_crowd_flag, is_rewritten
from lad.utils.messages import format_value


class ImageEntry(msgspec.Struct, gc=False):
    """The fields read from an image entry, of any type: our own checks give better messages."""

    id: Any = "?"
    file_name: Any = None
    height: Any = None
    width: Any = None


class AnnotationEntry(msgspec.Struct, gc=False):
    """The fields read from an annotation; the segmentation, most of the file, is skipped."""

    id: Any = "?"
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    iscrowd: Any = None
    area: Any = msgspec.UNSET


class CategoryEntry(msgspec.Struct):
    """The fields read from a category entry."""

    id: Any = "?"
    name: Any = None


class ImageList(msgspec.Struct):
    """The part of an instances JSON that lists images."""

    images: list[ImageEntry]


class _Instances(ImageList):
    categories: list[CategoryEntry]
    annotations: list[AnnotationEntry] | None = None


Entry = ImageEntry | AnnotationEntry | CategoryEntry
_Content = TypeVar("_Content", bound=ImageList)
SINGULAR = {"images": "image", "categories": "category", "annotations": "annotation"}


@dataclass(frozen=True)
class Instances:
    """The content of an instances JSON, read and checked, as training and evaluation both take it.

    Attributes:
        images: The I images; their sizes and file names are not checked.
        image_id: [I] int64.
        category_ids: Ascending.
        class_names: Name of each category.
        annotations: The K annotations, crowds included, with numbers in all fields.
        image: [K] int64, row of each annotation's image.
        label: [K] int64, index of each annotation's category.
        is_annotated: False for a list of test images, which has no annotations.
        notes: What was read in another way than it is written, one line of each kind.
    """

    images: Sequence[ImageEntry]
    image_id: np.ndarray
    category_ids: tuple[int, ...]
    class_names: tuple[str, ...]
    annotations: Sequence[AnnotationEntry]
    image: np.ndarray
    label: np.ndarray
    is_annotated: bool
    notes: tuple[str, ...]


def read_instances(path: Path) -> Instances:
    """Read an instances JSON and check what training and evaluation need of it.

    Raises:
        ValueError: As `read_annotations`, but for the images' sizes and file names.
    """
    content = load_json(path, _Instances)
    if content.annotations is None and not path.name.startswith("image_info"):
        raise ValueError(f"{path}: has no list 'annotations'; expected a COCO instances JSON")
    images, annotations = content.images, content.annotations or []
    notes = [
        *_read_values("images", images),
        *_read_values("categories", content.categories),
        *_read_values("annotations", annotations),
    ]
    category_ids, class_names = _categories(path, content.categories)
    image_id = integers(path, "image", images, "id")
    row_of = {number: row for row, number in enumerate(image_id.tolist())}
    if len(row_of) != len(images):
        raise ValueError(f"{path}: image ids are not unique")
    image = _rows(path, annotations, "image_id", row_of)
    label = _rows(path, annotations, "category_id", {number: label for label, number in enumerate(category_ids)})
    for annotation in annotations:
        if not is_box(annotation.bbox):
            raise ValueError(
                f"{path}: annotation {entry_id(annotation)} has bbox {format_value(annotation.bbox)}; "
                "expected four finite numbers"
            )
        if not is_crowd_flag(annotation.iscrowd):
            raise ValueError(
                f"{path}: annotation {entry_id(annotation)} has iscrowd {format_value(annotation.iscrowd)}; "
                "expected 0 or 1"
            )
    notes += _fill_areas(annotations)
    is_annotated = content.annotations is not None
    return Instances(images, image_id, category_ids, class_names, annotations, image, label, is_annotated, tuple(notes))


def _read_values(section: str, entries: Sequence[Entry]) -> Iterator[str]:
    """Replace the values of each field by what they mean, and yield a line for each field written in another way."""
    for field, read in READERS[section].items():
        before = [getattr(entry, field) for entry in entries]
        if set(map(type, before)) <= {int}:  # nearly always: nothing to read
            continue
        first, count = None, 0
        for entry, value in zip(entries, before, strict=True):
            meant = read(value)
            if meant is value:
                continue
            setattr(entry, field, meant)
            if is_rewritten(field, value, meant):
                first, count = first or entry, count + 1
        if first is not None:
            where = f"first: {SINGULAR[section]} {entry_id(first)}"
            yield f"{count} {section} have {field} as text or with decimals, read as numbers ({where})"


def _fill_areas(annotations: Sequence[AnnotationEntry]) -> Iterator[str]:
    """Replace areas that are not areas by that of the box; yield a line if any was given and is not one."""
    first, count = None, 0
    for annotation in annotations:
        if is_area(annotation.area):
            continue
        if annotation.area is not msgspec.UNSET:
            first, count = first or annotation, count + 1
        annotation.area = area_of(annotation.area, annotation.bbox)
    if first is not None:
        yield (
            f"{count} annotations have an area that is not a number of square pixels; evaluation takes the width × "
            f"height of their boxes (first: annotation {entry_id(first)})"
        )


def load_json(path: Path, kind: type[_Content]) -> _Content:
    """Decode the needed part of a JSON file in UTF-8, UTF-16 or UTF-32, with a byte order mark or without.

    Raises:
        ValueError: The file cannot be read or is not such a JSON; one line that names it.
    """
    try:
        return _decode(path, kind)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: is not a COCO instances JSON ({error})") from None
    except RecursionError:
        raise ValueError(f"{path}: is not a COCO instances JSON (nested too deeply)") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not text in UTF-8 ({error}); save it as UTF-8") from None
    except ValueError as error:
        raise ValueError(f"{path}: is not valid JSON ({error})") from None


def _decode(path: Path, kind: type[_Content]) -> _Content:
    """Decode the memory-mapped file by msgspec, or by Python's json where msgspec cannot."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if json.detect_encoding(content[:4]) != "utf-8":  # a byte order mark, UTF-16 or UTF-32
            return msgspec.convert(json.loads(content[:]), kind)
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:  # Python's json accepts NaN and reports the line of an error
            return msgspec.convert(json.loads(content[:]), kind)


def _categories(path: Path, categories: Sequence[CategoryEntry]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the category ids, ascending, and their names."""
    ids = integers(path, "category", categories, "id").tolist()
    names = [id_ if category.name is None else category.name for id_, category in zip(ids, categories, strict=True)]
    name_of = {id_: name if isinstance(name, str) else format_value(name) for id_, name in zip(ids, names, strict=True)}
    if not name_of:
        raise ValueError(f"{path}: lists no categories")
    if len(name_of) != len(categories):
        raise ValueError(f"{path}: category ids are not unique")
    category_ids = tuple(sorted(name_of))
    return category_ids, tuple(name_of[category_id] for category_id in category_ids)


def integers(path: Path, kind: str, entries: Sequence[Entry], key: str) -> np.ndarray:
    """Return the field `key` of each entry, int64."""
    values = [getattr(entry, key) for entry in entries]
    for entry, value in zip(entries, values, strict=True):
        if type(value) is not int or value.bit_length() > 63:
            raise ValueError(f"{path}: {kind} {entry_id(entry)} has no 64-bit integer '{key}' ({format_value(value)})")
    return np.array(values, dtype=np.int64)


def entry_id(entry: Entry) -> str:
    """Return the entry's id for a message, whatever its type."""
    return format_value(entry.id).strip("'")


def _rows(path: Path, annotations: Sequence[AnnotationEntry], key: str, row_of: Mapping[int, int]) -> np.ndarray:
    """Return the row that the id in each annotation's field `key` refers to, int64."""
    ids = integers(path, "annotation", annotations, key)
    rows = np.array([row_of.get(id_, -1) for id_ in ids.tolist()], dtype=np.int64)
    if (rows < 0).any():
        wrong = int((rows < 0).argmax())
        raise ValueError(
            f"{path}: annotation {entry_id(annotations[wrong])} has {key} {ids[wrong]}, which is not listed"
        )
    return rows
