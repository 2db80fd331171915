"""Runs on disk: one folder each, found by its parameters and by the code that made it.

A run's folder is `<name>-<hash of its parameters>`. If another version of the code made that folder, or the annotations
have changed since, the run is trained again in a folder beside it, `…-2`, and the older one is kept.
"""

import glob
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from lad.assigners import Assigner, build_assigner
from lad.config.experiment import Parameters
from lad.config.identity import NOT_HASHED, hashed_values
from lad.distillation.methods import METHODS
from lad.experiments.annotation_hashes import annotation_hashes, has_annotations
from lad.experiments.fingerprint import Fingerprint, are_same_code, differing_modules, fingerprint, read_fingerprint
from lad.models.detector import Detector
from lad.models.serialization import load_detector
from lad.models.zoo import WEIGHTS_FILE
from lad.training.metrics_file import read_metrics
from lad.training.saved_weights import EPOCHS_FOLDER, epoch_file
from lad.utils.progress import log

PARAMETERS_FILE, CODE_FILE = "params.json", "code.json"
RESULTS_FILE, SECOND_WEIGHTS_FILE = "results.json", "teacher.safetensors"
RAW_WEIGHTS_FILE, SECOND_RAW_WEIGHTS_FILE = "model_raw.safetensors", "teacher_raw.safetensors"  # not averaged by `ema`
LOCK_FILE, SPLIT_FILE = "lock", "split.json"  # the latter only of data without a validation part
MAX_DIFFERENCES = 3  # a run that differs in more parameters is another experiment, not the same one with old defaults


@dataclass(frozen=True)
class Run:
    """One finished experiment.

    Attributes:
        parameters: All parameters, with their defaults.
        folder: Folder of the run.
        results: Content of results.json: metrics, versions, hardware, times.
        network: Network whose metrics and weights these are; "teacher" is the second network of co-learning.
    """

    parameters: Parameters
    folder: Path
    results: dict[str, Any]
    network: Literal["student", "teacher"] = "student"

    @property
    def name(self) -> str:
        """Return the name of the run's folder."""
        return self.folder.name

    @property
    def code(self) -> Fingerprint | None:
        """Return the fingerprint of the code that made the run; None for an old run without one."""
        return read_fingerprint(self.results.get("code"))

    @property
    def assigner(self) -> Assigner:
        """Return the assigner of the run, with its options; without a class term for a network of other classes."""
        options = self.parameters.assigner_options
        if self.results.get("ignores_classes") and "class_weight" in options:
            options = {**options, "class_weight": 0}
        return build_assigner(self.parameters.assigner, options)

    @property
    def metrics(self) -> dict[str, float | None]:
        """Return the twelve COCO metrics on the validation set; None where no gt of that size exists."""
        return self.results["metrics" if self.network == "student" else "teacher_metrics"]

    @property
    def class_names(self) -> list[str]:
        """Return the names of the network's classes."""
        return self.results["class_names"]

    @property
    def backbone(self) -> str:
        """Return the network's backbone."""
        name = self.parameters.student if self.network == "student" else self.parameters.teacher
        assert name is not None
        return name

    @property
    def partner(self) -> str | None:
        """Return the name of the other network that it learned from or with; None without one.

        It is a backbone, or the name of a teacher's checkpoint.
        """
        return self.parameters.teacher_title if self.network == "student" else self.parameters.student

    def teacher_network(self) -> "Run":
        """Return the second network of co-learning."""
        return replace(self, network="teacher")

    @property
    def epochs(self) -> list[dict[str, float]]:
        """Return one mapping per epoch: losses, learning rate, seconds and, if it was evaluated, the COCO metrics."""
        return read_metrics(self.folder)

    @property
    def saved_epochs(self) -> list[int]:
        """Return the epochs whose weights were saved, 0 for the initial weights; empty without `save_epochs`."""
        files = (self.folder / EPOCHS_FOLDER).glob("*.safetensors")
        return sorted({int(file.name.split(".")[0]) for file in files})

    def load_detector(self, epoch: int | None = None) -> Detector:
        """Load the trained network, or its weights after `epoch`, on the CPU, in eval mode, with frozen parameters."""
        return load_detector(self.weights_file(epoch))

    def weights_file(self, epoch: int | None = None) -> Path:
        """Return the file of the network's final weights, or of those after `epoch`, one of `saved_epochs`."""
        if epoch is not None:
            return epoch_file(self.folder, epoch, self.network)
        return self.folder / (WEIGHTS_FILE if self.network == "student" else SECOND_WEIGHTS_FILE)


def find_run(parameters: Parameters) -> Run | None:
    """Find the finished run that `run_experiment` would reuse.

    That is the newest run of these parameters that the current code made, of the data as they are; with rerun="never",
    the newest that any code made, of any data.
    """
    runs = _finished_siblings(parameters)
    if parameters.rerun != "never":
        current, annotations = fingerprint(parameters).digest, annotation_hashes(parameters)
        runs = [
            run for run in runs if run.code and run.code.digest == current and has_annotations(run.results, annotations)
        ]
    return runs[-1] if runs else None


def latest_run(parameters: Parameters) -> Run | None:
    """Find the finished run of these parameters to show: the one of the current code, else the newest."""
    runs = _finished_siblings(parameters)
    return find_run(parameters) or (runs[-1] if runs else None)


def folder_to_train(parameters: Parameters) -> Path:
    """Return the folder in which to start or resume a run of these parameters.

    An unfinished run is resumed if the current code started it, or with rerun="never". Otherwise the run gets a new
    folder, and if other code made the previous one, a line is logged.
    """
    base = Path(parameters.out) / parameters.run_name
    siblings = _siblings(parameters)
    if not siblings:
        _explain_new_run(base, parameters)
        return base
    newest, current = siblings[-1], fingerprint(parameters)
    started_by = code_of(newest)
    is_finished = (newest / RESULTS_FILE).is_file()
    is_stale = (newest / CODE_FILE).is_file() and (started_by is None or started_by.digest != current.digest)
    if not is_finished and (not is_stale or parameters.rerun == "never"):
        return newest
    folder = base.with_name(f"{base.name}-{_number(newest) + 1}")
    if is_stale or started_by is None:
        state = "trained" if is_finished else "started"
        difference = describe_difference(started_by, current)
        log(f"{newest.name}: {state} by other code ({difference}); training {folder.name} beside it")
    elif parameters.rerun != "always":
        log(f"{newest.name}: trained on other annotations, which changed since; training {folder.name} beside it")
    return folder


def _explain_new_run(folder: Path, parameters: Parameters) -> None:
    """Log why a finished run of the same name is not reused: other code made it with other defaults."""
    own, current = parameters.model_dump(exclude=set(NOT_HASHED)), fingerprint(parameters)
    differences = {}
    for run in finished_runs(folder.parent, f"{glob.escape(folder.name.rpartition('-')[0])}-*"):
        stored = run.parameters.model_dump(exclude=set(NOT_HASHED))
        if run.code is None or not are_same_code(run.code, current):
            differences[run.name] = (run, {name: stored[name] for name in own if stored[name] != own[name]})
    if not differences:
        return
    run, values = min(differences.values(), key=lambda difference: len(difference[1]))
    if len(values) <= MAX_DIFFERENCES:
        defaults = ", ".join(f"{name}={value}" for name, value in values.items())
        log(
            f"{run.name}: trained by other code ({describe_difference(run.code, current)}) with {defaults}; training "
            f"{folder.name} beside it"
        )


def open_run(folder: Path) -> Run | None:
    """Open the finished run in a folder; return None if there is none.

    Raises:
        ValueError: The run's files cannot be read.
    """
    if not (folder / RESULTS_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
        return None
    try:
        parameters = Parameters(**json.loads((folder / PARAMETERS_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        reason = (
            f"cannot be read ({error.strerror})" if isinstance(error, OSError) else "was written by another version"
        )
        raise ValueError(f"{folder / PARAMETERS_FILE}: {reason}; move the folder away to train the run again") from None
    try:
        results = dict(json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8")))
        is_whole = bool(results["finished"] and results["metrics"])
    except (OSError, ValueError, TypeError, KeyError):
        is_whole = False
    if not is_whole:
        raise ValueError(f"{folder / RESULTS_FILE}: corrupted; move the folder away to train the run again")
    return Run(parameters, folder, results)


def finished_runs(out: Path, pattern: str = "*") -> list[Run]:
    """Return all finished runs in a folder of runs, oldest first; unreadable ones are reported and left out.

    Args:
        out: Folder of the runs.
        pattern: Glob pattern of the names of the runs' folders.
    """
    runs = []
    for path in out.glob(f"{pattern}/{RESULTS_FILE}"):
        try:
            run = open_run(path.parent)
        except ValueError as error:
            log(f"left out: {error}")
            continue
        if run is not None:
            runs.append(run)
    # Two runs may have finished in the same second.
    return sorted(runs, key=lambda run: (run.results["finished"], (run.folder / RESULTS_FILE).stat().st_mtime_ns))


def networks_of(run: Run) -> dict[str, Run]:
    """Return the student and, if its run exists, the teacher, which is the second network in co-learning."""
    networks = {"student": run}
    if METHODS[run.parameters.method].trains_teacher:
        networks["teacher"] = run.teacher_network()
    elif run.parameters.needs_teacher:
        teacher = teacher_of(run)
        networks |= {"teacher": teacher} if teacher else {}
    return networks


def teacher_of(run: Run) -> Run | None:
    """Return the run of a run's frozen teacher; None if it does not exist any more."""
    recorded = run.results.get("teacher") or {}
    teacher = open_run(run.folder.parent / str(recorded.get("name")))
    return teacher or latest_run(run.parameters.of_teacher().model_copy(update={"out": str(run.folder.parent)}))


def is_training(parameters: Parameters) -> bool:
    """Return whether a process is training a run of these parameters."""
    for folder in _siblings(parameters):
        try:
            with FileLock(folder / LOCK_FILE, timeout=0):
                pass
        except Timeout:
            return True
    return False


def describe_code(runs: Iterable[Run]) -> str:
    """Return a note if runs were made by different versions of the code; else an empty text."""
    versions = Counter(code_labels(runs))
    if len(versions) < 2:
        return ""
    return "made by different code: " + ", ".join(f"{label} ({count})" for label, count in versions.items())


def code_labels(runs: Iterable[Run]) -> list[str]:
    """Return a label of each run's version of the code: the digest of the first of these runs with the same code."""
    versions: list[Fingerprint] = []
    labels = []
    for run in runs:
        if run.code is None:
            labels.append("unknown")
            continue
        same = [version for version in versions if are_same_code(version, run.code)]
        versions += [] if same else [run.code]
        labels.append((same or [run.code])[0].digest)
    return labels


def _siblings(parameters: Parameters) -> list[Path]:
    """Return the folders of all runs of these parameters, made by any code, oldest first."""
    base = Path(parameters.out) / parameters.run_name
    folders = [folder for folder in base.parent.glob(f"{glob.escape(base.name)}*") if folder.is_dir()]
    numbered = [folder for folder in folders if folder == base or folder.name[len(base.name) + 1 :].isdigit()]
    return sorted((folder for folder in numbered if _is_of(folder, parameters)), key=_number)


def _number(folder: Path) -> int:
    """Return the number of a folder among the runs of the same parameters: n for `…-n`, else 1."""
    suffix = folder.name.rpartition("-")[2]
    return int(suffix) if suffix.isdigit() and len(suffix) < 10 else 1


def _is_of(folder: Path, parameters: Parameters) -> bool:
    """Return whether a folder belongs to these parameters; one without params.json has only just been created."""
    try:
        stored = json.loads((folder / PARAMETERS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    own = hashed_values(json.loads(parameters.model_dump_json()))
    return isinstance(stored, dict) and hashed_values(stored) == own


def _finished_siblings(parameters: Parameters) -> list[Run]:
    runs = [open_run(folder) for folder in _siblings(parameters)]
    return [run for run in runs if run is not None]


def code_of(folder: Path) -> Fingerprint | None:
    """Return the fingerprint of the code that started the run in a folder; None if none is stored."""
    try:
        return read_fingerprint(json.loads((folder / CODE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def describe_difference(first: Fingerprint | None, second: Fingerprint) -> str:
    """Return a phrase that lists the modules in which the code of two runs differs."""
    if first is None:
        return "of a version that kept no fingerprint"
    return f"differing in {', '.join(differing_modules(first, second))}"
