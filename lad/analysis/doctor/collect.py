"""Collection of the evidence of a run: its files, its data, and an evaluation of its weights on some images."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from lad.analysis.doctor.evidence import ClassRow, Evidence, ObjectSizes, Teacher
from lad.assigners.candidates import MIN_IOU, match_candidates
from lad.assigners.sparse_iou import sparse_iou_pairs
from lad.config.experiment import Parameters
from lad.config.reading import read_parameters
from lad.data.coco import CocoDataset
from lad.data.collate import batches_of_one_size, padded_hw
from lad.data.records import ImageRecords
from lad.data.transforms import eval_transform, resized_hw
from lad.distillation.methods import METHODS
from lad.evaluation.coco_eval import class_metrics, run_coco_eval, summary_metrics
from lad.evaluation.evaluate import predict_batches
from lad.experiments.run_store import (
    PARAMETERS_FILE,
    RESULTS_FILE,
    Run,
    latest_run,
    open_run,
)
from lad.experiments.setup import open_data
from lad.geometry import box_area, box_iou, make_anchors
from lad.models.serialization import load_detector
from lad.models.transfer import has_classes
from lad.models.zoo import WEIGHTS_FILE
from lad.structures import Targets
from lad.training.devices import find_accelerator
from lad.training.failed_step import FAILED_STEPS
from lad.training.loaders import evaluation_batches, load_batches
from lad.training.metrics_file import METRICS_FILE
from lad.training.saved_weights import BEST_FILES
from lad.utils.memory import keep_freed_memory
from lad.utils.progress import progress_bar

MAX_IMAGES = 200  # of each set, to evaluate on: AP to within two or three points, in a minute or so
MAX_SIZED_IMAGES = 5_000  # whose objects are measured: shares to within a percent
EVALUATION_BATCH, SIZING_BATCH = 4, 64  # images; the second without pixels
SAME = ("data", "train_images", "student", "head", "iou_branch", "width", "channels", "short_sides", "epochs", "init")


def collect(folder: Path, max_images: int = MAX_IMAGES) -> tuple[Evidence, list[str]]:
    """Collect what is known about a run, finished or not.

    Args:
        folder: Folder of the run.
        max_images: Number of training and of validation images to evaluate the weights on; 0 evaluates nothing.

    Returns:
        The evidence, and a line for each part that could not be read.

    Raises:
        ValueError: The folder is not that of a run, or its parameters cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give the folder of a run, in runs/")
    if not (folder / PARAMETERS_FILE).is_file():
        raise ValueError(
            f"{folder}: not the folder of a run, as it has no {PARAMETERS_FILE}; give the folder of a run, in runs/"
        )
    parameters = read_parameters(folder / PARAMETERS_FILE)
    notes: list[str] = []
    epochs, results = _read_epochs(folder, notes), _read_results(folder, notes)
    aps = [line["AP"] for line in epochs if line.get("AP") is not None]
    metrics = _mapping(results.get("metrics"))
    evidence: dict[str, Any] = {
        "epochs": epochs,
        "is_finished": bool(results),
        "ap": _number(metrics.get("AP")) if results else aps[-1] if aps else None,
        "ignores_classes": results.get("ignores_classes") is True,
        "has_failed_step": any(folder.glob(FAILED_STEPS)),
        "num_images": int(_number(results.get("training_images")) or 0) or None,
        "teacher": _teacher(folder, parameters, epochs, results),
        "plain": _plain_student(folder, parameters),
    }
    try:
        train_set, val_set = open_data(parameters)
    except (ValueError, OSError) as error:
        notes.append(f"the data cannot be read, so objects and classes were not checked ({error})")
        return Evidence(parameters, **evidence), notes
    evidence["num_images"] = len(train_set)
    evidence["class_names"] = train_set.annotations.class_names
    evidence["sizes"] = object_sizes(train_set.annotations.records, parameters)
    evidence["classes"] = _count_classes(train_set, val_set)
    weights = _weights_file(folder)
    if max_images and weights is None:
        notes.append("there are no weights of an evaluated epoch yet, so overfitting was not checked")
    elif max_images and weights is not None:
        try:
            evidence |= _evaluate(weights, parameters, train_set, val_set, evidence["classes"], max_images)
        except (ValueError, OSError, RuntimeError) as error:  # the last one: out of memory
            notes.append(f"the weights were not evaluated ({error})")
    return Evidence(parameters, **evidence), notes


def object_sizes(records: ImageRecords, parameters: Parameters) -> ObjectSizes:
    """Measure the training objects after the resize, in at most `MAX_SIZED_IMAGES` images."""
    records = records.take(_spread(len(records), MAX_SIZED_IMAGES))
    short_side = sorted(parameters.short_sides)[len(parameters.short_sides) // 2]
    sizes = [resized_hw((height, width), short_side, parameters.long_side) for height, width in records.hw.tolist()]
    sides, ious, counts = [torch.empty(0)], [torch.empty(0)], [torch.empty(0, dtype=torch.int64)]
    for indices in batches_of_one_size(sizes, SIZING_BATCH):
        batch, image_hw = records.take(indices), torch.tensor([sizes[index] for index in indices])
        image = torch.repeat_interleave(torch.arange(len(indices)), batch.gt_start.diff())
        scale = (image_hw / batch.hw).flip(-1).repeat(1, 2)[image]  # [T, 4]
        targets = Targets(batch.boxes * scale, batch.labels, image, image_hw)
        anchors = make_anchors(padded_hw(image_hw.amax(dim=0).tolist()))
        gt, anchor = sparse_iou_pairs(anchors, targets, MIN_IOU)
        iou = box_iou(targets.boxes[gt], anchors.boxes[anchor])
        ious.append(torch.zeros(len(image)).scatter_reduce(0, gt, iou, "amax"))
        counts.append(torch.bincount(match_candidates(anchors, targets).gt, minlength=len(image)))
        sides.append(box_area(targets.boxes).sqrt())
    return ObjectSizes(torch.cat(sides), torch.cat(ious), torch.cat(counts), short_side)


def _evaluate(
    weights: Path,
    parameters: Parameters,
    train_set: CocoDataset,
    val_set: CocoDataset,
    classes: dict[str, ClassRow],
    max_images: int,
) -> dict[str, Any]:
    """Return AP on images of both sets, and the classes with their AP on those of validation."""
    keep_freed_memory()
    detector = load_detector(weights)
    fabric = Fabric(accelerator=find_accelerator(parameters.accelerator), devices=1)
    detector.to(fabric.device)
    settings = parameters.model_copy(update={"batch_size": EVALUATION_BATCH, "accumulate": 1, "workers": 0})
    transform = eval_transform(parameters.test_short_side, parameters.long_side)
    is_foreign = not has_classes(detector.configuration, train_set.annotations.class_names)
    evals = []
    for title, dataset in (("training", train_set), ("validation", val_set)):
        images = CocoDataset(dataset.images, dataset.annotations, transform)
        images = images.subset(_spread(len(images), max_images))
        batches = load_batches(images, evaluation_batches(images, settings, fabric), settings, fabric)
        shown = progress_bar(batches, f"{title} images")
        results = predict_batches(detector, shown, images.annotations, fabric, is_foreign)
        image_ids = images.annotations.records.image_id.tolist()
        evals.append(run_coco_eval(images.annotations.path, results, image_ids, class_agnostic=is_foreign))
    train_ap, val_ap = (_number(summary_metrics(coco_eval)["AP"]) for coco_eval in evals)
    found: dict[str, Any] = {"train_ap": train_ap, "val_ap": val_ap}
    if is_foreign:  # AP of boxes of any class
        return found
    of_category = class_metrics(evals[1])
    annotations, rows = val_set.annotations, dict(classes)
    for category, name in zip(annotations.category_ids, annotations.class_names, strict=True):
        metrics, row = of_category[category], classes[name]
        rows[name] = ClassRow(row.train, row.val, int(metrics["objects"]), _number(metrics["AP"]))
    return found | {"classes": rows}


def _count_classes(train_set: CocoDataset, val_set: CocoDataset) -> dict[str, ClassRow]:
    names = train_set.annotations.class_names
    train, val = (
        torch.bincount(dataset.annotations.records.labels, minlength=len(names)).tolist()
        for dataset in (train_set, val_set)
    )
    return {name: ClassRow(*counts) for name, *counts in zip(names, train, val, strict=True)}


def _teacher(
    folder: Path, parameters: Parameters, epochs: Sequence[dict[str, float | None]], results: dict[str, Any]
) -> Teacher | None:
    method, title = METHODS[parameters.method], parameters.teacher_title
    if not parameters.needs_teacher or title is None:
        return None
    if method.trains_teacher:
        aps = [line["teacher_AP"] for line in epochs if line.get("teacher_AP") is not None]
        return Teacher(title, aps[-1] if aps else None, epochs=parameters.epochs)
    recorded = _mapping(results.get("teacher"))
    own = _open(folder.parent / str(recorded.get("name"))) if recorded else None
    own = own or _latest(parameters.of_teacher(), folder.parent)
    ap = _number(recorded.get("AP"))
    ignores_classes = recorded.get("ignores_classes") is True
    if own is None:
        return Teacher(title, ap, ignores_classes, parameters.teacher_epochs)
    names = own.results.get("class_names")
    return Teacher(
        title,
        ap if recorded else _ap(own),
        ignores_classes or own.results.get("ignores_classes") is True,
        own.parameters.epochs or None,
        tuple(map(str, names)) if isinstance(names, list) else (),
    )


def _plain_student(folder: Path, parameters: Parameters) -> tuple[str, float] | None:
    """Return name and AP of the run without a teacher beside this one: of the same parameters, else the newest."""
    if not parameters.needs_teacher:
        return None
    run = _latest(parameters.plain(), folder.parent)
    if run is None:
        like = [
            run
            for run in _beside(folder)
            if not run.parameters.needs_teacher
            and all(getattr(run.parameters, name) == getattr(parameters, name) for name in SAME)
        ]
        run = like[-1] if like else None
    ap = None if run is None else _ap(run)
    return None if run is None or ap is None else (run.name, ap)


def _latest(parameters: Parameters, out: Path) -> Run | None:
    try:
        return latest_run(parameters.model_copy(update={"out": str(out)}))
    except (ValueError, OSError):
        return None


def _open(folder: Path) -> Run | None:
    try:
        return open_run(folder)
    except (ValueError, OSError):
        return None


def _beside(folder: Path) -> list[Run]:
    """Return the readable finished runs in the same folder, oldest first."""
    runs = [_open(path.parent) for path in folder.parent.glob(f"*/{RESULTS_FILE}")]
    return sorted((run for run in runs if run is not None), key=lambda run: str(run.results.get("finished")))


def _ap(run: Run) -> float | None:
    return _number(_mapping(run.results.get("metrics")).get("AP"))


def _read_epochs(folder: Path, notes: list[str]) -> list[dict[str, float | None]]:
    """Return the readable lines of metrics.jsonl, with None for everything that is not a finite number."""
    try:
        lines = (folder / METRICS_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    epochs = []
    for line in lines:
        try:
            epochs.append({name: _number(value) for name, value in dict(json.loads(line)).items()})
        except (ValueError, TypeError, RecursionError):
            continue
    if len(epochs) < len(lines):
        notes.append(f"{METRICS_FILE} has {len(lines) - len(epochs)} broken lines, which were left out")
    return epochs


def _read_results(folder: Path, notes: list[str]) -> dict[str, Any]:
    """Return the content of results.json; empty for a run that is not finished, or whose file is corrupted."""
    try:
        return dict(json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, RecursionError):
        notes.append(f"{RESULTS_FILE} is corrupted, so this is diagnosed as an unfinished run")
        return {}


def _weights_file(folder: Path) -> Path | None:
    """Return the final weights or, of an unfinished run, the best so far."""
    files = (folder / WEIGHTS_FILE, folder / BEST_FILES["AP"])
    return next((file for file in files if file.is_file()), None)


def _spread(count: int, at_most: int) -> list[int]:
    """Return at most so many indices of `count`, at equal distances."""
    chosen = min(count, at_most)
    return [index * count // chosen for index in range(chosen)]


def _number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
