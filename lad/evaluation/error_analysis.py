"""What kind of mistake each detection makes, which objects were missed, and how much AP each kind costs.

After TIDE (Bolya et al., ECCV 2020), with five kinds that do not overlap.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lad.evaluation.coco_eval import quietly
from lad.geometry import box_iou

ERRORS = ("classification", "localization", "background", "duplicate", "missed")
KINDS = ("correct", *ERRORS, "detection")  # of boxes in a picture; a detection that nobody can judge is just that
POINTING = ("correct", "localization", "classification")  # at an object, which is then not missed
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, float("inf"))}  # COCO's, pixels²
MATCH_IOU, NEAR_IOU = 0.5, 0.1


@dataclass(frozen=True)
class ErrorReport:
    """kind: of each result, in order: "correct", one of `ERRORS` but "missed", or "crowd", which COCO does not count.
    gt: the annotation id that a result is correct for or points at, None for background and crowds. missed: annotation
    ids of the objects that nothing found."""

    kind: list[str]
    gt: list[int | None]
    missed: list[int]


class EvaluatedImage(NamedTuple):
    """A picture for `draw_evaluated`. pixels: [H, W, 3] uint8. boxes: [x0, y0, x1, y1] in its pixels, each with its kind
    (of `KINDS`) and a few words."""

    pixels: np.ndarray
    boxes: list[list[float]]
    kinds: list[str]
    texts: list[str]
    title: str


def classify_errors(truth: COCO, results: Sequence[Mapping[str, Any]], image_ids: Sequence[int]) -> ErrorReport:
    """Kinds of all `results` (COCO's format) on these images.

    A result is *correct* if it takes a gt of its class, by COCO's matching at IoU .5: in order of score, each the free
    one it overlaps most. Any other is coco_eval by the gt it overlaps most, whatever its class: IoU < .1 *background*;
    another class *classification*; its own class *localization* below .5, else *duplicate*. A gt is *missed* if no
    result is correct for it nor points at it by a localization or classification error. Results that lie at least half
    in a crowd of their class are left out.
    """
    results_of: dict[int, list[int]] = defaultdict(list)
    for index in sorted(range(len(results)), key=lambda index: -results[index]["score"]):
        results_of[results[index]["image_id"]].append(index)
    kinds, targets = ["background"] * len(results), [None] * len(results)
    error_report = ErrorReport(kinds, targets, [])  # type: ignore[arg-type]
    for image_id in image_ids:
        _diagnose_image(results, results_of[image_id], truth.imgToAnns.get(image_id, []), error_report)
    return error_report


def _diagnose_image(
    results: Sequence[Mapping[str, Any]], here: list[int], annotated: list[dict[str, Any]], error_report: ErrorReport
) -> None:
    """Fill in one image; `here` lists its results, best first."""
    gts = [gt for gt in annotated if not gt.get("iscrowd")]
    crowds = [gt for gt in annotated if gt.get("iscrowd")]
    iou = _iou([results[index] for index in here], gts)  # [results, gts]
    taken: set[int] = set()
    for index, overlaps in zip(here, iou, strict=True):
        place = _free_match(overlaps, results[index]["category_id"], gts, taken)
        if place is not None:
            taken.add(place)
            error_report.kind[index], error_report.gt[index] = "correct", gts[place]["id"]
    for index, overlaps in zip(here, iou, strict=True):
        if error_report.kind[index] == "correct":
            continue
        if _lies_in_crowd(results[index], crowds):
            error_report.kind[index] = "crowd"
        elif gts and overlaps.max() >= NEAR_IOU:
            nearest = gts[int(overlaps.argmax())]
            near = "duplicate" if overlaps.max() >= MATCH_IOU else "localization"
            is_same_class = results[index]["category_id"] == nearest["category_id"]
            error_report.kind[index], error_report.gt[index] = (
                near if is_same_class else "classification",
                nearest["id"],
            )
    seen = {error_report.gt[index] for index in here if error_report.kind[index] in POINTING}
    error_report.missed.extend(gt["id"] for gt in gts if gt["id"] not in seen)


def count_errors(
    truth: COCO, results: Sequence[Mapping[str, Any]], error_report: ErrorReport
) -> dict[str, dict[str, int]]:
    """Number of correct results and of each error, by size: of the gt that is meant, for background of the box."""
    table = {kind: dict.fromkeys(SIZES, 0) for kind in ("correct", *ERRORS)}
    for result, kind, gt in zip(results, error_report.kind, error_report.gt, strict=True):
        if kind in table:
            area = truth.anns[gt]["area"] if gt is not None else result["bbox"][2] * result["bbox"][3]
            table[kind][_size(area)] += 1
    for gt in error_report.missed:
        table["missed"][_size(truth.anns[gt]["area"])] += 1
    return table


def delta_ap(truth: COCO, results: Sequence[Mapping[str, Any]], image_ids: Sequence[int]) -> dict[str, float]:
    """How much AP50 would rise if the errors of one kind were mended and all else stayed as it is.

    A misnamed result gets its object's class and a misplaced one its object's box, unless that object is found already:
    then it goes, as background and duplicates do. Missed objects are taken out of the ground truth.
    """
    error_report = classify_errors(truth, results, image_ids)
    before = _ap50(truth, list(results), image_ids)
    lost = {}
    for error in ERRORS:
        mended = _mended(truth, results, error_report, error)
        left_out = set(error_report.missed) if error == "missed" else set()
        lost[error] = _ap50(truth, mended, image_ids, left_out) - before
    return lost


def _mended(
    truth: COCO, results: Sequence[Mapping[str, Any]], error_report: ErrorReport, error: str
) -> list[Mapping[str, Any]]:
    found = {gt for kind, gt in zip(error_report.kind, error_report.gt, strict=True) if kind == "correct"}
    mended = []
    for index in sorted(range(len(results)), key=lambda index: -results[index]["score"]):
        result, gt = results[index], error_report.gt[index]
        if error_report.kind[index] != error:
            mended.append(result)
        elif error in ("classification", "localization") and gt not in found:
            found.add(gt)
            assert gt is not None
            truly = truth.anns[gt]
            mended.append({**result, "category_id": truly["category_id"], "bbox": truly["bbox"]})
    return mended


def _ap50(
    truth: COCO,
    results: Sequence[Mapping[str, Any]],
    image_ids: Sequence[int],
    left_out: Collection[int] = (),
) -> float:
    with quietly():
        kept = COCO()
        kept.dataset = {
            "images": truth.dataset["images"],
            "categories": truth.dataset["categories"],
            "annotations": [gt for gt in truth.dataset["annotations"] if gt["id"] not in left_out],
            "info": [],
            "licenses": [],
        }
        kept.createIndex()
        if not results:
            return 0.0
        coco_eval = COCOeval(kept, kept.loadRes([dict(result) for result in results]), "bbox")
        coco_eval.params.imgIds = sorted(image_ids)
        coco_eval.params.iouThrs = np.array([MATCH_IOU])
        coco_eval.params.areaRng, coco_eval.params.areaRngLbl = [[0, 1e10]], ["all"]
        coco_eval.params.maxDets = [100]
        coco_eval.evaluate()
        coco_eval.accumulate()
    precision = coco_eval.eval["precision"]
    return float(precision[precision > -1].mean()) if (precision > -1).any() else 0.0


def _iou(results: Sequence[Mapping[str, Any]], gts: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """[results, gts]"""
    first, second = (_corners([one["bbox"] for one in several]) for several in (results, gts))
    return box_iou(first[:, None], second).numpy()


def _corners(boxes: Sequence[Sequence[float]]) -> torch.Tensor:
    xywh = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)
    return torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1)


def _free_match(iou: np.ndarray, category: int, gts: Sequence[Mapping[str, Any]], taken: set[int]) -> int | None:
    """The free gt of this class with the highest IoU of at least .5, the later of equals as in pycocotools."""
    best, best_iou = None, MATCH_IOU
    for place, gt in enumerate(gts):
        if gt["category_id"] == category and place not in taken and iou[place] >= best_iou:
            best, best_iou = place, iou[place]
    return best


def _lies_in_crowd(result: Mapping[str, Any], crowds: Sequence[Mapping[str, Any]]) -> bool:
    x, y, width, height = result["bbox"]
    for crowd in crowds:
        cx, cy, crowd_width, crowd_height = crowd["bbox"]
        wide = min(x + width, cx + crowd_width) - max(x, cx)
        high = min(y + height, cy + crowd_height) - max(y, cy)
        is_same_class = crowd["category_id"] == result["category_id"]
        if is_same_class and wide > 0 and high > 0 and wide * high >= MATCH_IOU * width * height:
            return True
    return False


def _size(area: float) -> str:
    return next(name for name, (low, high) in SIZES.items() if low <= area < high)
