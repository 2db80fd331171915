"""Submissions to COCO's evaluation server: a zipped JSON of detections, checked against the list of images."""

import json
import math
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lad.data.annotations import CocoAnnotations
from lad.utils.atomic_io import atomic_write
from lad.utils.paths import ensure_writable

MAX_DETECTIONS_PER_IMAGE = 100


def write_submission(
    folder: Path, results: Sequence[Mapping[str, Any]], annotations: CocoAnnotations, name: str = "lad"
) -> Path:
    """Write `detections_<split>_<name>_results.zip`, the file that COCO's evaluation server accepts.

    Coordinates are rounded to 0.01 pixels and scores to 1e-5, which saves two thirds of the file's size.

    Args:
        folder: Folder of the file; it is created if needed.
        results: Detections in COCO's results format.
        annotations: Images and categories of the split, such as those of image_info_test-dev2017.json.
        name: Name of the method in the file's name.

    Returns:
        Path of the file.

    Raises:
        ValueError: If the name or a result is invalid (see `check_results`), or the folder cannot be written; then
            nothing is written.
    """
    rounded = [_rounded(result) for result in results]
    check_results(rounded, annotations)
    if not name or not all(character.isalnum() or character in "-." for character in name):
        raise ValueError(f"name={name!r} becomes part of the file name; use only letters, digits, '-' and '.'")
    split = annotations.path.stem.removeprefix("image_info_").removeprefix("instances_")
    stem = f"detections_{split}_{name}_results"
    ensure_writable(folder, "folder")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.zip"
    with atomic_write(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{stem}.json", json.dumps(rounded))
    return path


def check_results(results: Sequence[Mapping[str, Any]], annotations: CocoAnnotations) -> None:
    """Check results against the images and categories of a split.

    Raises:
        ValueError: For the first result with an unlisted image id or category id, a box or score that is not numeric,
            a box without area, or an image with more results than the server evaluates (100).
    """
    listed_ids = {
        "image_id": {record.image_id for record in annotations.records},
        "category_id": set(annotations.category_ids),
    }
    for index, result in enumerate(results):
        for key, listed in listed_ids.items():
            if type(result.get(key)) is not int or result[key] not in listed:
                raise ValueError(f"result {index}: {key} {result.get(key)!r} is not in {annotations.path}")
        box, score = result.get("bbox"), result.get("score")
        if not _is_numbers(box, 4) or box[2] <= 0 or box[3] <= 0:  # type: ignore[index]
            raise ValueError(f"result {index}: bbox {box!r} must be [x, y, width, height] with a positive area")
        if not _is_numbers([score], 1) or not 0 <= score <= 1:  # type: ignore[operator]
            raise ValueError(f"result {index}: score {score!r} must be a number from 0 to 1")
    image_id, count = Counter(result["image_id"] for result in results).most_common(1)[0] if results else (None, 0)
    if count > MAX_DETECTIONS_PER_IMAGE:
        raise ValueError(
            f"image {image_id} has {count} results; the server evaluates only the best {MAX_DETECTIONS_PER_IMAGE}"
        )


def rounded_box(box: Any) -> Any:
    """Return a box with coordinates rounded to 0.01 pixels, as they are written."""
    return [_round(value, 2) for value in box] if isinstance(box, list | tuple) else box


def _rounded(result: Mapping[str, Any]) -> dict[str, Any]:
    """Round coordinates and score; values that are not numbers are kept for `check_results` to report."""
    return {**result, "bbox": rounded_box(result.get("bbox")), "score": _round(result.get("score"), 5)}


def _round(value: Any, digits: int) -> Any:
    return round(float(value), digits) if isinstance(value, int | float | np.floating) else value


def _is_numbers(values: Any, count: int) -> bool:
    is_list = isinstance(values, list | tuple) and len(values) == count
    return is_list and all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)
