"""One checkpoint, any data set in COCO format: detections, the twelve numbers, and where they come from."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pycocotools.cocoeval import COCOeval

from lad.config.evaluation import EvaluationConfig, existing_path, make_evaluation_config
from lad.config.notebook import notebook_values
from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset, find_split
from lad.data.synthetic.shapes import data_folder
from lad.evaluation.coco_eval import class_metrics, coco_results, metrics_of, run_coco_eval
from lad.evaluation.error_analysis import KINDS, ErrorReport, EvaluatedImage, classify_errors, count_errors, delta_ap
from lad.evaluation.submission import write_submission
from lad.experiments.run_store import WEIGHTS_FILE, finished_runs, open_run
from lad.experiments.runner import versions, write_json
from lad.inference.predictor import predict
from lad.inference.tta import ATSS_TTA_VIEWS, TTAView, flipped_too
from lad.models.detector import Configuration, Detector
from lad.models.serialization import load_detector
from lad.training.devices import find_accelerator
from lad.utils.messages import given_values
from lad.utils.progress import log, progress_bar

DETECTIONS_FILE, RESULTS_FILE = "detections.json", "results.json"
TOLERANCE = 0.1  # of a published AP, in percent
RESIZINGS = (0.75, 1.0, 1.25)  # of the test size, for views="multi_scale"


@dataclass(frozen=True)
class EvaluationReport:
    """What a checkpoint found. results: COCO's format, all scores. coco_eval: None where nobody has the gts."""

    config: EvaluationConfig
    configuration: Configuration
    dataset: CocoDataset
    results: list[dict[str, Any]]
    coco_eval: COCOeval | None
    folder: Path

    @property
    def image_ids(self) -> list[int]:
        return [record.image_id for record in self.dataset.annotations.records]

    @cached_property
    def confident_results(self) -> list[dict[str, Any]]:
        """Those of at least the config's min_score."""
        return [result for result in self.results if result["score"] >= self.config.min_score]

    @cached_property
    def error_report(self) -> ErrorReport:
        """What each of the sure results is, and what they miss."""
        return classify_errors(self._judged.cocoGt, self.confident_results, self.image_ids)

    @property
    def metrics(self) -> dict[str, float]:
        """The twelve COCO numbers."""
        return metrics_of(self._judged)

    @property
    def _judged(self) -> COCOeval:
        if self.coco_eval is None:
            raise ValueError(
                f"{self.dataset.annotations.path}: has no ground truth to judge by; notebooks/test_dev.ipynb makes the "
                "file that the evaluation server takes"
            )
        return self.coco_eval


def notebook_evaluation_config(namespace: Mapping[str, Any]) -> EvaluationConfig:
    """The config from a notebook's variables (`globals()`); see `notebook_values`."""
    return complete_evaluation_config(notebook_values(namespace))


def complete_evaluation_config(given: Mapping[str, Any]) -> EvaluationConfig:
    """A config from the given values; None means "not given". Without a checkpoint it is the newest finished run's,
    without data those that the run was trained on.

    Raises ValueError with one line that names each parameter that is wrong, its value, and what is right.
    """
    values = given_values(given, EvaluationConfig)
    checkpoint = existing_path("checkpoint", values.get("checkpoint", "runs"), values.get("source", ""))
    if checkpoint.is_dir():
        runs = [one for one in (open_run(checkpoint), *finished_runs(checkpoint)) if one is not None]
        if not runs:
            raise ValueError(
                f"parameter 'checkpoint' = '{checkpoint}': no finished run in this folder; train one with "
                "`make run`, or give a checkpoint file"
            )
        checkpoint = runs[-1].folder / WEIGHTS_FILE
    run = open_run(checkpoint.parent)
    if "data" not in values and run is None:
        raise ValueError("parameter 'data' is needed for a checkpoint that is not a run's: a folder in COCO format")
    data = values.get("data") or (run and run.parameters.data)
    return make_evaluation_config({**values, "checkpoint": checkpoint, "data": data})


def evaluate_checkpoint(config: EvaluationConfig) -> EvaluationReport:
    """Run the checkpoint on the images, or find what it found before, and judge it. Detections and numbers are kept in
    the config's folder.

    Raises ValueError when the checkpoint or the data cannot be used, or do not have the same classes.
    """
    detector = load_detector(config.checkpoint, config.part, config.iou_branch)
    dataset = _open(config)
    _check_classes(detector.configuration, dataset, config)
    folder = config.out / _name(config, dataset.annotations.path)
    if (folder / DETECTIONS_FILE).is_file():
        results = json.loads((folder / DETECTIONS_FILE).read_text())
        log(f"{folder.name} · detections found, as they were made before")
    else:
        results = _detect(detector, dataset, config)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / DETECTIONS_FILE, results, indent=None)
    image_ids = [record.image_id for record in dataset.annotations.records]
    coco_eval = None
    if dataset.annotations.is_annotated:
        coco_eval = run_coco_eval(dataset.annotations.path, results, image_ids, config.evaluator)
    found = EvaluationReport(config, detector.configuration, dataset, results, coco_eval, folder)
    write_json(
        folder / RESULTS_FILE,
        {
            "config": config.model_dump(mode="json"),
            "metrics": {name: None if math.isnan(v) else v for name, v in found.metrics.items()} if coco_eval else None,
            "images": len(dataset),
            "detections": len(results),
            "versions": versions(),
        },
    )
    return found


def metrics_table(found: EvaluationReport) -> pd.DataFrame:
    """The twelve numbers in one row."""
    return pd.DataFrame([found.metrics], index=[_title(found.config)])


def class_table(found: EvaluationReport) -> pd.DataFrame:
    """One row per class, best AP first: its objects, AP, AP50, AP75; classes without objects are left out."""
    annotations = found.dataset.annotations
    names = dict(zip(annotations.category_ids, annotations.class_names, strict=True))
    rows = [(names[category], row) for category, row in class_metrics(found._judged).items() if row["objects"]]
    table = pd.DataFrame(
        [row for _, row in rows], index=[name for name, _ in rows], columns=["objects", "AP", "AP50", "AP75"]
    )
    return table.sort_values("AP", ascending=False).astype({"objects": int})


def error_table(found: EvaluationReport) -> pd.DataFrame:
    """Sure detections and missed objects by kind and size, and the AP50 that each kind of error costs."""
    counts = count_errors(found._judged.cocoGt, found.confident_results, found.error_report)
    table = pd.DataFrame.from_dict(counts, orient="index")
    table.insert(0, "all", table.sum(axis=1))
    table["AP50 lost"] = pd.Series(delta_ap(found._judged.cocoGt, found.results, found.image_ids))
    return table


def ranked_images(found: EvaluationReport) -> list[int]:
    """Indices of the images that have objects, best first: by F1 = 2 · correct / (detections + objects) of the sure
    detections; of equals, the one with more objects first."""
    kinds: dict[int, list[str]] = {image_id: [] for image_id in found.image_ids}
    for result, kind in zip(found.confident_results, found.error_report.kind, strict=True):
        kinds[result["image_id"]].append(kind)

    def quality(index: int) -> tuple[float, int]:
        record = found.dataset.annotations.records[index]
        mine = [kind for kind in kinds[record.image_id] if kind != "crowd"]
        return 2 * mine.count("correct") / (len(mine) + len(record.boxes)), len(record.boxes)

    records = found.dataset.annotations.records
    return sorted((i for i, record in enumerate(records) if len(record.boxes)), key=quality, reverse=True)


def evaluated_images(found: EvaluationReport, indices: Sequence[int]) -> list[EvaluatedImage]:
    """These images with every sure detection and every missed object, for `lad.figures.draw_evaluated`."""
    truth = found._judged.cocoGt
    missed = [truth.anns[gt_id] for gt_id in found.error_report.missed]
    return _pictures(found, indices, found.error_report.kind, missed)


def shown_images(found: EvaluationReport, indices: Sequence[int]) -> list[EvaluatedImage]:
    """These images with every sure detection, where nobody has the gts to judge by."""
    return _pictures(found, indices, ["detection"] * len(found.confident_results), [])


def verdict(found: EvaluationReport) -> str:
    """One line: the AP, and whether it is the one that was expected."""
    percent = 100 * found.metrics["AP"]
    if math.isnan(percent):
        return f"no AP: the {len(found.dataset)} images have no objects"
    expected = found.config.expected_ap
    if expected is None:
        return f"AP {percent:.1f} on {len(found.dataset)} images; no AP was expected"
    is_met = abs(round(percent, 1) - expected) < TOLERANCE + 1e-9  # published numbers are rounded to a tenth
    answer = "met" if is_met else f"NOT met, {percent - expected:+.1f}"
    return f"AP {percent:.1f} on {len(found.dataset)} images; {expected:.1f} was expected: {answer}"


def submit(found: EvaluationReport, name: str = "lad") -> Path:
    """Write the zip for COCO's evaluation server into the examination's folder. Boxes without area are left out."""
    with_area = [result for result in found.results if result["bbox"][2] > 0 and result["bbox"][3] > 0]
    return write_submission(found.folder, with_area, found.dataset.annotations, name)


def _pictures(
    found: EvaluationReport, indices: Sequence[int], kinds: Sequence[str], missed: Sequence[Mapping[str, Any]]
) -> list[EvaluatedImage]:
    annotations = found.dataset.annotations
    names = dict(zip(annotations.category_ids, annotations.class_names, strict=True))
    boxes_of: dict[int, list[tuple[str, Mapping[str, Any]]]] = {}
    for kind, one in [*zip(kinds, found.confident_results, strict=True), *(("missed", gt) for gt in missed)]:
        if kind != "crowd":
            boxes_of.setdefault(one["image_id"], []).append((kind, one))
    pictures = []
    for index in indices:
        here = boxes_of.get(annotations.records[index].image_id, [])
        number = Counter(kind for kind, _ in here)
        pictures.append(
            EvaluatedImage(
                pixels=found.dataset.pixels(index),
                boxes=[[x, y, x + width, y + height] for x, y, width, height in (one["bbox"] for _, one in here)],
                kinds=[kind for kind, _ in here],
                texts=[_words(names[one["category_id"]], one.get("score")) for _, one in here],
                title=" · ".join(f"{number[kind]} {kind}" for kind in KINDS if number[kind]),
            )
        )
    return pictures


def _title(config: EvaluationConfig) -> str:
    """A checkpoint's name for people: the run's or the file's."""
    is_run = config.checkpoint.name == WEIGHTS_FILE
    return config.checkpoint.parent.name if is_run else config.checkpoint.stem


def _words(name: str, score: float | None) -> str:
    return name if score is None else f"{name} {score:.2f}"


def _open(config: EvaluationConfig) -> CocoDataset:
    images, path = find_split(data_folder(config.data), config.split)
    dataset = CocoDataset(images, read_annotations(path))
    return dataset.subset(range(min(config.max_images or len(dataset), len(dataset))))


def _check_classes(configuration: Configuration, dataset: CocoDataset, config: EvaluationConfig) -> None:
    theirs = dataset.annotations.class_names
    if configuration.num_classes != len(theirs) or configuration.class_names not in ((), theirs):
        known = ", ".join(configuration.class_names[:3]) or "names unknown"
        raise ValueError(
            f"checkpoint '{config.checkpoint}' tells {configuration.num_classes} classes apart ({known} …), but "
            f"{dataset.annotations.path} lists {len(theirs)} ({', '.join(theirs[:3])} …); they must be the same"
        )


def _views(config: EvaluationConfig, configuration: Configuration) -> tuple[TTAView, ...]:
    short = config.short_side or configuration.short_side
    long = config.long_side or configuration.long_side
    if config.views == "strongest":
        return ATSS_TTA_VIEWS
    if config.views == "multi_scale":
        return flipped_too([TTAView(round(short * factor), round(long * factor)) for factor in RESIZINGS])
    return flipped_too([TTAView(short, long)]) if config.views == "flip" else (TTAView(short, long),)


def _detect(detector: Detector, dataset: CocoDataset, config: EvaluationConfig) -> list[dict[str, Any]]:
    detector.to(find_accelerator(config.accelerator))
    images = (dataset.pixels(index) for index in progress_bar(range(len(dataset)), config.checkpoint.stem))
    detections = predict(
        detector,
        images,
        batch_size=config.batch_size,
        views=_views(config, detector.configuration),
        merge="soft_vote" if config.views == "strongest" else "nms",
        vote=config.vote,
    )
    return [
        result
        for record, one in zip(dataset.annotations.records, detections, strict=True)
        for result in coco_results(record.image_id, one, dataset.annotations.category_ids)
    ]


def _name(config: EvaluationConfig, annotations: Path) -> str:
    """Checkpoint and data, and a hash of weights, annotations and all else that the detections depend on."""
    shown_only = {"min_score", "expected_ap", "source", "batch_size", "accelerator", "evaluator", "out", "checkpoint"}
    content = config.model_dump(mode="json", exclude=shown_only)
    for name, path in (("weights", config.checkpoint), ("annotations", annotations)):
        content[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
    return f"{_title(config)}-on-{Path(config.data).name}-{config.split}-{digest}"
