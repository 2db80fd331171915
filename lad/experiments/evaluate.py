"""Evaluation of a checkpoint on a data set in COCO format: detections and COCO metrics, kept in a folder."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lad.config.evaluation import EvaluationConfig, existing_path, make_evaluation_config
from lad.config.identity import without_added
from lad.data.coco import CocoDataset, open_splits
from lad.data.synthetic.difficulties import DIFFICULTIES
from lad.data.synthetic.folders import data_folder
from lad.evaluation.coco_eval import run_coco_eval
from lad.evaluation.detection_limit import FULL_IMAGES, count_full_images, describe_crowded_images, describe_full_images
from lad.evaluation.evaluate import coco_results
from lad.experiments.evaluation_report import DETECTIONS_FILE, EvaluationReport, evaluation_title
from lad.experiments.fingerprint import code_of_inference
from lad.experiments.run_results import versions
from lad.experiments.run_store import Run, finished_runs, open_run
from lad.inference.predictor import predict
from lad.inference.tta import ATSS_TTA_VIEWS, TTAView, with_flips
from lad.models.detector import Configuration, Detector
from lad.models.serialization import load_detector
from lad.models.zoo import WEIGHTS_FILE, checkpoint_file, is_published
from lad.training.devices import find_accelerator
from lad.utils.atomic_io import write_json
from lad.utils.download import sha256_of
from lad.utils.memory import keep_freed_memory
from lad.utils.messages import counted, format_value, given_values
from lad.utils.paths import ensure_writable
from lad.utils.progress import log, progress_bar

RESULTS_FILE = "results.json"
SCALE_FACTORS = (0.75, 1.0, 1.25)  # of the test size, for views="multi_scale"


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

    Detections and metrics are saved in a subfolder of `config.out`. Its name has a hash of the weights, the images, the
    annotations, the code and every parameter that changes detections; detections found there are reused.

    Raises:
        ValueError: If the checkpoint cannot be downloaded, the checkpoint or the data set cannot be read, their classes
            differ, or `config.out` cannot be written.
    """
    keep_freed_memory()
    ensure_writable(config.out, "out")
    detector = load_detector(config.checkpoint, config.part, config.iou_branch, config.sha256)
    dataset = _open_dataset(config)
    if config.val_share is not None:
        log(
            f"{dataset.annotations.path.name}: {counted(len(dataset), 'image')}, the {config.split} part of it "
            f"(val_share {config.val_share:g}); give a folder with instances_val.json to evaluate all of its images"
        )
    _check_classes(detector.configuration, dataset, config)
    folder = config.out / _folder_name(config, detector.configuration, dataset)
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


def _open_dataset(config: EvaluationConfig) -> CocoDataset:
    (dataset,) = open_splits(data_folder(config.data), (config.split,), config.images, config.val_share)
    return dataset.subset(range(min(config.max_images or len(dataset), len(dataset))))


def _check_classes(configuration: Configuration, dataset: CocoDataset, config: EvaluationConfig) -> None:
    class_names = dataset.annotations.class_names
    if configuration.num_classes != len(class_names):
        known = ", ".join(configuration.class_names[:3]) or "names unknown"
        raise ValueError(
            f"checkpoint '{config.checkpoint}' has {configuration.num_classes} classes ({known} …), but "
            f"{dataset.annotations.path} has {len(class_names)} ({', '.join(class_names[:3])} …); they must be the same"
        )
    pairs = zip(configuration.class_names, class_names, strict=False)
    label, (own, given) = next(((label, pair) for label, pair in enumerate(pairs) if pair[0] != pair[1]), (0, ("", "")))
    if own != given:
        raise ValueError(
            f"class {label} of checkpoint '{config.checkpoint}' is {format_value(own)}, but {format_value(given)} in "
            f"{dataset.annotations.path}; all classes must be the same, in the same order"
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
    images = (dataset.pixels(index) for index in progress_bar(range(len(dataset)), evaluation_title(config)))
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


def _state_of_images(dataset: CocoDataset) -> str:
    """Return a hash of size and modification time of each image file: reading all of them would take minutes."""
    digest = hashlib.sha256()
    for name in dataset.annotations.records.file_names():
        path = dataset.images / name
        status = path.stat() if path.is_file() else None
        digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode() if status else b"missing\n")
    return digest.hexdigest()


def _folder_name(config: EvaluationConfig, configuration: Configuration, dataset: CocoDataset) -> str:
    """Return the names of checkpoint and data, and a hash of everything that the detections depend on."""
    irrelevant = {"min_score", "expected_ap", "sha256", "batch_size", "accelerator", "evaluator", "out", "checkpoint"}
    content = without_added(config.model_dump(mode="json", exclude=irrelevant))
    weights = checkpoint_file(config.checkpoint, config.sha256)
    for name, path in (("weights", weights), ("annotations", dataset.annotations.path)):
        content[name] = sha256_of(path)
    content["images"] = _state_of_images(dataset)
    content["code"] = code_of_inference(configuration.backbone, configuration.head)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
    return f"{evaluation_title(config)}-on-{Path(config.data).name.removesuffix('.json')}-{config.split}-{digest}"
