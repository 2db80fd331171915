"""Error analysis: the type of each wrong detection, the missed gts, and the AP50 that each error type costs.

Source: Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors, ECCV 2020. TIDE's types "both"
(class and box wrong) and "classification" are one type here.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lad.evaluation.coco_eval import suppress_stdout
from lad.inference.postprocess import MAX_DETECTIONS

ERROR_TYPES = ("classification", "localization", "background", "duplicate", "missed")
BOX_KINDS = ("correct", *ERROR_TYPES, "detection")  # drawn boxes; "detection" where there is no ground truth
POINTS_AT_GT = ("correct", "localization", "classification")  # a gt with such a detection is not missed
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, float("inf"))}  # COCO's, pixels²
FOREGROUND_THRESHOLD, BACKGROUND_THRESHOLD = 0.5, 0.1  # IoU, TIDE's t_f and t_b


@dataclass(frozen=True)
class ErrorReport:
    """The type of each result, and the missed gts.

    Attributes:
        kind: Kind of each result: "correct", one of `ERROR_TYPES` except "missed", or "crowd", which COCO ignores.
        gt: Annotation id of the gt that each result matches or points at; None for background and crowds.
        missed: Annotation ids of the gts without a correct, localization or classification result.
    """

    kind: list[str]
    gt: list[int | None]
    missed: list[int]


class EvaluatedImage(NamedTuple):
    """An image with its boxes, for `lad.figures.draw_evaluated`.

    Attributes:
        pixels: [H, W, 3] uint8.
        boxes: [x0, y0, x1, y1] of each box in pixels.
        kinds: Kind of each box, one of `BOX_KINDS`.
        texts: Caption of each box.
        title: Title of the image.
    """

    pixels: np.ndarray
    boxes: list[list[float]]
    kinds: list[str]
    texts: list[str]
    title: str


def classify_errors(ground_truth: COCO, results: Sequence[Mapping[str, Any]], image_ids: Sequence[int]) -> ErrorReport:
    """Classify all results on these images, and find the missed gts.

    A result is *correct* if COCO's matching at IoU .5 matches it: in order of descending score, each result takes the
    free gt of its class with the highest IoU. Any other result is classified by the gt of any class with which it has
    the highest IoU: *background* below IoU .1; *classification* if the class differs; *localization* for the same class
    below IoU .5; else *duplicate*. A result at least half inside a crowd of its class is ignored ("crowd").

    Args:
        ground_truth: Annotations with ids from 1, as of `read_ground_truth`.
        results: Detections in COCO's results format, in any order.
        image_ids: Images on which gts can be missed; results must not be on other images.
    """
    results_of: dict[int, list[int]] = defaultdict(list)
    for index in _by_descending_score(results):
        results_of[results[index]["image_id"]].append(index)
    kinds, gts = ["background"] * len(results), [None] * len(results)
    report = ErrorReport(kinds, gts, [])  # type: ignore[arg-type]
    for image_id in image_ids:
        _classify_image(results, results_of[image_id], ground_truth.imgToAnns.get(image_id, []), report)
    return report


def _classify_image(
    results: Sequence[Mapping[str, Any]], indices: list[int], annotations: list[dict[str, Any]], report: ErrorReport
) -> None:
    """Fill in the report for one image, whose results are at `indices`, by descending score."""
    gts = [gt for gt in annotations if not gt.get("iscrowd")]
    crowds = [gt for gt in annotations if gt.get("iscrowd")]
    ordered = [results[index] for index in indices]
    iou = _iou(ordered, gts)
    matched: set[int] = set()
    for index, overlaps in zip(indices, iou, strict=True):
        position = _find_match(overlaps, results[index]["category_id"], gts, matched)
        if position is not None:
            matched.add(position)
            report.kind[index], report.gt[index] = "correct", gts[position]["id"]
    in_crowd = _iou(ordered, crowds) >= FOREGROUND_THRESHOLD
    crowd_categories = np.array([crowd["category_id"] for crowd in crowds])
    for index, overlaps, inside in zip(indices, iou, in_crowd, strict=True):
        if report.kind[index] == "correct":
            continue
        if (inside & (crowd_categories == results[index]["category_id"])).any():
            report.kind[index] = "crowd"
        elif gts and overlaps.max() >= BACKGROUND_THRESHOLD:
            nearest = gts[int(overlaps.argmax())]
            report.gt[index] = nearest["id"]
            if results[index]["category_id"] != nearest["category_id"]:
                report.kind[index] = "classification"
            else:
                report.kind[index] = "duplicate" if overlaps.max() >= FOREGROUND_THRESHOLD else "localization"
    pointed_at = {report.gt[index] for index in indices if report.kind[index] in POINTS_AT_GT}
    report.missed.extend(gt["id"] for gt in gts if gt["id"] not in pointed_at)


def count_errors(
    ground_truth: COCO, results: Sequence[Mapping[str, Any]], report: ErrorReport
) -> dict[str, dict[str, int]]:
    """Count the correct results and the errors of each type, by size.

    Returns:
        For "correct" and each of `ERROR_TYPES` the number for each of `SIZES`. The size is that of the gt, for
        background errors that of the box.
    """
    table = {kind: dict.fromkeys(SIZES, 0) for kind in ("correct", *ERROR_TYPES)}
    for result, kind, gt in zip(results, report.kind, report.gt, strict=True):
        if kind in table:
            area = ground_truth.anns[gt]["area"] if gt is not None else result["bbox"][2] * result["bbox"][3]
            table[kind][_size(area)] += 1
    for gt in report.missed:
        table["missed"][_size(ground_truth.anns[gt]["area"])] += 1
    return table


def delta_ap(
    ground_truth: COCO,
    results: Sequence[Mapping[str, Any]],
    image_ids: Sequence[int],
    max_detections: int = MAX_DETECTIONS,
) -> dict[str, float]:
    """Return the AP50 gained by fixing all errors of one type (TIDE's dAP), for each of `ERROR_TYPES`.

    A classification error gets the class of its gt, a localization error the box of its gt; if that gt is matched
    already, the result is removed. Background and duplicate errors are removed. Missed gts are removed from the ground
    truth.
    """
    report = classify_errors(ground_truth, results, image_ids)
    baseline = _ap50(ground_truth, list(results), image_ids, max_detections)
    gains = {}
    for error_type in ERROR_TYPES:
        fixed = _fix_errors(ground_truth, results, report, error_type)
        excluded = set(report.missed) if error_type == "missed" else set()
        gains[error_type] = _ap50(ground_truth, fixed, image_ids, max_detections, excluded) - baseline
    return gains


def _fix_errors(
    ground_truth: COCO, results: Sequence[Mapping[str, Any]], report: ErrorReport, error_type: str
) -> list[Mapping[str, Any]]:
    matched = {gt for kind, gt in zip(report.kind, report.gt, strict=True) if kind == "correct"}
    fixed = []
    for index in _by_descending_score(results):
        result, gt = results[index], report.gt[index]
        if report.kind[index] != error_type:
            fixed.append(result)
        elif error_type in ("classification", "localization") and gt not in matched:
            matched.add(gt)
            assert gt is not None
            annotation = ground_truth.anns[gt]
            fixed.append({**result, "category_id": annotation["category_id"], "bbox": annotation["bbox"]})
    return fixed


def _ap50(
    ground_truth: COCO,
    results: Sequence[Mapping[str, Any]],
    image_ids: Sequence[int],
    max_detections: int,
    excluded: Collection[int] = (),
) -> float:
    """Return the AP50 over all sizes without the excluded annotation ids; 0 without results or gts."""
    with suppress_stdout():
        remaining = COCO()
        remaining.dataset = {
            "images": ground_truth.dataset["images"],
            "categories": ground_truth.dataset["categories"],
            "annotations": [gt for gt in ground_truth.dataset["annotations"] if gt["id"] not in excluded],
            "info": [],
            "licenses": [],
        }
        remaining.createIndex()
        if not results:
            return 0.0
        coco_eval = COCOeval(remaining, remaining.loadRes([dict(result) for result in results]), "bbox")
        coco_eval.params.imgIds = sorted(image_ids)
        coco_eval.params.iouThrs = np.array([FOREGROUND_THRESHOLD])
        coco_eval.params.areaRng, coco_eval.params.areaRngLbl = [[0, 1e10]], ["all"]
        coco_eval.params.maxDets = [max_detections]
        coco_eval.evaluate()
        coco_eval.accumulate()
    precision = coco_eval.eval["precision"]
    return float(precision[precision > -1].mean()) if (precision > -1).any() else 0.0


def _by_descending_score(results: Sequence[Mapping[str, Any]]) -> list[int]:
    return sorted(range(len(results)), key=lambda index: -results[index]["score"])


def _iou(results: Sequence[Mapping[str, Any]], gts: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return the IoU of each result with each gt, [results, gts]; with a crowd, the part of the result inside it."""
    result_boxes, gt_boxes = ([item["bbox"] for item in items] for items in (results, gts))
    overlaps = mask.iou(result_boxes, gt_boxes, [int(gt.get("iscrowd", 0)) for gt in gts])
    return np.reshape(overlaps, (len(results), len(gts)))


def _find_match(iou: np.ndarray, category: int, gts: Sequence[Mapping[str, Any]], matched: set[int]) -> int | None:
    """Return the free gt of this class with the highest IoU of at least .5; of ties the last, as in pycocotools."""
    best, best_iou = None, FOREGROUND_THRESHOLD
    for position, gt in enumerate(gts):
        if gt["category_id"] == category and position not in matched and iou[position] >= best_iou:
            best, best_iou = position, iou[position]
    return best


def _size(area: float) -> str:
    return next((name for name, (low, high) in SIZES.items() if area < high), "large")  # a negative area is small
