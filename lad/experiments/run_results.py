"""The files of a finished run: its weights and results.json."""

import importlib.metadata
import math
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

import lad
from lad.config.experiment import Parameters
from lad.data.coco import CocoDataset
from lad.distillation.assignment_cache import CACHE_FILES
from lad.evaluation.coco_eval import metric_names
from lad.evaluation.detection_limit import FULL_IMAGES, describe_full_images
from lad.experiments.fingerprint import Fingerprint
from lad.experiments.run_store import (
    RAW_WEIGHTS_FILE,
    RESULTS_FILE,
    SECOND_RAW_WEIGHTS_FILE,
    SECOND_WEIGHTS_FILE,
    Run,
)
from lad.experiments.teacher import teacher_summary
from lad.models.detector import Detector
from lad.models.serialization import save_detector
from lad.models.student_teacher import TrainedNetwork, detectors_of
from lad.models.transfer import has_classes
from lad.models.zoo import WEIGHTS_FILE
from lad.training.checkpoint import checkpoints
from lad.training.devices import hardware
from lad.training.metrics_file import read_metrics
from lad.utils.atomic_io import write_json
from lad.utils.download import sha256_of
from lad.utils.memory import peak_memory
from lad.utils.progress import log

VERSIONS_OF = ("torch", "torchvision", "lightning-fabric", "pycocotools", "numpy")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on."""
    own = {"python": platform.python_version(), "lad": lad.__version__}  # lad may run from a checkout, not installed
    return own | {name: importlib.metadata.version(name) for name in VERSIONS_OF}


def save_run(
    parameters: Parameters,
    folder: Path,
    trained: TrainedNetwork,
    evaluated: TrainedNetwork,
    metrics: Mapping[str, float],
    train_set: CocoDataset,
    val_set: CocoDataset,
    teacher: Run | None,
    other_teachers: Sequence[Run],
    code: Fingerprint,
    fabric: Fabric,
) -> None:
    """Write a finished run's weights and, last, results.json; delete what only an unfinished run needs.

    Args:
        parameters: Parameters of the run.
        folder: Folder of the run.
        trained: The network after its last step, or the pair of co-learning.
        evaluated: The network that was evaluated: with `ema` the average of the weights, else `trained`.
        metrics: Its COCO metrics; those of a pair's teacher start with `teacher_`.
        train_set: Training images.
        val_set: Validation images.
        teacher: Run of the teacher, if there is a trained one.
        other_teachers: Runs of the further teachers.
        code: The code that made the run.
        fabric: Devices and precision.

    Raises:
        OSError: A file cannot be written; names it.
    """
    memory = peak_memory(fabric.device)
    if evaluated is not trained:
        _save_networks(trained, folder / RAW_WEIGHTS_FILE, folder / SECOND_RAW_WEIGHTS_FILE)
    detector = _save_networks(evaluated, folder / WEIGHTS_FILE, folder / SECOND_WEIGHTS_FILE)
    if full := describe_full_images(int(metrics.get(FULL_IMAGES, 0)), val_set.annotations, parameters.max_detections):
        log(f"{folder.name}: {full}")
    names = metric_names(parameters.max_detections)
    numbers = {name: None if math.isnan(value) else value for name, value in metrics.items()}
    results = {
        "name": folder.name,
        "metrics": {name: numbers[name] for name in names},
        "teacher_metrics": {name: numbers.get(f"teacher_{name}") for name in names},
        FULL_IMAGES: numbers.get(FULL_IMAGES),
        "best": _best_epoch(folder, "AP"),
        "teacher_best": _best_epoch(folder, "teacher_AP"),
        "num_classes": detector.configuration.num_classes,
        "class_names": detector.configuration.class_names,
        "ignores_classes": not has_classes(detector.configuration, train_set.annotations.class_names),
        "training_sha256": sha256_of(train_set.annotations.path),
        "validation_sha256": sha256_of(val_set.annotations.path),
        "parameter_count": sum(parameter.numel() for parameter in detector.parameters()),
        "weights_sha256": sha256_of(folder / WEIGHTS_FILE),
        "teacher": teacher_summary(teacher) if teacher is not None else None,
        "other_teachers": [teacher_summary(run) for run in other_teachers],
        "seed": parameters.seed,
        "training_images": len(train_set),
        "validation_images": len(val_set),
        "seconds": sum(line["seconds"] for line in read_metrics(folder)),
        "peak_memory": memory,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "hardware": hardware(fabric),
        "code": code.to_json(),
    }
    write_json(folder / RESULTS_FILE, results)
    for path in (*checkpoints(folder), *folder.glob(CACHE_FILES)):
        path.unlink(missing_ok=True)


def _save_networks(network: TrainedNetwork, path: Path, second_path: Path) -> Detector:
    """Save the network, or both of co-learning, and return the student."""
    detectors = detectors_of(network)
    for name, detector in detectors.items():
        save_detector(detector, path if name == "student" else second_path)
    return detectors["student"]


def _best_epoch(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the epoch of highest AP, whose weights are in one of `BEST_FILES`; optimistic, as it is chosen on val."""
    lines = [line for line in read_metrics(folder) if line.get(name) is not None]
    best = max(lines, key=lambda line: line[name], default=None)
    return best and {"epoch": int(best["epoch"]), "AP": best[name]}
