"""Reading of COCO instances JSON files: needed fields are checked entry by entry, others skipped."""

import json
import logging
import mmap
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import torch

from lad.data.records import UTF8, ImageRecords
from lad.utils.messages import format_value

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CocoAnnotations:
    """A parsed instances JSON.

    Attributes:
        path: The JSON file.
        category_ids: COCO category id of each label, ascending; ids may have gaps.
        class_names: Name of each label.
        records: The annotated images.
        is_annotated: False for a list of test images, which has no annotations.
    """

    path: Path
    category_ids: tuple[int, ...]
    class_names: tuple[str, ...]
    records: ImageRecords
    is_annotated: bool = True


class _Image(msgspec.Struct, gc=False):
    """The fields read from an image entry, of any type: our own checks give better messages."""

    id: Any = "?"
    file_name: Any = None
    height: Any = None
    width: Any = None


class _Annotation(msgspec.Struct, gc=False):
    """The fields read from an annotation; the segmentation, most of the file, is skipped."""

    id: Any = "?"
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    iscrowd: Any = None


class _Category(msgspec.Struct):
    id: Any = "?"
    name: Any = None


class _ImageList(msgspec.Struct):
    images: list[_Image]


class _Instances(_ImageList):
    categories: list[_Category]
    annotations: list[_Annotation] | None = None


_Entry = _Image | _Annotation | _Category
_Content = TypeVar("_Content", bound=_ImageList)


def read_annotations(path: Path, like: CocoAnnotations | None = None) -> CocoAnnotations:
    """Read and check an instances JSON.

    Crowds and boxes without area are not gts. Boxes that extend beyond their image are clipped, with one warning that
    gives their number. Images without gts are kept.

    Args:
        path: The JSON file; a list of test images, image_info*.json, may lack annotations.
        like: Annotations that must have the same categories (val, after train).

    Raises:
        ValueError: The file violates the format in any other way; one line that names the file and the entry.
    """
    content = _load_json(path, _Instances)
    if content.annotations is None and not path.name.startswith("image_info"):
        raise ValueError(f"{path}: has no list 'annotations'; expected a COCO instances JSON")
    images, annotations = content.images, content.annotations or []
    category_ids, class_names = _categories(path, content.categories)
    if like is not None and (category_ids, class_names) != (like.category_ids, like.class_names):
        raise ValueError(f"{path}: its categories differ from those of {like.path}; list the same in both")

    image_id, hw = _integers(path, "image", images, "id"), _image_sizes(path, images)
    row_of = {number: row for row, number in enumerate(image_id.tolist())}
    if len(row_of) != len(images):
        raise ValueError(f"{path}: image ids are not unique")
    names = [_file_name(path, image).encode(*UTF8) for image in images]
    image = _rows(path, annotations, "image_id", row_of)
    label = _rows(path, annotations, "category_id", {number: label for label, number in enumerate(category_ids)})
    boxes, is_gt = _clipped_boxes(path, annotations, hw[image])
    (gts,) = is_gt.nonzero()
    gts = gts[image[gts].argsort(kind="stable")]  # image after image, in the order of the file within each
    records = ImageRecords(
        image_id=torch.from_numpy(image_id),
        hw=torch.from_numpy(hw),
        boxes=torch.from_numpy(boxes[gts]),
        labels=torch.from_numpy(label[gts]),
        gt_start=torch.from_numpy(np.searchsorted(image[gts], np.arange(len(images) + 1))),
        names=torch.from_numpy(np.array(bytearray().join(names), dtype=np.uint8)),
        name_start=torch.tensor([0, *map(len, names)]).cumsum(dim=0),
    )
    return CocoAnnotations(path, category_ids, class_names, records, is_annotated=content.annotations is not None)


def first_file_names(path: Path, count: int) -> list[str]:
    """Return the unchecked file names of the first images in a JSON."""
    images = _load_json(path, _ImageList).images
    return [str(image.file_name) for image in images[:count] if image.file_name]


def _load_json(path: Path, kind: type[_Content]) -> _Content:
    try:
        return _decode(path, kind)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: is not a COCO instances JSON ({error})") from None
    except RecursionError:
        raise ValueError(f"{path}: is not a COCO instances JSON (nested too deeply)") from None
    except ValueError as error:
        raise ValueError(f"{path}: is not valid JSON ({error})") from None


def _decode(path: Path, kind: type[_Content]) -> _Content:
    """Decode the memory-mapped file by msgspec, or by Python's json where msgspec cannot."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:  # Python's json accepts NaN and reports the line of an error
            return msgspec.convert(json.loads(content[:]), kind)


def _categories(path: Path, categories: Sequence[_Category]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the category ids, ascending, and their names."""
    ids = _integers(path, "category", categories, "id").tolist()
    names = [id_ if category.name is None else category.name for id_, category in zip(ids, categories, strict=True)]
    name_of = {id_: name if isinstance(name, str) else format_value(name) for id_, name in zip(ids, names, strict=True)}
    if not name_of:
        raise ValueError(f"{path}: lists no categories")
    if len(name_of) != len(categories):
        raise ValueError(f"{path}: category ids are not unique")
    category_ids = tuple(sorted(name_of))
    return category_ids, tuple(name_of[category_id] for category_id in category_ids)


def _integers(path: Path, kind: str, entries: Sequence[_Entry], key: str) -> np.ndarray:
    """Return the field `key` of each entry, int64."""
    values = [getattr(entry, key) for entry in entries]
    for entry, value in zip(entries, values, strict=True):
        if type(value) is not int or value.bit_length() > 63:
            raise ValueError(f"{path}: {kind} {_entry_id(entry)} has no 64-bit integer '{key}' ({format_value(value)})")
    return np.array(values, dtype=np.int64)


def _entry_id(entry: _Entry) -> str:
    """Return the entry's id for a message, whatever its type."""
    return format_value(entry.id).strip("'")


def _image_sizes(path: Path, images: Sequence[_Image]) -> np.ndarray:
    """Return (height, width) of each image, [I, 2] int64."""
    hw = np.stack([_integers(path, "image", images, key) for key in ("height", "width")], axis=1)
    is_empty = (hw < 1).any(axis=1)
    if is_empty.any():
        wrong = images[int(is_empty.argmax())]
        raise ValueError(f"{path}: image {wrong.id} has size {wrong.width} x {wrong.height}")
    return hw


def _file_name(path: Path, image: _Image) -> str:
    """Return the image's file name, checked to stay inside the images folder."""
    name = image.file_name
    if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(
            f"{path}: image {_entry_id(image)} has no file_name inside the images folder ({format_value(name)})"
        )
    return name


def _rows(path: Path, annotations: Sequence[_Annotation], key: str, row_of: Mapping[int, int]) -> np.ndarray:
    """Return the row that the id in each annotation's field `key` refers to, int64."""
    ids = _integers(path, "annotation", annotations, key)
    rows = np.array([row_of.get(id_, -1) for id_ in ids.tolist()], dtype=np.int64)
    if (rows < 0).any():
        wrong = int((rows < 0).argmax())
        raise ValueError(
            f"{path}: annotation {_entry_id(annotations[wrong])} has {key} {ids[wrong]}, which is not listed"
        )
    return rows


def _clipped_boxes(path: Path, annotations: Sequence[_Annotation], hw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes [K, 4], float32 xyxy clipped to their images' `hw` [K, 2], and which are gts [K]."""
    boxes = _corner_boxes(path, annotations)
    is_crowd = np.array([bool(annotation.iscrowd) for annotation in annotations], dtype=bool)
    is_gt = ~is_crowd & _have_area(boxes)
    clipped = boxes.clip(0, np.tile(hw[:, ::-1], 2))
    is_outside = is_gt & (abs(boxes - clipped) > 1).any(axis=1)  # one pixel of tolerance: rounding is common
    if is_outside.any():
        logger.warning("%s: %d boxes extend beyond their image and were clipped to it (first: annotation %s)",
                       path, is_outside.sum(), _entry_id(annotations[int(is_outside.argmax())]))  # fmt: skip
    rounded = clipped.astype(np.float32)  # may leave a tiny box without area
    return rounded, is_gt & _have_area(rounded)


def _corner_boxes(path: Path, annotations: Sequence[_Annotation]) -> np.ndarray:
    """Convert COCO's [x, y, width, height] to [x0, y0, x1, y1], [K, 4] float64."""
    for annotation in annotations:
        if not _is_box(annotation.bbox):
            raise ValueError(
                f"{path}: annotation {_entry_id(annotation)} has bbox {format_value(annotation.bbox)}; "
                "expected four finite numbers"
            )
    boxes = np.array([annotation.bbox for annotation in annotations], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _is_box(bbox: Any) -> bool:
    return (
        isinstance(bbox, list)
        and len(bbox) == 4
        and all(isinstance(value, (int, float)) and abs(value) <= sys.float_info.max for value in bbox)
    )


def _have_area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
