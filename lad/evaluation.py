"""The twelve COCO numbers of a detector on a data set; pycocotools is the judge."""

import contextlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from lad.data import Batch, CocoAnnotations
from lad.geometry import make_anchors
from lad.postprocess import Detections, detect

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def coco_metrics(
    annotations: Path | str, results: Sequence[dict[str, Any]], image_ids: Sequence[int] | None = None
) -> dict[str, float]:
    """The twelve numbers of box detections by name, in [0, 1]; NaN where no gt of that size exists.

    results: one {"image_id", "category_id", "bbox" [x, y, w, h], "score"} per detection, COCO's results format.
    image_ids: judge these images only.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth = COCO(str(annotations))
        for key in ("info", "licenses"):  # loadRes copies them, and many JSONs lack one
            truth.dataset.setdefault(key, [])
        if results:
            detected = truth.loadRes(list(results))
        else:  # loadRes refuses an empty list
            detected = COCO()
            detected.dataset = {**truth.dataset, "annotations": []}
            detected.createIndex()
        judge = COCOeval(truth, detected, "bbox")
        if image_ids is not None:
            judge.params.imgIds = sorted(image_ids)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {
        name: float(value) if value >= 0 else float("nan") for name, value in zip(METRICS, judge.stats, strict=True)
    }


def coco_results(image_id: int, detections: Detections, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """One image's detections, in pixels of the original image, in COCO's results format."""
    boxes = detections.boxes.double().cpu().numpy()
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
    rows = zip(xywh, detections.scores.tolist(), detections.labels.tolist(), strict=True)
    return [
        {"image_id": image_id, "category_id": category_ids[label], "bbox": box, "score": score}
        for box, score, label in rows
    ]


@torch.no_grad()
def predict(detector: nn.Module, batches: Iterable[Batch], annotations: CocoAnnotations, fabric: Fabric) -> list[dict]:
    """COCO results of every image of `batches`. The detector is left in eval mode."""
    detector.eval()
    results: list[dict[str, Any]] = []
    for batch in batches:
        batch = batch.to(fabric.device)
        with fabric.autocast():
            outputs = detector(batch.images)
        anchors = make_anchors(batch.padded_hw, fabric.device)
        detections = detect(outputs, anchors, batch.targets.image_hw, original_hw=batch.original_hw)
        for image_id, found in zip(batch.image_id.tolist(), detections, strict=True):
            results += coco_results(image_id, found, annotations.category_ids)
    return results


def evaluate(
    detector: nn.Module, batches: Iterable[Batch], annotations: CocoAnnotations, fabric: Fabric
) -> dict[str, float]:
    """The twelve COCO numbers of a detector on the images of `annotations`, which `batches` must cover."""
    results = predict(detector, batches, annotations, fabric)
    return coco_metrics(annotations.path, results, [record.image_id for record in annotations.records])
