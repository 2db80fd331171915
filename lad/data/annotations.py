"""Reading a COCO instances JSON: what is not needed is skipped, the rest checked entry by entry."""

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
    """A parsed instances JSON. Label l is category id `category_ids[l]` (ids may have gaps), named `class_names[l]`."""

    path: Path
    category_ids: tuple[int, ...]
    class_names: tuple[str, ...]
    records: ImageRecords
    is_annotated: bool = True  # False for a list of test images, whose gts nobody has


class _Image(msgspec.Struct, gc=False):
    """What is read of an image entry, whatever its type; the checks have the better words."""

    id: Any = "?"
    file_name: Any = None
    height: Any = None
    width: Any = None


class _Annotation(msgspec.Struct, gc=False):
    """What is read of an annotation; the segmentation, most of the file, is skipped unread."""

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
    """Parse and check an instances JSON. like: annotations whose categories these must share (val, after train).

    Crowds and boxes without area are not gts; a box that reaches outside its image is clipped to it, and the file's
    count of such boxes is logged as one warning. Images without gts are kept.
    Raises ValueError that names the file and the entry for anything else that is not as the format wants it.
    """
    content = _load_json(path, _Instances)
    if content.annotations is None and not path.name.startswith("image_info"):
        raise ValueError(f"{path}: has no list 'annotations'; a COCO instances JSON is needed")
    images, annotations = content.images, content.annotations or []
    category_ids, class_names = _categories(path, content.categories)
    if like is not None and (category_ids, class_names) != (like.category_ids, like.class_names):
        raise ValueError(f"{path}: its categories differ from those of {like.path}; both must list the same")

    image_id, hw = _integers(path, "image", images, "id"), _image_sizes(path, images)
    row_of = {number: row for row, number in enumerate(image_id.tolist())}
    if len(row_of) != len(images):
        raise ValueError(f"{path}: image ids are not unique")
    names = [_file_name(path, image).encode(*UTF8) for image in images]
    image = _places(path, annotations, "image_id", row_of)
    label = _places(path, annotations, "category_id", {number: label for label, number in enumerate(category_ids)})
    boxes, is_gt = _clipped_boxes(path, annotations, hw[image])
    (gts,) = is_gt.nonzero()
    gts = gts[image[gts].argsort(kind="stable")]  # image after image, in the file's order within each
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


def first_file_names(path: Path, number: int) -> list[str]:
    """Of the first images that a JSON lists, as they stand there."""
    images = _load_json(path, _ImageList).images
    return [str(image.file_name) for image in images[:number] if image.file_name]


def _load_json(path: Path, kind: type[_Content]) -> _Content:
    try:
        return _decode(path, kind)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: is not a COCO instances JSON ({error})") from None
    except RecursionError:
        raise ValueError(f"{path}: is not a COCO instances JSON (it is nested too deeply)") from None
    except ValueError as error:
        raise ValueError(f"{path}: is not valid JSON ({error})") from None


def _decode(path: Path, kind: type[_Content]) -> _Content:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:  # Python's json also reads NaN, and it names the line of an error
            return msgspec.convert(json.loads(content[:]), kind)


def _categories(path: Path, categories: Sequence[_Category]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    ids = _integers(path, "category", categories, "id").tolist()
    names = [one if category.name is None else category.name for one, category in zip(ids, categories, strict=True)]
    name_of = {one: name if isinstance(name, str) else format_value(name) for one, name in zip(ids, names, strict=True)}
    if not name_of:
        raise ValueError(f"{path}: lists no categories")
    if len(name_of) != len(categories):
        raise ValueError(f"{path}: category ids are not unique")
    category_ids = tuple(sorted(name_of))
    return category_ids, tuple(name_of[category_id] for category_id in category_ids)


def _integers(path: Path, kind: str, entries: Sequence[_Entry], key: str) -> np.ndarray:
    """The field `key` of each entry, int64."""
    values = [getattr(entry, key) for entry in entries]
    for entry, value in zip(entries, values, strict=True):
        if type(value) is not int or value.bit_length() > 63:
            raise ValueError(
                f"{path}: {kind} {_called(entry)} has no whole number '{key}' of at most 64 bits ({format_value(value)})"
            )
    return np.array(values, dtype=np.int64)


def _called(entry: _Entry) -> str:
    """The entry's id for a message, whatever it is."""
    return format_value(entry.id).strip("'")


def _image_sizes(path: Path, images: Sequence[_Image]) -> np.ndarray:
    """(height, width) [I, 2] int64."""
    hw = np.stack([_integers(path, "image", images, key) for key in ("height", "width")], axis=1)
    is_empty = (hw < 1).any(axis=1)
    if is_empty.any():
        wrong = images[int(is_empty.argmax())]
        raise ValueError(f"{path}: image {wrong.id} has size {wrong.width} x {wrong.height}")
    return hw


def _file_name(path: Path, image: _Image) -> str:
    name = image.file_name
    if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(
            f"{path}: image {_called(image)} has no file_name inside the images folder ({format_value(name)})"
        )
    return name


def _places(path: Path, annotations: Sequence[_Annotation], key: str, place_of: Mapping[int, int]) -> np.ndarray:
    """Where in its list each annotation's `key` is, int64."""
    ids = _integers(path, "annotation", annotations, key)
    places = np.array([place_of.get(one, -1) for one in ids.tolist()], dtype=np.int64)
    if (places < 0).any():
        wrong = int((places < 0).argmax())
        raise ValueError(
            f"{path}: annotation {_called(annotations[wrong])} has {key} {ids[wrong]}, which is not listed"
        )
    return places


def _clipped_boxes(path: Path, annotations: Sequence[_Annotation], hw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every annotation's box [K, 4], float32 xyxy clipped to its image's `hw` [K, 2], and whether it is a gt, [K]."""
    boxes = _corner_boxes(path, annotations)
    is_crowd = np.array([bool(annotation.iscrowd) for annotation in annotations], dtype=bool)
    is_gt = ~is_crowd & _have_area(boxes)
    clipped = boxes.clip(0, np.tile(hw[:, ::-1], 2))
    is_outside = is_gt & (abs(boxes - clipped) > 1).any(axis=1)  # a pixel is common rounding
    if is_outside.any():
        logger.warning("%s: %d boxes reach outside their image and were clipped to it (first: annotation %s)",
                       path, is_outside.sum(), _called(annotations[int(is_outside.argmax())]))  # fmt: skip
    rounded = clipped.astype(np.float32)  # after which a box of a millionth of a pixel may have no area
    return rounded, is_gt & _have_area(rounded)


def _corner_boxes(path: Path, annotations: Sequence[_Annotation]) -> np.ndarray:
    """COCO's [x, y, width, height] as [x0, y0, x1, y1], [K, 4] float64."""
    for annotation in annotations:
        if not _is_box(annotation.bbox):
            raise ValueError(
                f"{path}: annotation {_called(annotation)} has bbox {format_value(annotation.bbox)}; "
                "four finite numbers are needed"
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
