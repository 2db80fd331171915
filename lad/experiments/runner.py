"""Experiments: validated parameters → one run in one folder, trained once, found again, resumed when interrupted."""

import argparse
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from lightning.fabric import Fabric
from torch.distributed import is_torchelastic_launched

from lad.config.experiment import Parameters, read_parameters
from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset, find_split
from lad.data.synthetic.shapes import DIFFICULTIES, data_folder
from lad.data.transforms import eval_transform, train_transform
from lad.data.validation.checker import ensure_usable
from lad.distillation.assignment_cache import CACHE_FILES, AssignmentCache
from lad.distillation.methods import CO_LEARNING, METHODS_WITH_TEACHER, TITLES
from lad.evaluation.coco_eval import METRICS
from lad.experiments.run_store import (
    LOCK_FILE,
    PARAMETERS_FILE,
    RESULTS_FILE,
    SECOND_WEIGHTS_FILE,
    WEIGHTS_FILE,
    Run,
    find_run,
    is_training,
)
from lad.models.detector import Detector, build_detector
from lad.models.fuse_batchnorm import fold_batchnorm
from lad.models.serialization import save_detector
from lad.models.student_teacher import StudentTeacherPair
from lad.training.checkpoint import checkpoints
from lad.training.devices import devices_and_nodes, find_accelerator, hardware
from lad.training.interrupt import defer_signals
from lad.training.trainer import read_metrics, train
from lad.utils.atomic_io import remove_unfinished, write_text
from lad.utils.progress import log

VERSIONS_OF = ("lad", "torch", "torchvision", "lightning", "pycocotools", "numpy")


def run_experiment(parameters: Parameters) -> Run:
    """The run of these parameters: reused if finished, else trained, from its last checkpoint if it has one. A teacher
    is a run of its own and comes first.

    Raises ValueError, before any training, for data that cannot be used, devices that are not there, or a run that
    another process trains at this moment.
    """
    finished = find_run(parameters)
    if finished is not None:
        average_precision = finished.metrics["AP"]
        coco_eval = "no AP" if average_precision is None else f"AP {average_precision:.3f}"
        log(f"{parameters.run_name} · finished before, {coco_eval}")
        return finished
    devices, _nodes = devices_and_nodes(parameters)
    accelerator = find_accelerator(parameters.accelerator, devices, parameters.precision)
    train_set, val_set = open_data(parameters)
    folder = Path(parameters.out) / parameters.run_name
    folder.mkdir(parents=True, exist_ok=True)
    if parameters.devices > 1 and not is_torchelastic_launched():
        if is_training(parameters):
            raise _being_trained(folder)
        return _run_on_several_devices(parameters)
    if os.environ.get("RANK", "0") != "0":  # one of several processes, of which the first has the lock
        return _train(parameters, folder, accelerator, train_set, val_set)
    try:
        with FileLock(folder / LOCK_FILE, timeout=1):  # a moment, for those who only look whether it is free
            finished = find_run(parameters)
            if finished is not None and parameters.devices == 1:  # by a process that held the lock until now
                return finished
            remove_unfinished(folder)
            return _train(parameters, folder, accelerator, train_set, val_set)
    except Timeout:
        raise _being_trained(folder) from None


def _being_trained(folder: Path) -> ValueError:
    return ValueError(f"{folder}: another process trains this run now; wait for it, or stop it")


def teacher_run(parameters: Parameters) -> Run | None:
    """The run of the teacher, trained first if it is not there; None where no trained teacher is needed."""
    needs_run = parameters.method in METHODS_WITH_TEACHER and parameters.method not in CO_LEARNING
    return run_experiment(parameters.of_teacher()) if needs_run or parameters.teacher_epochs else None


def _train(parameters: Parameters, folder: Path, accelerator: str, train_set: CocoDataset, val_set: CocoDataset) -> Run:
    taught_by = teacher_run(parameters)

    devices, nodes = devices_and_nodes(parameters)
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if parameters.devices > 1 else "auto",
        precision=parameters.precision,
    )
    if os.environ.get("LT_CLI_USED") != "1":  # set by `fabric run`, under which it has been launched
        fabric.launch()
    if fabric.is_global_zero:
        write_json(folder / PARAMETERS_FILE, parameters.model_dump())

    network, teacher = build_networks(parameters, train_set.annotations.class_names, taught_by, fabric.device)
    cache = None
    if taught_by is not None and parameters.cache_teacher:
        cache = AssignmentCache(folder, _cache_key(parameters, taught_by, train_set), fabric.global_rank)
    metrics = train(parameters, network, teacher, train_set, val_set, fabric, folder, cache)
    detector = network.student if isinstance(network, StudentTeacherPair) else network
    if fabric.is_global_zero:
        numbers = {name: None if math.isnan(value) else value for name, value in metrics.items()}
        if isinstance(network, StudentTeacherPair):
            save_detector(network.teacher, folder / SECOND_WEIGHTS_FILE)
        save_detector(detector, folder / WEIGHTS_FILE)
        results = {
            "name": parameters.run_name,
            "metrics": {name: numbers[name] for name in METRICS},
            "teacher_metrics": {name: numbers.get(f"teacher_{name}") for name in METRICS},
            "num_classes": len(train_set.annotations.class_names),
            "class_names": train_set.annotations.class_names,
            "parameter_count": sum(parameter.numel() for parameter in detector.parameters()),
            "weights_sha256": _sha256(folder / WEIGHTS_FILE),
            "teacher": _teacher_summary(taught_by),
            "seed": parameters.seed,
            "training_images": len(train_set),
            "validation_images": len(val_set),
            "seconds": sum(line["seconds"] for line in read_metrics(folder)),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            "hardware": hardware(fabric),
        }
        write_json(folder / RESULTS_FILE, results)
        for path in (*checkpoints(folder), *folder.glob(CACHE_FILES)):  # of no more use
            path.unlink(missing_ok=True)
    fabric.barrier()
    run = find_run(parameters)
    assert run is not None
    return run


def build_networks(
    parameters: Parameters, class_names: Sequence[str], taught_by: Run | None, device: torch.device
) -> tuple[Detector | StudentTeacherPair, Detector | None]:
    """What a run trains, with the weights that it begins from, and its frozen teacher on `device`; co-learning trains
    both and has no other teacher. taught_by: see `teacher_run`."""
    torch.manual_seed(parameters.seed)
    detector = new_detector(parameters, class_names)
    if parameters.method in CO_LEARNING:
        pair = StudentTeacherPair(detector, new_detector(parameters.of_teacher(), class_names))
        if taught_by is not None:  # co-learning begins with a trained teacher
            pair.teacher.load_state_dict(taught_by.load_detector().state_dict())
        return pair, None
    if taught_by is None:
        return detector, None
    teacher = fold_batchnorm(taught_by.load_detector())
    return detector, teacher.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def compare(parameters: Parameters) -> dict[str, Run]:
    """The runs that belong side by side, by name: the teacher, the plain student and the student under the method,
    as far as the method has them; in co-learning the teacher is its network trained alone, and the second network comes
    last. Runs that are missing are trained."""
    runs = {}
    if parameters.teacher is not None:
        runs["plain student"] = parameters.plain()
        runs["teacher"] = parameters.of_teacher()
    runs[f"{TITLES[parameters.method]} student"] = parameters
    finished = {name: run_experiment(one) for name, one in runs.items()}
    if parameters.method in CO_LEARNING:
        title = TITLES[parameters.method]
        finished[f"{title} teacher"] = finished[f"{title} student"].teacher_network()
    return finished


def open_data(parameters: Parameters) -> tuple[CocoDataset, CocoDataset]:
    """The training and validation sets, every image of which has been decoded once, now or before an earlier run.

    Raises ValueError naming the first image that cannot be read, or leaves such images out under bad_images="skip".
    """
    embedded = parameters.data in DIFFICULTIES
    folder = data_folder(parameters.data)
    images, path = find_split(folder, "train")
    annotations = read_annotations(path)
    train_set = CocoDataset(
        images, annotations, train_transform(parameters.short_sides, parameters.long_side, parameters.flip)
    )
    images, path = find_split(folder, "val")
    val_set = CocoDataset(
        images,
        read_annotations(path, like=annotations),
        eval_transform(parameters.test_short_side, parameters.long_side),
    )
    if parameters.train_images is not None:
        train_set = train_set.subset(range(min(parameters.train_images, len(train_set))))
    if embedded:  # written by ourselves
        return train_set, val_set
    return ensure_usable(train_set, parameters.bad_images), ensure_usable(val_set, parameters.bad_images)


def new_detector(parameters: Parameters, class_names: Sequence[str]) -> Detector:
    """The network of these parameters, freshly initialized from torch's generator or with its backbone's weights."""
    detector = build_detector(
        parameters.student,
        len(class_names),
        parameters.width,
        parameters.head,
        iou_branch=parameters.iou_branch,
        channels=parameters.channels,
        weights=parameters.weights,
        frozen_stages=parameters.frozen_stages,
        norm_eval=parameters.norm_eval,
    )
    detector.configuration = replace(
        detector.configuration,
        class_names=tuple(class_names),
        short_side=parameters.test_short_side,
        long_side=parameters.long_side,
    )
    return detector


def versions() -> dict[str, str]:
    """Of Python and of the packages that numbers depend on."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in VERSIONS_OF}


def write_json(path: Path, content: Any, indent: int | None = 2) -> None:
    """Write a file in one step: an interrupted write leaves an older one as it was."""
    write_text(path, json.dumps(content, indent=indent, ensure_ascii=False) + "\n")


def _run_on_several_devices(parameters: Parameters) -> Run:
    """Start one process per device by torchrun, from a script and a notebook alike, and read the run they leave. Asked
    to stop, they finish a step and keep it first."""
    teacher_run(parameters)  # here, under its own lock, rather than in every process
    file = Path(parameters.out) / parameters.run_name / PARAMETERS_FILE
    write_json(file, parameters.model_dump())
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={parameters.devices}"]
    command = [sys.executable, *torchrun, "-m", "lad.experiments.runner", str(file)]
    # A session of its own: an interrupt reaches it from here alone, and once.
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "start_new_session": True}
    with subprocess.Popen(command, text=True, **options) as process, defer_signals(process.terminate):
        assert process.stdout is not None
        for line in process.stdout:
            log(line.rstrip())
    run = find_run(parameters)
    if run is None:
        raise RuntimeError(
            f"training on {parameters.devices} devices ended with {process.returncode}; see its output above"
        )
    return run


def _cache_key(parameters: Parameters, teacher_run: Run, train_set: CocoDataset) -> dict[str, Any]:
    """All that a teacher's assignments follow from, beside the image and its flip."""
    transform = ("short_sides", "long_side")
    of_run = {name: str(getattr(parameters, name)) for name in ("assigner", "precision", *transform)}
    return {
        **of_run,
        "teacher": teacher_run.results["weights_sha256"],
        "annotations": _sha256(train_set.annotations.path),
    }


def _teacher_summary(run: Run | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "name": run.parameters.run_name,
        "AP": run.metrics["AP"],
        "weights_sha256": run.results["weights_sha256"],
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the experiment of a file: a run's params.json, or parameters as in params/."""
    parser = argparse.ArgumentParser(
        prog="lad run",
        description="Run one experiment; under torchrun or fabric run, as one of its processes.",
    )
    parser.add_argument("file", type=Path, help="a run's params.json, or a YAML of parameters as in params/")
    file = parser.parse_args(arguments).file
    try:
        run_experiment(read_parameters(file))
    except ValueError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
