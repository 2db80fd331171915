"""Runs on disk: one folder each, known by the hash of its parameters, found again by whoever needs it."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from lad.config.experiment import Parameters
from lad.distillation.methods import CO_LEARNING, METHODS_WITH_TEACHER
from lad.models.detector import Detector
from lad.models.serialization import load_detector
from lad.training.trainer import EPOCHS_FOLDER, epoch_file, read_metrics
from lad.utils.progress import log

PARAMETERS_FILE, RESULTS_FILE, WEIGHTS_FILE = "params.json", "results.json", "model.safetensors"
LOCK_FILE = "lock"
SECOND_WEIGHTS_FILE = "teacher.safetensors"


@dataclass(frozen=True)
class Run:
    """One finished experiment. results: what results.json holds: metrics, versions, hardware, times. network: whose
    numbers and weights these are; "teacher" is the second network of co-learning."""

    parameters: Parameters
    folder: Path
    results: dict[str, Any]
    network: Literal["student", "teacher"] = "student"

    @property
    def metrics(self) -> dict[str, float | None]:
        """The twelve COCO numbers on the validation set; None where no gt of that size exists."""
        return self.results["metrics" if self.network == "student" else "teacher_metrics"]

    @property
    def backbone(self) -> str:
        name = self.parameters.student if self.network == "student" else self.parameters.teacher
        assert name is not None
        return name

    @property
    def partner(self) -> str | None:
        """Backbone of the network it learned from or with."""
        return self.parameters.teacher if self.network == "student" else self.parameters.student

    def teacher_network(self) -> "Run":
        """The second network of co-learning."""
        return replace(self, network="teacher")

    @property
    def epochs(self) -> list[dict[str, float]]:
        """One mapping per epoch: losses, learning rate, seconds and, where evaluated, the COCO numbers."""
        return read_metrics(self.folder)

    @property
    def saved_epochs(self) -> list[int]:
        """Numbers of finished epochs after which the weights were kept, ascending, 0 before any training; empty
        without `save_epochs`."""
        files = (self.folder / EPOCHS_FOLDER).glob("*.safetensors")
        return sorted({int(file.name.split(".")[0]) for file in files})

    def load_detector(self, epoch: int | None = None) -> Detector:
        """The trained network, or as it was after `epoch`, on the CPU, in eval mode, its parameters frozen."""
        return load_detector(self.weights_file(epoch))

    def weights_file(self, epoch: int | None = None) -> Path:
        """Where the network's weights are, or, of `saved_epochs`, those after `epoch`."""
        if epoch is not None:
            return epoch_file(self.folder, epoch, self.network)
        return self.folder / (WEIGHTS_FILE if self.network == "student" else SECOND_WEIGHTS_FILE)


def networks_of(run: Run) -> dict[str, Run]:
    """The student and, where it has one and its run is still there, the teacher; in co-learning the second network."""
    networks = {"student": run}
    if run.parameters.method in CO_LEARNING:
        networks["teacher"] = run.teacher_network()
    elif run.parameters.method in METHODS_WITH_TEACHER:
        teacher = find_run(run.parameters.of_teacher())
        networks |= {"teacher": teacher} if teacher else {}
    return networks


def is_training(parameters: Parameters) -> bool:
    """Whether a process trains this run at this moment."""
    path = Path(parameters.out) / parameters.run_name / LOCK_FILE
    if not path.parent.is_dir():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def find_run(parameters: Parameters) -> Run | None:
    """The finished run of these parameters, or None."""
    return open_run(Path(parameters.out) / parameters.run_name)


def open_run(folder: Path) -> Run | None:
    """The finished run in this folder, or None."""
    if not (folder / RESULTS_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
        return None
    try:
        parameters = Parameters(**json.loads((folder / PARAMETERS_FILE).read_text()))
    except ValueError:
        raise ValueError(
            f"{folder / PARAMETERS_FILE}: is not of this version's runs; move the folder away, or train it again"
        ) from None
    try:
        results = dict(json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise ValueError(f"{folder / RESULTS_FILE}: damaged; remove it, and the run is finished anew") from None
    return Run(parameters, folder, results)


def finished_runs(out: Path) -> list[Run]:
    """All finished runs in a folder of runs, oldest first; one that cannot be read is told and left out."""
    runs = []
    for path in out.glob(f"*/{RESULTS_FILE}"):
        try:
            run = open_run(path.parent)
        except ValueError as error:
            log(f"left out: {error}")
            continue
        if run is not None:
            runs.append(run)
    # Two may be of the same second.
    return sorted(runs, key=lambda run: (run.results["finished"], (run.folder / RESULTS_FILE).stat().st_mtime_ns))
