"""Evaluation of a checkpoint on a data set in COCO format: detections, COCO metrics, error analysis and images."""

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pycocotools.cocoeval import COCOeval

from lad.config.evaluation import EvaluationConfig, existing_path, make_evaluation_config
from lad.config.identity import without_added
from lad.data.coco import CocoDataset, open_splits
from lad.data.synthetic.shapes import DIFFICULTIES, data_folder
from lad.evaluation.coco_eval import class_metrics, run_coco_eval, summary_metrics
from lad.evaluation.detection_limit import FULL_IMAGES, count_full_images, describe_crowded_images, describe_full_images
from lad.evaluation.error_analysis import (
    BOX_KINDS,
    ErrorReport,
    EvaluatedImage,
    classify_errors,
    count_errors,
    delta_ap,
)
from lad.evaluation.evaluate import coco_results
from lad.evaluation.submission import MAX_DETECTIONS_PER_IMAGE, write_submission
from lad.experiments.run_store import WEIGHTS_FILE, Run, finished_runs, open_run
from lad.experiments.runner import versions, write_json
from lad.inference.predictor import predict
from lad.inference.tta import ATSS_TTA_VIEWS, TTAView, with_flips
from lad.models.detector import Configuration, Detector
from lad.models.serialization import load_detector
from lad.models.zoo import checkpoint_file, is_published, published_checkpoint
from lad.training.devices import find_accelerator
from lad.utils.class_labels import class_labels
from lad.utils.download import sha256_of
from lad.utils.memory import keep_freed_memory
from lad.utils.messages import given_values
from lad.utils.paths import ensure_writable
from lad.utils.progress import log, progress_bar

DETECTIONS_FILE, RESULTS_FILE = "detections.json", "results.json"
AP_TOLERANCE = 0.1  # percent; published numbers are rounded to a tenth
SCALE_FACTORS = (0.75, 1.0, 1.25)  # of the test size, for views="multi_scale"


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


def resolve_evaluation_config(given: Mapping[str, Any]) -> EvaluationConfig:
    """Return a config in which a run's checkpoint and data are filled in.

    Args:
        given: Values by name, where None means "not given". Without a checkpoint, or with a folder of runs, the newest
            finished run is used; without data, the data set that the run was trained on, or COCO for a published name.

    Raises:
        ValueError: If a parameter is unknown or invalid, or no finished run exists; one line that names it.
    """
    values = given_values(given, EvaluationConfig)
    if is_published(values.get("checkpoint", "")):
        return make_evaluation_config(values)
    checkpoint = existing_path("checkpoint", values.get("checkpoint", "runs"))
    if checkpoint.is_dir():
        trained = [run for run in finished_runs(checkpoint) if run.parameters.epochs]
        runs = [run for run in (open_run(checkpoint), *trained) if run is not None]
        if not runs:
            raise ValueError(
                f"parameter 'checkpoint' = '{checkpoint}': no finished run in this folder; train one with "
                "`make run`, or give a checkpoint file"
            )
        checkpoint = runs[-1].folder / WEIGHTS_FILE
    run = open_run(checkpoint.parent)
    if "data" not in values and run is None:
        raise ValueError("parameter 'data' is required unless the checkpoint is a run's: give a folder in COCO format")
    if run is not None and _is_data_of(run, values.get("data")):
        values = {name: getattr(run.parameters, name) for name in ("data", "images", "val_share")} | values
    return make_evaluation_config({**values, "checkpoint": checkpoint})


def _is_data_of(run: Run, data: Any) -> bool:
    """Return whether a run was trained on this data; None is its own."""
    own = run.parameters.data
    return data is None or str(data) == own or (data not in DIFFICULTIES and str(existing_path("data", data)) == own)


def evaluate_checkpoint(config: EvaluationConfig) -> EvaluationReport:
    """Run the checkpoint on the images and compute its metrics.

    Detections and metrics are saved in a subfolder of `config.out`. Its name has a hash of the weights, the annotations
    and every parameter that changes detections; detections found there are reused.

    Raises:
        ValueError: If the checkpoint cannot be downloaded, the checkpoint or the data set cannot be read, their classes
            differ, or `config.out` cannot be written.
    """
    keep_freed_memory()
    ensure_writable(config.out, "out")
    detector = load_detector(config.checkpoint, config.part, config.iou_branch, config.sha256)
    dataset = _open_dataset(config)
    _check_classes(detector.configuration, dataset, config)
    folder = config.out / _folder_name(config, dataset.annotations.path)
    ensure_writable(folder, "out")
    folder.mkdir(parents=True, exist_ok=True)
    if crowded := describe_crowded_images(dataset.annotations, config.max_detections):
        log(crowded)
    if (folder / DETECTIONS_FILE).is_file():
        results = json.loads((folder / DETECTIONS_FILE).read_text())
        log(f"{folder.name}: using cached detections")
    else:
        results = _detect(detector, dataset, config)
        _save(folder / DETECTIONS_FILE, results, indent=None)
    image_ids = [record.image_id for record in dataset.annotations.records]
    coco_eval = None
    if dataset.annotations.is_annotated:
        coco_eval = run_coco_eval(
            dataset.annotations.path, results, image_ids, config.evaluator, max_detections=config.max_detections
        )
    full = count_full_images(results, config.max_detections)
    if coco_eval is not None and (line := describe_full_images(full, dataset.annotations, config.max_detections)):
        log(line)
    report = EvaluationReport(config, detector.configuration, dataset, results, coco_eval, folder)
    metrics = None
    if coco_eval is not None:
        metrics = {name: None if math.isnan(value) else value for name, value in report.metrics.items()}
    _save(
        folder / RESULTS_FILE,
        {
            "config": config.model_dump(mode="json"),
            "metrics": metrics,
            "images": len(dataset),
            "detections": len(results),
            FULL_IMAGES: full,
            "versions": versions(),
        },
    )
    return report


def metrics_table(report: EvaluationReport) -> pd.DataFrame:
    """Return the twelve COCO metrics as a table of one row."""
    return pd.DataFrame([report.metrics], index=[_title(report.config)])


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


def ap_summary(report: EvaluationReport) -> str:
    """Return one line with the AP in percent and, if an AP is expected, whether it matches to within 0.1."""
    percent = 100 * report.metrics["AP"]
    if math.isnan(percent):
        return f"no AP: the {len(report.dataset)} images have no objects"
    line = f"AP {percent:.1f} on {len(report.dataset)} images"
    expected = report.config.expected_ap
    if expected is None:
        return f"{line}; no expected AP given"
    is_match = abs(round(percent, 1) - expected) < AP_TOLERANCE + 1e-9
    return f"{line}; expected {expected:.1f}: {'matches' if is_match else f'DIFFERS by {percent - expected:+.1f}'}"


def save_submission(report: EvaluationReport, name: str = "lad") -> Path:
    """Write the zip for COCO's evaluation server to the report's folder, and return its path.

    It has no boxes without area and, of each image, only the best 100 results, which the server evaluates.
    """
    of_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for result in report.results:  # of each image, best first
        if result["bbox"][2] > 0 and result["bbox"][3] > 0:
            of_image[result["image_id"]].append(result)
    best = [result for results in of_image.values() for result in results[:MAX_DETECTIONS_PER_IMAGE]]
    try:
        return write_submission(report.folder, best, report.dataset.annotations, name)
    except OSError as error:
        raise OSError(
            error.errno, f"{error.strerror}; all detections are in {report.folder / DETECTIONS_FILE}"
        ) from None


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
                title=" · ".join(f"{count[kind]} {kind}" for kind in BOX_KINDS if count[kind]),
            )
        )
    return images


def _title(config: EvaluationConfig) -> str:
    """Return the name of the checkpoint's run, its published name, or the name of its file."""
    if published_checkpoint(config.checkpoint) is not None:
        return str(config.checkpoint)
    file = Path(config.checkpoint)
    return file.parent.name if file.name == WEIGHTS_FILE else file.stem


def _caption(name: str, score: float | None) -> str:
    return name if score is None else f"{name} {score:.2f}"


def _open_dataset(config: EvaluationConfig) -> CocoDataset:
    (dataset,) = open_splits(data_folder(config.data), (config.split,), config.images, config.val_share)
    return dataset.subset(range(min(config.max_images or len(dataset), len(dataset))))


def _check_classes(configuration: Configuration, dataset: CocoDataset, config: EvaluationConfig) -> None:
    class_names = dataset.annotations.class_names
    if configuration.num_classes != len(class_names) or configuration.class_names not in ((), class_names):
        known = ", ".join(configuration.class_names[:3]) or "names unknown"
        raise ValueError(
            f"checkpoint '{config.checkpoint}' has {configuration.num_classes} classes ({known} …), but "
            f"{dataset.annotations.path} has {len(class_names)} ({', '.join(class_names[:3])} …); they must be the same"
        )


def _views(config: EvaluationConfig, configuration: Configuration) -> tuple[TTAView, ...]:
    short = config.short_side or configuration.short_side
    long = config.long_side or configuration.long_side
    if config.views == "strongest":
        return ATSS_TTA_VIEWS
    if config.views == "multi_scale":
        return with_flips([TTAView(round(short * factor), round(long * factor)) for factor in SCALE_FACTORS])
    return with_flips([TTAView(short, long)]) if config.views == "flip" else (TTAView(short, long),)


def _detect(detector: Detector, dataset: CocoDataset, config: EvaluationConfig) -> list[dict[str, Any]]:
    detector.to(find_accelerator(config.accelerator))
    images = (dataset.pixels(index) for index in progress_bar(range(len(dataset)), _title(config)))
    detections = predict(
        detector,
        images,
        batch_size=config.batch_size,
        views=_views(config, detector.configuration),
        merge="soft_vote" if config.views == "strongest" else "nms",
        vote=config.vote,
        max_detections=config.max_detections,
    )
    return [
        result
        for record, of_image in zip(dataset.annotations.records, detections, strict=True)
        for result in coco_results(record.image_id, of_image, dataset.annotations.category_ids)
    ]


def _save(path: Path, content: Any, indent: int | None = 2) -> None:
    """Write a JSON file; if that fails, log it: the numbers are in memory, and the notebook shows them."""
    try:
        write_json(path, content, indent)
    except OSError as error:
        log(f"{error.strerror}; the evaluation continues without this file")


def _folder_name(config: EvaluationConfig, annotations: Path) -> str:
    """Return the names of checkpoint and data, and a hash of everything that the detections depend on."""
    irrelevant = {"min_score", "expected_ap", "sha256", "batch_size", "accelerator", "evaluator", "out", "checkpoint"}
    content = without_added(config.model_dump(mode="json", exclude=irrelevant))
    weights = checkpoint_file(config.checkpoint, config.sha256)
    for name, path in (("weights", weights), ("annotations", annotations)):
        content[name] = sha256_of(path)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
    return f"{_title(config)}-on-{Path(config.data).name.removesuffix('.json')}-{config.split}-{digest}"
