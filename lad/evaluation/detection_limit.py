"""The maximal number of detections of an image: where it cuts off objects, in one line before and after a run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lad.data.annotations import CocoAnnotations

FULL_IMAGES = "full_images"  # name of the number of images with as many detections as allowed, beside the metrics


def describe_crowded_images(annotations: CocoAnnotations, max_detections: int) -> str:
    """Return a line about the images with more gts than detections allowed; empty if there are none."""
    gt_counts = annotations.records.gt_start.diff()  # [I]
    crowded = int((gt_counts > max_detections).sum())
    if not crowded:
        return ""
    return (
        f"max_detections {max_detections}: {crowded:,} of {len(gt_counts):,} images in {annotations.path.name} have "
        f"more objects, up to {int(gt_counts.max()):,}, not all of which can be found; raise max_detections"
    )


def count_full_images(results: Sequence[Mapping[str, Any]], max_detections: int) -> int:
    """Return the number of images with `max_detections` results."""
    return sum(count >= max_detections for count in Counter(result["image_id"] for result in results).values())


def describe_full_images(full: int, annotations: CocoAnnotations, max_detections: int) -> str:
    """Return a line about the images whose detections reached the limit; empty if that hides nothing.

    A detector at the start of its training reaches the limit in every image, with detections of low scores. So the line
    is about data with crowded images: where some image has at least half as many gts as detections are allowed.
    """
    if not full or 2 * int(annotations.records.gt_start.diff().max()) < max_detections:
        return ""
    total = len(annotations.records)
    return f"{full:,} of {total:,} images have {max_detections} detections, the limit max_detections"
