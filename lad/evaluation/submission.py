"""Predictions as COCO's evaluation server takes them: a zipped JSON, checked against the list of images."""

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

MAX_PER_IMAGE = 100


def write_submission(
    folder: Path, results: Sequence[Mapping[str, Any]], annotations: CocoAnnotations, name: str = "lad"
) -> Path:
    """Write `detections_<split>_<name>_results.zip`, as COCO wants it named, and return its path.

    results: COCO's results format. annotations: of the split, for instance image_info_test-dev2017.json.
    Raises ValueError that names the first result that is not right; then nothing is written.
    """
    rounded = [_rounded(result) for result in results]
    check_results(rounded, annotations)
    if not name or not all(sign.isalnum() or sign in "-." for sign in name):
        raise ValueError(f"name={name!r} goes into a file name; use letters, digits, '-' and '.'")
    split = annotations.path.stem.removeprefix("image_info_").removeprefix("instances_")
    stem = f"detections_{split}_{name}_results"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.zip"
    with atomic_write(path) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{stem}.json", json.dumps(rounded))
    return path


def check_results(results: Sequence[Mapping[str, Any]], annotations: CocoAnnotations) -> None:
    """Raises ValueError for an image id or category id that is not listed, a box or score that is no number, a box
    without area, and more than 100 results on an image, of which the server would drop some."""
    listed = {
        "image_id": {record.image_id for record in annotations.records},
        "category_id": set(annotations.category_ids),
    }
    for place, result in enumerate(results):
        for key, known in listed.items():
            if type(result.get(key)) is not int or result[key] not in known:
                raise ValueError(f"result {place}: {key} {result.get(key)!r} is not in {annotations.path}")
        box, score = result.get("bbox"), result.get("score")
        if not _is_numbers(box, 4) or box[2] <= 0 or box[3] <= 0:  # type: ignore[index]
            raise ValueError(f"result {place}: bbox {box!r} must be [x, y, width, height] with an area")
        if not _is_numbers([score], 1) or not 0 <= score <= 1:  # type: ignore[operator]
            raise ValueError(f"result {place}: score {score!r} must be a number from 0 to 1")
    image_id, most = Counter(result["image_id"] for result in results).most_common(1)[0] if results else (None, 0)
    if most > MAX_PER_IMAGE:
        raise ValueError(f"image {image_id} has {most} results; the server counts the best {MAX_PER_IMAGE} only")


def _rounded(result: Mapping[str, Any]) -> dict[str, Any]:
    """Coordinates to a hundredth of a pixel and scores to 1e-5: a third of the size. What is no number stays."""

    def to(value: Any, digits: int) -> Any:
        return round(float(value), digits) if isinstance(value, int | float | np.floating) else value

    box = result.get("bbox")
    box = [to(value, 2) for value in box] if isinstance(box, list | tuple) else box
    return {**result, "bbox": box, "score": to(result.get("score"), 5)}


def _is_numbers(values: Any, count: int) -> bool:
    is_list = isinstance(values, list | tuple) and len(values) == count
    return is_list and all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)
