"""The report of an evaluated checkpoint: tables, a line with its AP, images with its errors, and a submission."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pycocotools.cocoeval import COCOeval

from lad.config.evaluation import EvaluationConfig
from lad.data.coco import CocoDataset
from lad.evaluation.coco_eval import class_metrics, summary_metrics
from lad.evaluation.error_analysis import (
    BOX_KINDS,
    ErrorReport,
    EvaluatedImage,
    classify_errors,
    count_errors,
    delta_ap,
)
from lad.evaluation.submission import MAX_DETECTIONS_PER_IMAGE, rounded_box, write_submission
from lad.models.detector import Configuration
from lad.models.zoo import WEIGHTS_FILE, published_checkpoint
from lad.utils.class_labels import class_labels
from lad.utils.messages import counted

DETECTIONS_FILE = "detections.json"
AP_TOLERANCE = 0.1  # percent; published numbers are rounded to a tenth


@dataclass(frozen=True)
class EvaluationReport:
    """Result of evaluating a checkpoint.

    Attributes:
        config: Configuration of the evaluation.
        configuration: Architecture of the detector.
        dataset: The images and, unless they are unpublished, their gts.
        results: All detections in COCO's results format.
        coco_eval: The summarized COCOeval; None for images without ground truth.
        folder: Folder that holds the detections and metrics.
    """

    config: EvaluationConfig
    configuration: Configuration
    dataset: CocoDataset
    results: list[dict[str, Any]]
    coco_eval: COCOeval | None
    folder: Path

    @property
    def image_ids(self) -> list[int]:
        """Return the ids of the images, in the data set's order."""
        return [record.image_id for record in self.dataset.annotations.records]

    @property
    def class_names(self) -> dict[int, str]:
        """Return the class name of each category id."""
        annotations = self.dataset.annotations
        return dict(zip(annotations.category_ids, annotations.class_names, strict=True))

    @cached_property
    def confident_results(self) -> list[dict[str, Any]]:
        """Return the results with a score of at least the config's `min_score`."""
        return [result for result in self.results if result["score"] >= self.config.min_score]

    @cached_property
    def errors(self) -> ErrorReport:
        """Return the error types of the confident results, and the gts that they miss."""
        return classify_errors(self.require_coco_eval().cocoGt, self.confident_results, self.image_ids)

    @property
    def metrics(self) -> dict[str, float]:
        """Return the twelve COCO metrics by name."""
        return summary_metrics(self.require_coco_eval())

    def require_coco_eval(self) -> COCOeval:
        """Return the COCOeval, or raise ValueError if the images have no ground truth."""
        if self.coco_eval is None:
            raise ValueError(
                f"{self.dataset.annotations.path}: has no ground truth, so there are no metrics; "
                "notebooks/test_dev.ipynb writes the file for COCO's evaluation server"
            )
        return self.coco_eval


def metrics_table(report: EvaluationReport) -> pd.DataFrame:
    """Return the twelve COCO metrics as a table of one row."""
    return pd.DataFrame([report.metrics], index=[evaluation_title(report.config)])


def class_table(report: EvaluationReport) -> pd.DataFrame:
    """Return the number of objects, AP, AP50 and AP75 of each class with objects, by descending AP."""
    metrics = class_metrics(report.require_coco_eval())
    rows = [(report.class_names[category], row) for category, row in metrics.items() if row["objects"]]
    table = pd.DataFrame(
        [row for _, row in rows], index=[name for name, _ in rows], columns=["objects", "AP", "AP50", "AP75"]
    )
    return table.sort_values("AP", ascending=False).astype({"objects": int})


def error_table(report: EvaluationReport) -> pd.DataFrame:
    """Return the number of correct results, of errors of each type and of missed gts, by size.

    Counts are over the confident results. The column dAP50, over all results, is the AP50 in [0, 1] that fixing all
    errors of the type would gain (TIDE's dAP).
    """
    ground_truth = report.require_coco_eval().cocoGt
    counts = count_errors(ground_truth, report.confident_results, report.errors)
    table = pd.DataFrame.from_dict(counts, orient="index")
    table.insert(0, "all", table.sum(axis=1))
    table["dAP50"] = pd.Series(delta_ap(ground_truth, report.results, report.image_ids, report.config.max_detections))
    return table


def ap_summary(report: EvaluationReport) -> str:
    """Return one line with the AP in percent and, if an AP is expected, whether it matches to within 0.1."""
    percent = 100 * report.metrics["AP"]
    if math.isnan(percent):
        return f"no AP: {counted(len(report.dataset), 'image')} without objects"
    line = f"AP {percent:.1f} % on {counted(len(report.dataset), 'image')}"
    expected = report.config.expected_ap
    if expected is None:
        return f"{line}; no expected AP given"
    is_match = abs(round(percent, 1) - expected) < AP_TOLERANCE + 1e-9
    return f"{line}; expected {expected:.1f} %: {'matches' if is_match else f'DIFFERS by {percent - expected:+.1f}'}"


def rank_images(report: EvaluationReport) -> list[int]:
    """Return the indices of the images with objects, best first.

    Images are ranked by the F1 score of the confident results, 2 · correct / (detections + objects); of ties, the image
    with more objects comes first.
    """
    kinds: dict[int, list[str]] = {image_id: [] for image_id in report.image_ids}
    for result, kind in zip(report.confident_results, report.errors.kind, strict=True):
        if kind != "crowd":
            kinds[result["image_id"]].append(kind)
    records = report.dataset.annotations.records

    def f1_score(index: int) -> tuple[float, int]:
        of_image, objects = kinds[records[index].image_id], len(records[index].boxes)
        return 2 * of_image.count("correct") / (len(of_image) + objects), objects

    return sorted((index for index, record in enumerate(records) if len(record.boxes)), key=f1_score, reverse=True)


def images_with_errors(report: EvaluationReport, indices: Sequence[int]) -> list[EvaluatedImage]:
    """Return the images with their confident results and missed gts, for `lad.figures.draw_evaluated`."""
    ground_truth = report.require_coco_eval().cocoGt
    missed = [ground_truth.anns[gt_id] for gt_id in report.errors.missed]
    return _collect_images(report, indices, report.errors.kind, missed)


def images_with_detections(report: EvaluationReport, indices: Sequence[int]) -> list[EvaluatedImage]:
    """Return the images with their confident results, without use of the ground truth."""
    return _collect_images(report, indices, ["detection"] * len(report.confident_results), [])


def save_submission(report: EvaluationReport, name: str = "lad") -> Path:
    """Write the zip for COCO's evaluation server to the report's folder, and return its path.

    It has no boxes that are without area at its precision and, of each image, only the best 100 results, which the
    server evaluates.
    """
    of_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for result in report.results:  # of each image, best first
        if min(rounded_box(result["bbox"])[2:]) > 0:
            of_image[result["image_id"]].append(result)
    best = [result for results in of_image.values() for result in results[:MAX_DETECTIONS_PER_IMAGE]]
    try:
        return write_submission(report.folder, best, report.dataset.annotations, name)
    except OSError as error:
        raise OSError(
            error.errno, f"{error.strerror}; all detections are in {report.folder / DETECTIONS_FILE}"
        ) from None


def evaluation_title(config: EvaluationConfig) -> str:
    """Return the name of the checkpoint's run, its published name, or the name of its file."""
    if published_checkpoint(config.checkpoint) is not None:
        return str(config.checkpoint)
    file = Path(config.checkpoint)
    return file.parent.name if file.name == WEIGHTS_FILE else file.stem


def _collect_images(
    report: EvaluationReport, indices: Sequence[int], kinds: Sequence[str], missed: Sequence[Mapping[str, Any]]
) -> list[EvaluatedImage]:
    """Return the images with the confident results, of the given kinds, and the missed gts."""
    boxes_of: dict[int, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
    for kind, box in [*zip(kinds, report.confident_results, strict=True), *(("missed", gt) for gt in missed)]:
        if kind != "crowd":
            boxes_of[box["image_id"]].append((kind, box))
    label_of = dict(zip(report.class_names, class_labels([*report.class_names.values()]), strict=True))
    images = []
    for index in indices:
        boxes = boxes_of[report.dataset.annotations.records[index].image_id]
        count = Counter(kind for kind, _ in boxes)
        images.append(
            EvaluatedImage(
                pixels=report.dataset.pixels(index),
                boxes=[[x, y, x + width, y + height] for x, y, width, height in (box["bbox"] for _, box in boxes)],
                kinds=[kind for kind, _ in boxes],
                texts=[_caption(label_of[box["category_id"]], box.get("score")) for _, box in boxes],
                title=" · ".join(_counted(count[kind], kind) for kind in BOX_KINDS if count[kind]),
            )
        )
    return images


def _caption(name: str, score: float | None) -> str:
    return name if score is None else f"{name} {score:.2f}"


def _counted(count: int, kind: str) -> str:
    """Return "3 missed" or "3 detections": of the kinds, one is a noun."""
    return f"{count} {kind}{'s' if kind == 'detection' and count > 1 else ''}"
