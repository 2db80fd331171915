"""Evaluation of a network: detections of all images in COCO's format and their metrics, on any number of devices."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import nn

from lad.data.annotations import CocoAnnotations
from lad.evaluation.coco_eval import Evaluator, coco_metrics
from lad.evaluation.detection_limit import FULL_IMAGES, count_full_images
from lad.geometry import make_anchors
from lad.inference.postprocess import MAX_DETECTIONS, detect
from lad.inference.tta import concatenate_detections
from lad.structures import Batch, Detections


def coco_results(image_id: int, detections: Detections, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Convert the detections of one image to COCO's results format.

    Args:
        image_id: Id of the image.
        detections: Detections in pixels of the original image.
        category_ids: Category id of each label.
    """
    boxes = detections.boxes.double().cpu().numpy()
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
    rows = zip(xywh, detections.scores.tolist(), detections.labels.tolist(), strict=True)
    return [
        {"image_id": image_id, "category_id": category_ids[label], "bbox": box, "score": score}
        for box, score, label in rows
    ]


@torch.no_grad()  # not inference_mode: the cached anchors would become inference tensors, unusable in training
def predict_batches(
    detector: nn.Module,
    batches: Iterable[Batch],
    annotations: CocoAnnotations,
    fabric: Fabric,
    class_agnostic: bool = False,
    max_detections: int = MAX_DETECTIONS,
) -> list[dict]:
    """Return the detections of all images of `batches` in COCO's results format; leave the detector in eval mode.

    With `class_agnostic`, an anchor's highest score over the detector's classes is its only one; all results have the
    first category id.
    """
    detector.eval()
    results: list[dict[str, Any]] = []
    for batch in batches:
        batch = batch.to(fabric.device)
        with fabric.autocast():
            outputs = detector(batch.images.contiguous(memory_format=torch.channels_last))
        if class_agnostic:
            outputs = outputs._replace(cls_logits=outputs.cls_logits.amax(dim=-1, keepdim=True))
        anchors = make_anchors(batch.padded_hw, fabric.device)
        detections = detect(
            outputs,
            anchors,
            batch.targets.image_hw,
            original_hw=batch.original_hw,
            max_detections=max_detections,
        )
        for image_id, of_image in zip(batch.image_id.tolist(), _to_cpu(detections), strict=True):
            results += coco_results(image_id, of_image, annotations.category_ids)
    return results


def _to_cpu(detections: Sequence[Detections]) -> list[Detections]:
    """Copy the detections of all images to the CPU at once, since each copy synchronizes with the device."""
    whole, counts = concatenate_detections(detections), [len(of_image.scores) for of_image in detections]
    fields = (field.cpu().split(counts) for field in (whole.boxes, whole.scores, whole.labels))
    return [Detections(*image) for image in zip(*fields, strict=True)]


def evaluate(
    detector: nn.Module,
    batches: Iterable[Batch],
    annotations: CocoAnnotations,
    fabric: Fabric,
    evaluator: Evaluator = "pycocotools",
    class_agnostic: bool = False,
    max_detections: int = MAX_DETECTIONS,
) -> dict[str, float]:
    """Compute the twelve COCO metrics of a detector, on one device or several.

    Each process predicts its own batches; rank 0 gathers the results, computes the metrics and broadcasts them.

    Args:
        detector: The network; it is left in eval mode.
        batches: Batches of this process. Together, the processes must cover each image of `annotations` once.
        annotations: Ground truth of the images.
        fabric: Device, precision and process group.
        evaluator: As in `coco_metrics`.
        class_agnostic: Whether to ignore classes: for a detector of other classes than the gts'.
        max_detections: Maximal number of detections of an image.

    Returns:
        The metrics by name (`metric_names`), and under `FULL_IMAGES` the number of images with `max_detections`.
    """
    results = predict_batches(detector, batches, annotations, fabric, class_agnostic, max_detections)
    if fabric.world_size > 1:
        gathered: list[list[dict[str, Any]]] | None = [[]] * fabric.world_size if fabric.is_global_zero else None
        dist.gather_object(results, gathered)
        results = list(itertools.chain.from_iterable(gathered or []))
    metrics: dict[str, float] = {}
    if fabric.is_global_zero:
        image_ids = annotations.records.image_id.tolist()
        metrics = coco_metrics(annotations.path, results, image_ids, evaluator, class_agnostic, max_detections)
        metrics[FULL_IMAGES] = count_full_images(results, max_detections)
    return fabric.broadcast(metrics)
