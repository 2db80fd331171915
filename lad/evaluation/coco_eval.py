"""COCO box metrics of detections, computed by pycocotools or by faster-coco-eval, which gives the same numbers."""

import collections
import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lad.data.instances import read_instances
from lad.inference.postprocess import MAX_DETECTIONS
from lad.utils.messages import invalid_choice_message

Evaluator = Literal["pycocotools", "faster_coco_eval"]
EVALUATORS: tuple[Evaluator, ...] = get_args(Evaluator)


def metric_names(max_detections: int = MAX_DETECTIONS) -> tuple[str, ...]:
    """Return the names of COCO's twelve metrics; the highest number of detections of an image names one of them."""
    recalls = ("AR1", "AR10", f"AR{max_detections}", "ARs", "ARm", "ARl")
    return ("AP", "AP50", "AP75", "APs", "APm", "APl", *recalls)


METRICS = metric_names()


def coco_metrics(
    annotations: Path | str,
    results: Sequence[dict[str, Any]],
    image_ids: Sequence[int] | None = None,
    evaluator: Evaluator = "pycocotools",
    class_agnostic: bool = False,
    max_detections: int = MAX_DETECTIONS,
) -> dict[str, float]:
    """Compute the twelve COCO metrics of box detections.

    Args:
        annotations: Path of an instances JSON.
        results: Detections in COCO's results format: {"image_id", "category_id", "bbox" [x, y, w, h], "score"}.
        image_ids: Images to evaluate on; None evaluates on all.
        evaluator: pycocotools is the reference; faster_coco_eval computes the same numbers several times faster.
        class_agnostic: Whether a detection may match a gt of any class.
        max_detections: Number of detections of an image and class that count, the best ones.

    Returns:
        The metrics by name (`metric_names`), in [0, 1]; NaN where there are no gts of that size.

    Raises:
        ValueError: If a result belongs to an image that `annotations` does not list, or the evaluator is not installed.
    """
    return summary_metrics(run_coco_eval(annotations, results, image_ids, evaluator, class_agnostic, max_detections))


def run_coco_eval(
    annotations: Path | str,
    results: Sequence[dict[str, Any]],
    image_ids: Sequence[int] | None = None,
    evaluator: Evaluator = "pycocotools",
    class_agnostic: bool = False,
    max_detections: int = MAX_DETECTIONS,
) -> COCOeval:
    """Return a COCOeval of box detections, evaluated, accumulated and summarized.

    Arguments and errors are those of `coco_metrics`. `results` is not modified.
    """
    ground_truth = read_ground_truth(annotations)
    if unlisted := {result["image_id"] for result in results} - ground_truth.imgs.keys():
        raise ValueError(f"results contain images that {annotations} does not list, such as image_id={min(unlisted)}")
    detections = COCO()  # not loadRes: it rejects an empty list and modifies the results
    detections.dataset = {
        **ground_truth.dataset,
        "annotations": [
            {**result, "id": number, "area": result["bbox"][2] * result["bbox"][3], "iscrowd": 0}
            for number, result in enumerate(results, start=1)
        ],
    }
    with suppress_stdout():
        detections.createIndex()
        evaluated = (ground_truth, detections)
        if evaluator == "faster_coco_eval":  # its ids are floats, which differ only up to 2^53
            evaluated = (_renumbered(ground_truth, ground_truth), _renumbered(detections, ground_truth))
        coco_eval = find_evaluator(evaluator)(*evaluated, "bbox")
        if image_ids is not None:
            number_of = dict(zip(sorted(ground_truth.imgs), sorted(evaluated[0].imgs), strict=True))
            coco_eval.params.imgIds = sorted(number_of[image_id] for image_id in image_ids)
        coco_eval.params.useCats = int(not class_agnostic)
        coco_eval.params.maxDets = [1, min(10, max_detections), max_detections]
        coco_eval.evaluate()
        coco_eval.accumulate()
    coco_eval.stats = _summarize(coco_eval)
    coco_eval.cocoGt, coco_eval.cocoDt = ground_truth, detections
    coco_eval.params.imgIds = sorted(ground_truth.imgs if image_ids is None else image_ids)
    coco_eval.params.catIds = sorted(ground_truth.cats)
    return coco_eval


def _renumbered(coco: COCO, ground_truth: COCO) -> COCO:
    """Return annotations with the images and categories of the ground truth numbered from 1, in the order of ids."""
    image, category = (
        {number: row for row, number in enumerate(sorted(entries), start=1)}
        for entries in (ground_truth.imgs, ground_truth.cats)
    )
    renumbered = COCO()
    renumbered.dataset = {
        **coco.dataset,
        "images": [{**entry, "id": image[entry["id"]]} for entry in coco.dataset["images"]],
        "categories": [{**entry, "id": category[entry["id"]]} for entry in coco.dataset["categories"]],
        "annotations": [
            {**entry, "image_id": image[entry["image_id"]], "category_id": category.get(entry["category_id"], 0)}
            for entry in coco.dataset["annotations"]
        ],
    }
    renumbered.createIndex()
    return renumbered


def _summarize(coco_eval: COCOeval) -> np.ndarray:
    """Compute the twelve metrics [12]; −1 where there are no gts.

    pycocotools' `summarize` computes the AP for 100 detections only, whatever `maxDets` is.
    """
    precision = coco_eval.eval["precision"]  # [IoU .50 … .95, recall, class, size: all s m l, maxDets]
    recall = coco_eval.eval["recall"]  # [IoU, class, size, maxDets]
    slices = [precision[..., 0, -1], precision[0, ..., 0, -1], precision[5, ..., 0, -1]]
    slices += [precision[..., size, -1] for size in (1, 2, 3)]
    slices += [recall[..., 0, limit] for limit in range(3)] + [recall[..., size, -1] for size in (1, 2, 3)]
    return np.array([values[values > -1].mean() if (values > -1).any() else -1.0 for values in slices])


def find_evaluator(name: Evaluator) -> type[COCOeval]:
    """Return the COCOeval class of an evaluator.

    faster-coco-eval's class replaces that of pycocotools in everything used here, except for `evalImgs`.

    Raises:
        ValueError: If the name is unknown, or the package is not installed.
    """
    if name not in EVALUATORS:
        raise ValueError(invalid_choice_message("evaluator", name, EVALUATORS))
    if name == "pycocotools":
        return COCOeval
    try:
        from faster_coco_eval import COCOeval_faster
    except ImportError:
        raise ValueError(
            f"evaluator '{name}' is not installed; pip install 'lad-suite[fast]', or use pycocotools"
        ) from None
    return COCOeval_faster


def read_ground_truth(annotations: Path | str) -> COCO:
    """Read an instances JSON for pycocotools.

    Values are those of training (`read_instances`), boxes those of the file: pycocotools' own semantics. It treats a
    match with annotation id 0 as no match, so annotations are renumbered from 1 in file order.
    """
    content = read_instances(Path(annotations))
    ground_truth = COCO()
    ground_truth.dataset = {
        "info": {},
        "licenses": [],
        "images": [{"id": number} for number in content.image_id.tolist()],
        "categories": [
            {"id": number, "name": name} for number, name in zip(content.category_ids, content.class_names, strict=True)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": gt.image_id,
                "category_id": gt.category_id,
                "bbox": gt.bbox,
                "area": gt.area,
                "iscrowd": int(bool(gt.iscrowd)),
            }
            for number, gt in enumerate(content.annotations, start=1)
        ],
    }
    with suppress_stdout():
        ground_truth.createIndex()
    return ground_truth


def suppress_stdout() -> contextlib.AbstractContextManager[object]:
    """Return a context in which pycocotools does not print its progress."""
    return contextlib.redirect_stdout(io.StringIO())


def summary_metrics(coco_eval: COCOeval) -> dict[str, float]:
    """Return the twelve summary metrics by name; NaN where there are no gts of that size (−1 in pycocotools)."""
    names = metric_names(coco_eval.params.maxDets[-1])
    return {
        name: float(value) if value >= 0 else float("nan") for name, value in zip(names, coco_eval.stats, strict=True)
    }


def class_metrics(coco_eval: COCOeval) -> dict[int, dict[str, float]]:
    """Return the metrics of each class.

    Returns:
        For each category id: "objects", the number of gts that are not crowds, and "AP", "AP50" and "AP75", which are
        NaN for a class without gts.
    """
    image_ids = set(coco_eval.params.imgIds)
    count = collections.Counter(
        gt["category_id"]
        for gt in coco_eval.cocoGt.dataset["annotations"]
        if gt["image_id"] in image_ids and not gt.get("iscrowd")
    )
    table = {}
    for index, category in enumerate(coco_eval.params.catIds):
        precision = coco_eval.eval["precision"][:, :, index, 0, -1]  # [IoU .50 … .95, recall 0 … 1]
        table[category] = {
            "objects": count[category],
            "AP": _mean_precision(precision),
            "AP50": _mean_precision(precision[0]),
            "AP75": _mean_precision(precision[5]),
        }
    return table


def precision_recall(coco_eval: COCOeval) -> dict[float, np.ndarray]:
    """Return the precision-recall curves.

    Returns:
        For each IoU threshold .50, .55 … .95 the precision [101] at recall 0, .01 … 1, averaged over the classes with
        gts; NaN if no class has any.
    """
    precision = coco_eval.eval["precision"][:, :, :, 0, -1]  # [IoU, recall, class]
    has_gts = (precision > -1).any(axis=(0, 1))
    mean = precision[:, :, has_gts].mean(axis=2) if has_gts.any() else np.full(precision.shape[:2], np.nan)
    return {round(float(iou), 2): curve for iou, curve in zip(coco_eval.params.iouThrs, mean, strict=True)}


def _mean_precision(precision: np.ndarray) -> float:
    """Return the mean, or NaN if there are no gts (all values are −1)."""
    return float(precision.mean()) if (precision > -1).any() else float("nan")
