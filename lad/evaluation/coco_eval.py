"""The twelve COCO numbers of a detector on a data set; pycocotools is the judge, or faster-coco-eval, which agrees."""

import collections
import contextlib
import io
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from lad.data.annotations import CocoAnnotations
from lad.geometry import make_anchors
from lad.inference.postprocess import detect
from lad.inference.tta import joined
from lad.structures import Batch, Detections
from lad.utils.messages import not_one_of

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
Evaluator = Literal["pycocotools", "faster_coco_eval"]
EVALUATORS: tuple[Evaluator, ...] = get_args(Evaluator)


def coco_metrics(
    annotations: Path | str,
    results: Sequence[dict[str, Any]],
    image_ids: Sequence[int] | None = None,
    evaluator: Evaluator = "pycocotools",
) -> dict[str, float]:
    """The twelve numbers of box detections by name, in [0, 1]; NaN where no gt of that size exists.

    results: one {"image_id", "category_id", "bbox" [x, y, w, h], "score"} per detection, COCO's results format.
    image_ids: judge these images only. evaluator: the reference, or the same numbers in a fraction of the time.

    Raises ValueError for results on images that the annotations do not list, or when the evaluator is not installed.
    """
    return metrics_of(run_coco_eval(annotations, results, image_ids, evaluator))


def run_coco_eval(
    annotations: Path | str,
    results: Sequence[dict[str, Any]],
    image_ids: Sequence[int] | None = None,
    evaluator: Evaluator = "pycocotools",
) -> COCOeval:
    """The evaluator's judgment of box detections, summarized; arguments and errors as in `coco_metrics`."""
    truth = read_truth(annotations)
    if strangers := {result["image_id"] for result in results} - truth.imgs.keys():
        raise ValueError(f"results on images that {annotations} does not list, such as image_id={min(strangers)}")
    detected = COCO()  # not by loadRes, which refuses an empty list and writes into the results
    detected.dataset = {
        **truth.dataset,
        "annotations": [
            {**result, "id": number, "area": result["bbox"][2] * result["bbox"][3], "iscrowd": 0}
            for number, result in enumerate(results, start=1)
        ],
    }
    with quietly():
        detected.createIndex()
        coco_eval = find_evaluator(evaluator)(truth, detected, "bbox")
        if image_ids is not None:
            coco_eval.params.imgIds = sorted(image_ids)
        coco_eval.evaluate()
        coco_eval.accumulate()
        coco_eval.summarize()
    return coco_eval


def find_evaluator(name: Evaluator) -> type[COCOeval]:
    """The class that judges. faster-coco-eval's is pycocotools' in all that is asked of it here, but for `evalImgs`.

    Raises ValueError when it is not installed.
    """
    if name not in EVALUATORS:
        raise ValueError(not_one_of("evaluator", name, EVALUATORS))
    if name == "pycocotools":
        return COCOeval
    try:
        from faster_coco_eval import COCOeval_faster
    except ImportError:
        raise ValueError(f"evaluator '{name}' is not installed; pip install 'lad[fast]', or use pycocotools") from None
    return COCOeval_faster


def read_truth(annotations: Path | str) -> COCO:
    """An instances JSON for pycocotools, which takes a match to annotation id 0 for none and needs fields that many
    files lack: annotations are numbered from 1 here, in order, and get iscrowd and area where they have none."""
    content = json.loads(Path(annotations).read_text(encoding="utf-8"))
    truth = COCO()
    truth.dataset = {"info": {}, "licenses": [], **content}
    truth.dataset["annotations"] = [
        {"iscrowd": 0, "area": gt["bbox"][2] * gt["bbox"][3], **gt, "id": number}
        for number, gt in enumerate(content.get("annotations", []), start=1)
    ]
    with quietly():
        truth.createIndex()
    return truth


def quietly() -> contextlib.AbstractContextManager[object]:
    """pycocotools prints its progress; within this it does not."""
    return contextlib.redirect_stdout(io.StringIO())


def metrics_of(coco_eval: COCOeval) -> dict[str, float]:
    """The twelve numbers by name; NaN where no gt of that size exists."""
    return {
        name: float(value) if value >= 0 else float("nan") for name, value in zip(METRICS, coco_eval.stats, strict=True)
    }


def class_metrics(coco_eval: COCOeval) -> dict[int, dict[str, float]]:
    """Of each category id: number of gts (crowds left out) and AP, AP50, AP75; NaN where it has no gt."""
    wanted = set(coco_eval.params.imgIds)
    count = collections.Counter(
        gt["category_id"]
        for gt in coco_eval.cocoGt.dataset["annotations"]
        if gt["image_id"] in wanted and not gt.get("iscrowd")
    )
    table = {}
    for place, category in enumerate(coco_eval.params.catIds):
        precision = coco_eval.eval["precision"][:, :, place, 0, -1]  # [IoU .50 … .95, recall 0 … 1]
        table[category] = {
            "objects": count[category],
            "AP": _mean(precision),
            "AP50": _mean(precision[0]),
            "AP75": _mean(precision[5]),
        }
    return table


def precision_recall(coco_eval: COCOeval) -> dict[float, np.ndarray]:
    """Mean precision over the classes that have gts, [101] at recall 0, .01 … 1, by IoU threshold .50, .55 … .95."""
    precision = coco_eval.eval["precision"][:, :, :, 0, -1]  # [IoU, recall, class]
    has_gts = (precision > -1).any(axis=(0, 1))
    mean = precision[:, :, has_gts].mean(axis=2) if has_gts.any() else np.full(precision.shape[:2], np.nan)
    return {round(float(iou), 2): curve for iou, curve in zip(coco_eval.params.iouThrs, mean, strict=True)}


def _mean(precision: np.ndarray) -> float:
    """−1 stands for "no gt"."""
    return float(precision.mean()) if (precision > -1).any() else float("nan")


def coco_results(image_id: int, detections: Detections, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """One image's detections, in pixels of the original image, in COCO's results format."""
    boxes = detections.boxes.double().cpu().numpy()
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
    rows = zip(xywh, detections.scores.tolist(), detections.labels.tolist(), strict=True)
    return [
        {"image_id": image_id, "category_id": category_ids[label], "bbox": box, "score": score}
        for box, score, label in rows
    ]


@torch.no_grad()  # not inference_mode: anchors stay in their cache, and autograd could not save them in training
def predict_batches(
    detector: nn.Module, batches: Iterable[Batch], annotations: CocoAnnotations, fabric: Fabric
) -> list[dict]:
    """COCO results of every image of `batches`. The detector is left in eval mode."""
    detector.eval()
    results: list[dict[str, Any]] = []
    for batch in batches:
        batch = batch.to(fabric.device)
        with fabric.autocast():
            outputs = detector(batch.images.contiguous(memory_format=torch.channels_last))
        anchors = make_anchors(batch.padded_hw, fabric.device)
        detections = detect(outputs, anchors, batch.targets.image_hw, original_hw=batch.original_hw)
        for image_id, found in zip(batch.image_id.tolist(), _on_cpu(detections), strict=True):
            results += coco_results(image_id, found, annotations.category_ids)
    return results


def _on_cpu(detections: Sequence[Detections]) -> list[Detections]:
    """All images at once: each transfer waits for the device."""
    whole, counts = joined(detections), [len(found.scores) for found in detections]
    fields = (field.cpu().split(counts) for field in (whole.boxes, whole.scores, whole.labels))
    return [Detections(*image) for image in zip(*fields, strict=True)]


def evaluate(
    detector: nn.Module,
    batches: Iterable[Batch],
    annotations: CocoAnnotations,
    fabric: Fabric,
    evaluator: Evaluator = "pycocotools",
) -> dict[str, float]:
    """The twelve COCO numbers of a detector on the images of `annotations`, which `batches` must cover: those of all
    devices together, each image once. One device judges, and tells the others."""
    results = predict_batches(detector, batches, annotations, fabric)
    if fabric.world_size > 1:
        of_all: list[list[dict[str, Any]]] | None = [[]] * fabric.world_size if fabric.is_global_zero else None
        dist.gather_object(results, of_all)
        results = list(itertools.chain.from_iterable(of_all or []))
    metrics: dict[str, float] = {}
    if fabric.is_global_zero:
        metrics = coco_metrics(annotations.path, results, annotations.records.image_id.tolist(), evaluator)
    return fabric.broadcast(metrics)
