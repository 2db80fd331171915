"""Experiments: validated parameters → one run in one folder, trained once, then reused; resumed when interrupted."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from lightning_fabric import Fabric
from torch.distributed import is_torchelastic_launched

from lad.config.checkpoints import checkpoint_title
from lad.config.experiment import Parameters
from lad.config.reading import read_changes, read_parameters
from lad.data.coco import CocoDataset
from lad.distillation.methods import METHODS
from lad.evaluation.detection_limit import describe_crowded_images
from lad.experiments.failure import ProcessFailedError, keep_traceback
from lad.experiments.fingerprint import fingerprint
from lad.experiments.processes import MODULE, fit_side_by_side, run_commands, train_side_by_side
from lad.experiments.run_results import save_run
from lad.experiments.run_store import (
    CODE_FILE,
    LOCK_FILE,
    PARAMETERS_FILE,
    SPLIT_FILE,
    Run,
    code_of,
    describe_difference,
    find_run,
    folder_to_train,
    is_training,
    open_run,
)
from lad.experiments.setup import build_networks, check_teacher_classes, frozen_teacher, open_data, write_split
from lad.experiments.teacher import (
    check_classes_of_run,
    format_ap,
    teacher_notes,
)
from lad.experiments.teacher_cache import open_cache
from lad.experiments.tracking import RunLog
from lad.training.checkpoint import has_intact_checkpoint
from lad.training.devices import devices_and_nodes, find_accelerator, limit_threads
from lad.training.metrics_file import read_metrics
from lad.training.trainer import train
from lad.utils.atomic_io import remove_unfinished, write_json
from lad.utils.memory import reset_peak_memory
from lad.utils.messages import counted
from lad.utils.paths import ensure_writable
from lad.utils.progress import EpochBar, log


def run_experiment(parameters: Parameters) -> Run:
    """Return the run of these parameters: reused if it is finished, else trained.

    An unfinished run is resumed from its last checkpoint. A teacher is a run of its own, which is trained first. If
    other code made the run, or the annotations have changed since, it is trained again in a folder beside the old one,
    or reused, depending on `rerun`.

    Raises:
        ValueError: The data cannot be used, `out` cannot be written, this machine does not have the devices, or another
            process is training the run; raised before any training.
        OSError: The disk is full; what was computed until then is in the run's folder.
    """
    run = find_run(parameters)
    if run is not None and parameters.rerun != "always":
        state = "already trained" if parameters.epochs else "already evaluated"
        log(f"{run.name}: {state} ({format_ap(run)}){_stale_note(run)}")
        return run
    ensure_writable(Path(parameters.out), "out")
    devices, _nodes = devices_and_nodes(parameters)
    accelerator = find_accelerator(parameters.accelerator, devices, parameters.precision)
    train_set, val_set = open_data(parameters)
    check_teacher_classes(parameters, train_set.annotations.class_names)
    folder = folder_to_train(parameters)
    ensure_writable(folder, "out")
    folder.mkdir(parents=True, exist_ok=True)
    if parameters.devices > 1 and not is_torchelastic_launched():
        if is_training(parameters):
            raise _being_trained(folder)
        return _run_on_several_devices(parameters, folder)
    if os.environ.get("RANK", "0") != "0":  # one of several processes; the first one holds the lock
        return _train(parameters, folder, accelerator, train_set, val_set)
    try:
        with FileLock(folder / LOCK_FILE, timeout=1):  # `is_training` of other processes holds it for a moment
            run = open_run(folder)
            if run is not None and parameters.devices == 1:  # finished by the process that just released the lock
                return run
            remove_unfinished(folder)
            return _train(parameters, folder, accelerator, train_set, val_set)
    except Timeout:
        raise _being_trained(folder) from None


def compare(parameters: Parameters) -> dict[str, Run]:
    """Return the runs to compare, by name; missing ones are trained.

    They are the plain student and the teacher, if the method has a teacher, and the student under the method. In
    co-learning, "teacher" is the teacher's network trained by itself; the second network of the pair comes last. A
    teacher from a checkpoint is not trained, only evaluated.
    """
    if parameters.teacher_checkpoint is not None:  # now, not after the plain student has been trained
        check_teacher_classes(parameters, open_data(parameters)[0].annotations.class_names)
    runs = {}
    if parameters.teacher is not None:
        runs["plain student"] = parameters.plain()
        teacher, *others = parameters.of_teachers()
        runs["teacher"] = teacher
        runs |= {f"teacher {number}": other for number, other in enumerate(others, start=2)}
    title = parameters.method_title
    runs[f"{title} student"] = parameters
    untrained = {run.run_name: (name, run) for name, run in runs.items() if find_run(run) is None and run.epochs}
    independent = [run for _, run in untrained.values() if run is not parameters and run.rerun != "always"]
    at_once = fit_side_by_side(independent)
    if untrained:
        ensure_writable(Path(parameters.out), "out")
        plan = [f"{name} {run.student} ({counted(run.epochs, 'epoch')})" for name, run in untrained.values()]
        log(f"to train: {', '.join(plan)}{'; the first two at the same time' if at_once else ''}")
    if at_once:
        open_data(parameters)  # generated or refused before the processes start
        train_side_by_side(independent)
    finished = {name: run_experiment(run) for name, run in runs.items()}
    if METHODS[parameters.method].trains_teacher:
        finished[f"{title} teacher"] = finished[f"{title} student"].teacher_network()
    return finished


def teacher_run(parameters: Parameters) -> Run | None:
    """Return the run of the teacher, trained if it is missing; None if no trained teacher is needed.

    The run of a teacher from a checkpoint has no epochs: it evaluates the checkpoint once.
    """
    trains_teacher = METHODS[parameters.method].trains_teacher
    needs_run = parameters.needs_teacher and not trains_teacher
    if not needs_run and not parameters.teacher_epochs and not parameters.teacher_checkpoint:
        return None
    return _run_of_teacher(parameters.of_teacher())


def runs_of_other_teachers(parameters: Parameters) -> list[Run]:
    """Return the runs of the teachers whose costs are averaged with the teacher's, as `teacher_run`."""
    return [_run_of_teacher(other) for other in parameters.of_teachers()[1:]] if parameters.other_teachers else []


def _run_of_teacher(teacher: Parameters) -> Run:
    if teacher.rerun == "always":  # this applies to the run itself; its teacher is trained again only if it is stale
        teacher = teacher.model_copy(update={"rerun": "stale"})
    return run_experiment(teacher)


def _train(parameters: Parameters, folder: Path, accelerator: str, train_set: CocoDataset, val_set: CocoDataset) -> Run:
    with limit_threads(parameters.threads), keep_traceback(folder):
        return _train_within_threads(parameters, folder, accelerator, train_set, val_set)


def _train_within_threads(
    parameters: Parameters, folder: Path, accelerator: str, train_set: CocoDataset, val_set: CocoDataset
) -> Run:
    teacher_of_run, others = teacher_run(parameters), runs_of_other_teachers(parameters)
    teachers = [run for run in (teacher_of_run, *others) if run is not None]
    devices, nodes = devices_and_nodes(parameters)
    run_log = RunLog(parameters, folder, val_set)
    epoch_bar = EpochBar(folder.name, parameters.epochs, len(read_metrics(folder)))
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if parameters.devices > 1 else "auto",
        precision=parameters.precision,
        callbacks=[run_log, epoch_bar],
    )
    if os.environ.get("LT_CLI_USED") != "1":  # set by `fabric run`, which has launched the processes
        fabric.launch()
    code = fingerprint(parameters)
    if parameters.rerun == "never":  # a resumed run keeps the fingerprint of the code that started it
        code = code_of(folder) or code
    if fabric.is_global_zero:
        write_json(folder / CODE_FILE, code.to_json())
        write_json(folder / PARAMETERS_FILE, parameters.model_dump())
        if parameters.val_share is not None:
            write_split(parameters.val_share, folder / SPLIT_FILE, train_set, val_set)
        for line in parameters.explain_defaults() if parameters.epochs else []:
            log(line)
        for trained in teachers:
            for line in teacher_notes(parameters, trained):
                log(line)
        if crowded := describe_crowded_images(val_set.annotations, parameters.max_detections):
            log(crowded)
    class_names = train_set.annotations.class_names
    for trained in teachers:
        check_classes_of_run(parameters, trained, class_names)
    trained_teacher = teacher_of_run.load_detector() if teacher_of_run is not None else None
    is_resumed = parameters.init is not None and has_intact_checkpoint(folder)
    network, teacher = build_networks(parameters, class_names, trained_teacher, fabric.device, is_resumed)
    cache = open_cache(parameters, teachers, train_set, code, folder, fabric)
    reset_peak_memory()
    other_teachers = [frozen_teacher(run.load_detector(), fabric.device) for run in others]
    with run_log, epoch_bar:
        evaluated, metrics = train(
            parameters, network, teacher, train_set, val_set, fabric, folder, cache, code.digest, other_teachers
        )
    if fabric.is_global_zero:
        save_run(
            parameters, folder, network, evaluated, metrics, train_set, val_set, teacher_of_run, others, code, fabric
        )
    fabric.barrier()
    run = open_run(folder)
    assert run is not None
    if fabric.is_global_zero and not parameters.epochs:
        log(f"{folder.name}: evaluated {checkpoint_title(str(parameters.init))} ({format_ap(run)})")
    return run


def _run_on_several_devices(parameters: Parameters, folder: Path) -> Run:
    """Train with one process per device, started by torchrun; works in scripts and notebooks.

    An interrupt is passed on to the processes: they save a checkpoint after the current step.
    """
    teacher_run(parameters)  # trained before the processes start, under its own lock
    runs_of_other_teachers(parameters)
    write_json(folder / CODE_FILE, fingerprint(parameters).to_json())
    write_json(folder / PARAMETERS_FILE, parameters.model_dump())
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={parameters.devices}"]
    (status,) = run_commands([[sys.executable, *torchrun, "-m", MODULE, str(folder / PARAMETERS_FILE)]])
    run = open_run(folder)
    if run is None:
        raise ProcessFailedError(
            f"training on {parameters.devices} devices failed (exit status {status}); see the output above", [folder]
        )
    return run


def _being_trained(folder: Path) -> ValueError:
    return ValueError(f"{folder}: another process is training this run; wait for it, or stop it")


def _stale_note(run: Run) -> str:
    """Return a note if a reused run was made by other code, as rerun="never" allows; else an empty text."""
    current = fingerprint(run.parameters)
    if run.code is not None and run.code.digest == current.digest:
        return ""
    return f"; made by other code ({describe_difference(run.code, current)}), reused as rerun=never says"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one experiment as a process that torchrun, `fabric run` or `lad.experiments.processes` starts.

    `lad run` is the command for people. Lightning's launcher needs a script, and this file is one.

    Args:
        arguments: The words after the module; None reads them from the command line.
    """
    parser = argparse.ArgumentParser(
        prog="python -m lad.experiments.runner",
        description="Run one experiment, as one of the processes of torchrun or fabric run. By itself: lad run FILE.",
    )
    parser.add_argument("file", type=Path, help="a run's params.json, or a YAML of parameters as in params/")
    parser.add_argument(
        "-p", dest="changes", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="set a parameter, for instance -p profile coco_1x; may be repeated",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    try:
        run_experiment(read_parameters(given.file, read_changes(given.changes)))
    except OSError as error:
        parser.exit(1, f"{error.strerror or error}; the same command resumes the run from its last checkpoint\n")
    except ValueError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
