"""Explorer session: the networks and images that an explorer shows, loaded from runs, with their caches."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from lad.analysis.assignment import AssignmentAnalysis, as_paa
from lad.assigners.paa import DEFAULT_ASSIGNER, PAA
from lad.config.experiment import make_parameters
from lad.data.coco import CocoDataset, open_splits
from lad.data.synthetic.folders import data_folder
from lad.data.transforms import eval_transform
from lad.experiments.run_store import Run, finished_runs, networks_of, open_run
from lad.experiments.setup import new_detector
from lad.explorer.config import UNTRAINED, ExplorerConfig
from lad.models.detector import Detector
from lad.models.safe_load import read_tensors
from lad.structures import Batch
from lad.utils.progress import log


@dataclass
class ExplorerSession:
    """The networks and images of an explorer, with their caches.

    Attributes:
        name: Name of the student's run.
        detectors: The student and, if there is one, the teacher.
        runs: Runs of the detectors; an untrained network has none.
        dataset: Validation images that have gts.
        loaded_epochs: Epoch of the weights that each detector holds; None for the final weights.
        analysis_cache: Analyses by network, epoch and image; the oldest are dropped.
        image_cache: Pixels and batch of the last image, by its index.
    """

    name: str
    detectors: dict[str, Detector]
    runs: dict[str, Run]
    dataset: CocoDataset
    loaded_epochs: dict[str, int | None] = field(default_factory=dict)
    analysis_cache: dict[tuple[object, ...], AssignmentAnalysis] = field(default_factory=dict)
    image_cache: dict[int, tuple[np.ndarray, Batch]] = field(default_factory=dict)

    @property
    def epochs(self) -> list[int]:
        """Return the epochs after which the student's weights were saved."""
        return self.runs["student"].saved_epochs if "student" in self.runs else []

    @property
    def paa(self) -> PAA:
        """Return PAA with the options of the student's run."""
        return as_paa(self.runs["student"].assigner) if "student" in self.runs else DEFAULT_ASSIGNER

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes."""
        return self.dataset.annotations.class_names


def open_session(config: ExplorerConfig) -> ExplorerSession:
    """Load the networks and the validation set of a configuration.

    Raises:
        ValueError: A run or data set does not exist, no image has an object, or a network's classes are not the data's.
    """
    runs = find_runs(config)
    data = config.data or (runs["student"].parameters.data if "student" in runs else "toy")
    dataset = _validation_set(data, runs.get("student"))
    annotations, path = dataset.annotations, dataset.annotations.path
    if "teacher" in runs and "student" in runs and runs["teacher"].results.get("ignores_classes"):
        log(f"{runs['teacher'].name}: has other classes than the data, and is left out")
        del runs["teacher"]
    if not config.compare_with and "teacher" in runs and runs["student"].parameters.other_teachers:
        teachers = runs["student"].parameters.teacher_title
        log(f"{runs['student'].name}: learned from the mean cost of {teachers}; the teacher shown is the first of them")
    detectors = {name: run.load_detector() for name, run in runs.items()}
    if "student" not in runs:
        detectors["student"] = _untrained_detector(data, annotations.class_names)
    for name, detector in detectors.items():
        if detector.configuration.class_names != annotations.class_names:
            raise ValueError(
                f"{runs[name].folder.name}: was trained on {_listed(detector.configuration.class_names)}, but {path} "
                f"has {_listed(annotations.class_names)}; choose data with the same classes"
            )
    size = detectors["student"].configuration
    dataset.transform = eval_transform(size.short_side, size.long_side)
    with_gts = [index for index, record in enumerate(annotations.records) if len(record.boxes)]
    if not with_gts:
        raise ValueError(f"{path}: no image has an object, so there is nothing to explore")
    name = runs["student"].folder.name if "student" in runs else UNTRAINED
    return ExplorerSession(name, detectors, runs, dataset.subset(with_gts))


def _validation_set(data: str, run: Run | None) -> CocoDataset:
    """Open the validation images of a data set: those of the run, if it was trained on the same data."""
    is_of_run = run is not None and run.parameters.data == data
    images, val_share = (run.parameters.images, run.parameters.val_share) if run and is_of_run else (None, None)
    (dataset,) = open_splits(data_folder(data), ("val",), images, val_share)
    return dataset


def find_runs(config: ExplorerConfig) -> dict[str, Run]:
    """Return the student's run and, if there is one, the teacher's; no student's run for an untrained network.

    Raises:
        ValueError: `run` or `compare_with` is not a finished run.
    """
    runs: dict[str, Run] = {}
    if config.run is None:
        finished = [run for run in finished_runs(config.out) if run.parameters.epochs]
        if finished:
            runs = networks_of(finished[-1])
        else:
            log(f"no finished run in {config.out}: showing an untrained network; `make run` trains some in minutes")
    elif config.run != UNTRAINED:
        runs = networks_of(_open_named_run(config, "run"))
    if config.compare_with:
        runs["teacher"] = _open_named_run(config, "compare_with")
    return runs


def detector_at_epoch(session: ExplorerSession, name: str, epoch: int | None) -> Detector:
    """Return a network with its weights after an epoch; None for the final weights."""
    if session.loaded_epochs.get(name) != epoch:
        session.detectors[name].load_state_dict(read_tensors(session.runs[name].weights_file(epoch)))
        session.loaded_epochs[name] = epoch
    return session.detectors[name]


def _untrained_detector(data: str, class_names: tuple[str, ...]) -> Detector:
    """Return the same randomly initialized network every time, without a change of the global generator."""
    parameters = make_parameters({"method": "baseline", "student": "r18", "data": data})
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(0)
        return new_detector(parameters, class_names).eval().requires_grad_(False)


def _listed(class_names: tuple[str, ...]) -> str:
    """Return the number of classes and the first of them, for messages."""
    return f"{len(class_names)} classes ({', '.join(class_names[:3])} …)"


def _open_named_run(config: ExplorerConfig, parameter: str) -> Run:
    """Return the run that a parameter gives by its name in `out` or by its folder."""
    given = getattr(config, parameter)
    for folder in (config.out / given, Path(given).expanduser()):
        run = open_run(folder) if folder.is_dir() else None
        if run is not None:
            return run
    names = [run.folder.name for run in finished_runs(config.out)]
    hint = f"choose one of {', '.join(names)}" if names else "the folder has none; `make run` trains some"
    raise ValueError(f"parameter '{parameter}' = '{given}': no finished run in {config.out}; {hint}")
