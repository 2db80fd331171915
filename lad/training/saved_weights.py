"""Weights that a run saves while it trains: those of every epoch, and those of the highest AP."""

import math
from collections.abc import Mapping
from pathlib import Path

from lad.models.serialization import save_detector
from lad.models.student_teacher import TrainedNetwork, detectors_of
from lad.training.metrics_file import read_metrics

EPOCHS_FOLDER = "epochs"
BEST_FILES = {"AP": "model_best.safetensors", "teacher_AP": "teacher_best.safetensors"}  # by the metric that decides


def save_best(folder: Path, network: TrainedNetwork, metrics: Mapping[str, float]) -> None:
    """Save each network of the run whose AP exceeds that of all earlier epochs.

    Args:
        folder: Folder of the run; its metrics.jsonl holds the earlier epochs.
        network: The evaluated network, or the pair of co-learning.
        metrics: Metrics of this epoch; empty without an evaluation.
    """
    metric_of = {"student": "AP", "teacher": "teacher_AP"}
    networks = {metric_of[name]: detector for name, detector in detectors_of(network).items()}
    earlier = read_metrics(folder)
    for name, detector in networks.items():
        best = max((line[name] for line in earlier if line.get(name) is not None), default=-math.inf)
        if metrics.get(name, math.nan) > best:
            save_detector(detector, folder / BEST_FILES[name])


def save_epoch(folder: Path, network: TrainedNetwork, epochs_done: int) -> None:
    """Save the weights after an epoch, of both networks in co-learning."""
    (folder / EPOCHS_FOLDER).mkdir(exist_ok=True)
    for name, detector in detectors_of(network).items():
        save_detector(detector, epoch_file(folder, epochs_done, name))


def epoch_file(folder: Path, epochs_done: int, network: str = "student") -> Path:
    """Return the file of `save_epoch` for a network of the run in this folder."""
    second = "" if network == "student" else f".{network}"
    return folder / EPOCHS_FOLDER / f"{epochs_done:04}{second}.safetensors"
