"""Annotations of a data set for training: an instances JSON as records of images with their gts."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lad.data.file_names import stays_inside
from lad.data.instances import ImageEntry, ImageList, Instances, entry_id, integers, load_json, read_instances
from lad.data.records import UTF8, ImageRecords
from lad.utils.messages import format_value

logger = logging.getLogger(__name__)

MIN_SHARE_OUTSIDE = 0.1  # of the boxes, from which they may be corners rather than drawn carelessly


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


def read_annotations(path: Path, like: CocoAnnotations | None = None) -> CocoAnnotations:
    """Read and check an instances JSON.

    Crowds and boxes without area are not gts. Boxes that extend beyond their image are clipped. Images without gts are
    kept. What was corrected or left out is logged, one warning of each kind with the number of annotations.

    Args:
        path: The JSON file; a list of test images, image_info*.json, may lack annotations.
        like: Annotations that must have the same categories (val, after train).

    Raises:
        ValueError: The file violates the format in any other way; one line that names the file and the entry.
    """
    content = read_instances(path)
    category_ids, class_names = content.category_ids, content.class_names
    if like is not None and (category_ids, class_names) != (like.category_ids, like.class_names):
        raise ValueError(f"{path}: its categories differ from those of {like.path}; list the same in both")

    images, image, image_id = content.images, content.image, content.image_id
    hw = _image_sizes(path, images)
    names = [_file_name(path, entry).encode(*UTF8) for entry in images]
    boxes, is_gt, notes = _clipped_boxes(content, hw[image])
    for note in (*content.notes, *notes):
        logger.warning("%s: %s", path, note)
    (gts,) = is_gt.nonzero()
    gts = gts[image[gts].argsort(kind="stable")]  # image after image, in the order of the file within each
    records = ImageRecords(
        image_id=torch.from_numpy(image_id),
        hw=torch.from_numpy(hw),
        boxes=torch.from_numpy(boxes[gts]),
        labels=torch.from_numpy(content.label[gts]),
        gt_start=torch.from_numpy(np.searchsorted(image[gts], np.arange(len(images) + 1))),
        names=torch.from_numpy(np.array(bytearray().join(names), dtype=np.uint8)),
        name_start=torch.tensor([0, *map(len, names)]).cumsum(dim=0),
    )
    return CocoAnnotations(path, category_ids, class_names, records, content.is_annotated)


def first_file_names(path: Path, count: int) -> list[str]:
    """Return the unchecked file names of the first images in a JSON."""
    images = load_json(path, ImageList).images
    return [str(image.file_name) for image in images[:count] if image.file_name]


def _image_sizes(path: Path, images: Sequence[ImageEntry]) -> np.ndarray:
    """Return (height, width) of each image, [I, 2] int64."""
    hw = np.stack([integers(path, "image", images, key) for key in ("height", "width")], axis=1)
    is_empty = (hw < 1).any(axis=1)
    if is_empty.any():
        wrong = images[int(is_empty.argmax())]
        raise ValueError(f"{path}: image {wrong.id} has size {wrong.width} x {wrong.height}")
    return hw


def _file_name(path: Path, image: ImageEntry) -> str:
    """Return the image's file name, checked to stay inside the images folder."""
    name = image.file_name
    if not isinstance(name, str) or not stays_inside(name):
        raise ValueError(
            f"{path}: image {entry_id(image)} has no file_name inside the images folder ({format_value(name)})"
        )
    return name


def _clipped_boxes(content: Instances, hw: np.ndarray) -> tuple[np.ndarray, np.ndarray, Iterator[str]]:
    """Return the boxes [K, 4], float32 xyxy clipped to their images' `hw` [K, 2], which are gts [K], and notes."""
    written = np.array([annotation.bbox for annotation in content.annotations], dtype=np.float64).reshape(-1, 4)
    boxes = written.copy()  # [x, y, width, height]
    with np.errstate(over="ignore"):
        boxes[:, 2:] += boxes[:, :2]
    is_crowd = np.array([bool(annotation.iscrowd) for annotation in content.annotations], dtype=bool)
    is_flat = ~is_crowd & ~_have_area(boxes)
    clipped = boxes.clip(0, np.tile(hw[:, ::-1], 2))
    is_outside = ~is_crowd & ~is_flat & (abs(boxes - clipped) > 1).any(axis=1)  # a pixel: rounding is common
    with np.errstate(over="ignore"):
        rounded = clipped.astype(np.float32)  # may leave a tiny box without area
    is_gt = ~is_crowd & ~is_flat & _have_area(rounded)

    def first(rows: np.ndarray) -> str:
        return f"first: annotation {entry_id(content.annotations[int(rows.argmax())])}"

    def notes() -> Iterator[str]:
        if is_crowd.any():
            yield f"{is_crowd.sum()} of {len(boxes)} annotations are crowds and not trained on ({first(is_crowd)})"
        if is_flat.any():
            yield (
                f"{is_flat.sum()} boxes have no area and are not trained on; evaluation counts them as missed "
                f"({first(is_flat)})"
            )
        if is_outside.any():
            seem = "; they seem to be corners [x0, y0, x1, y1], expected [x, y, width, height]"
            looks = seem if look_like_corners(written, hw, is_outside) else ""
            yield (
                f"{is_outside.sum()} boxes extend beyond their image and were clipped to it "
                f"({first(is_outside)}){looks}"
            )

    return rounded, is_gt, notes()


def look_like_corners(boxes: np.ndarray, hw: np.ndarray, is_outside: np.ndarray) -> bool:
    """Return whether all boxes [K, 4] lie in their images [K, 2] if read as corners, and many do not as COCO's."""
    inside = (boxes[:, 2:] <= hw[:, ::-1] + 1).all() and (boxes[:, :2] >= -1).all()
    return bool(inside and (boxes[:, 2:] >= boxes[:, :2]).all() and is_outside.mean() > MIN_SHARE_OUTSIDE)


def _have_area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
