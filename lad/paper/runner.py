"""Run all experiments of a table of the paper, or of one's own: every row, every seed and the teachers they need.

    lad table table2_soft_label_vs_lad --profile toy --seeds 3 --jobs 2
    lad table mine.yaml --profile toy --seeds 5
    lad table table2_soft_label_vs_lad --profile coco_1x --engine slurm --job slurm_partition=gpu

Each run is a notebook executed by papermill in a process of its own, on this machine or on those of a cluster. Finished
runs are skipped, interrupted runs resume from their last checkpoint, and a failed run does not stop the others: run the
same command again to do the rest.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lad.config.experiment import Parameters
from lad.distillation.methods import METHODS
from lad.experiments.failure import LOG_NOTE
from lad.experiments.run_store import find_run, is_training
from lad.paper.engines.engine import LOG_FILE, Engine, Submitted
from lad.paper.engines.execution import prepare
from lad.paper.tables import Experiments
from lad.training.checkpoint import checkpoints
from lad.utils.old_command import run_command
from lad.utils.paths import ensure_writable
from lad.utils.progress import log

POLL_INTERVAL = 0.2  # seconds
MAX_DEATHS = 3  # of workers that execute a run, without a new checkpoint in between


@dataclass
class Task:
    """A run to execute.

    Attributes:
        parameters: Parameters of the run.
        teachers: Names of the runs that must be finished first.
        started: Monotonic time when it was submitted, in seconds.
        error: Why the run failed.
        folder: Folder of the run, once submitted.
        checkpoint: Name of its newest checkpoint when its worker last died.
        deaths: Number of workers that died since it last had another checkpoint.
    """

    parameters: Parameters
    teachers: tuple[str, ...] = ()
    started: float = 0.0
    error: str | None = None
    folder: Path = Path()
    checkpoint: str | None = None
    deaths: int = 0

    @cached_property
    def name(self) -> str:
        """Return the name of the run, which has the hash of all parameters."""
        return self.parameters.run_name


def plan_tasks(experiments: Experiments) -> dict[str, Task]:
    """Return the runs of a table by name, each once, teachers before their students."""
    tasks: dict[str, Task] = {}
    for of_row in experiments.parameters.values():
        for parameters in of_row:
            for task in _with_teachers(parameters):
                tasks.setdefault(task.name, task)
    return tasks


def run_tasks(tasks: dict[str, Task], engine: Engine) -> list[Task]:
    """Execute the unfinished runs, at most as many at once as the engine takes.

    A run whose worker died is submitted again, and resumes from its last checkpoint.

    Returns:
        The tasks that failed, or whose teacher failed.

    Raises:
        ConnectionError: The cluster does not answer any more.
    """
    waiting = [task for task in tasks.values() if _needs_training(task)]
    done = len(tasks) - len(waiting)
    log(f"{len(tasks)} runs, {done} already finished")
    running: dict[str, Submitted] = {}
    failed: list[Task] = []
    try:
        while waiting or running:
            for name, submitted in list(running.items()):
                task, state = tasks[name], submitted.poll()
                if state == "running":
                    continue
                del running[name]
                if state == "lost" and _may_resume(task):
                    log(f"{name}: its worker died; another one resumes it")
                    waiting.insert(0, task)
                    continue
                if state != "finished" or find_run(task.parameters) is None:
                    task.error = _last_line(task.folder / LOG_FILE)
                    failed.append(task)
                done += 1
                log(f"[{done}/{len(tasks)}] {name} · {_outcome(task)}")
            failed_names = {task.name for task in failed}
            for task in [task for task in waiting if failed_names.intersection(task.teachers)]:
                waiting.remove(task)
                task.error = f"its teacher {' and '.join(failed_names.intersection(task.teachers))} failed"
                failed.append(task)
            pending = {task.name for task in waiting} | running.keys()
            for task in list(waiting):
                if len(running) == engine.capacity:
                    break
                if pending.isdisjoint(task.teachers) and not is_training(task.parameters):
                    waiting.remove(task)
                    if not _needs_training(task):  # finished by a process of an earlier, killed command
                        done += 1
                        continue
                    running[task.name] = _submit(task, engine)
            time.sleep(POLL_INTERVAL)
    finally:
        for submitted in running.values():  # interrupted
            submitted.cancel()
    return failed


def check_folders(tasks: Mapping[str, Task], profile: str, results: Path | None) -> tuple[Path, Path]:
    """Return the folders of the runs and of the tables, after checking that both can be written.

    Args:
        tasks: All runs of the table.
        profile: Its profile.
        results: Folder of all tables; None for one in the folder of the runs.

    Raises:
        ValueError: A folder cannot be written; names it.
    """
    out = Path(next(iter(tasks.values())).parameters.out)
    if any(map(_needs_training, tasks.values())):
        ensure_writable(out, "out")
    folder = results or out / "results"
    ensure_writable(folder / profile, "--results" if results else "out")
    return out, folder


def _with_teachers(parameters: Parameters) -> Iterator[Task]:
    """Yield the tasks of a run and of the teachers that must be trained before it."""
    is_trained_before = parameters.teacher_epochs is not None or parameters.teacher_checkpoint is not None
    trains_both = METHODS[parameters.method].trains_teacher and not is_trained_before
    teachers = []
    if parameters.needs_teacher:
        teachers = parameters.of_teachers()[1 if trains_both else 0 :]
    for teacher in teachers:
        yield from _with_teachers(teacher)
    yield Task(parameters, tuple(teacher.run_name for teacher in teachers))


def _needs_training(task: Task) -> bool:
    return task.parameters.rerun == "always" or find_run(task.parameters) is None


def _submit(task: Task, engine: Engine) -> Submitted:
    job = prepare(task.parameters)
    task.folder, task.started = job.folder, time.monotonic()
    return engine.submit(job)


def _may_resume(task: Task) -> bool:
    """Count the death of a task's worker; return whether to try again, as too many without progress are its own fault.

    A run makes progress if its newest checkpoint is another one than at the previous death.
    """
    newest = next((path.name for path in checkpoints(task.folder)), None)
    task.deaths = task.deaths + 1 if newest == task.checkpoint else 1
    task.checkpoint = newest
    return task.deaths < MAX_DEATHS


def _outcome(task: Task) -> str:
    run = find_run(task.parameters)
    if run is None or task.error is not None:
        return f"failed: {task.error}"
    average_precision = run.metrics["AP"]
    result = "no AP" if average_precision is None else f"AP {average_precision:.3f}"
    return f"{result}, {(time.monotonic() - task.started) / 60:.1f} min"


def _last_line(log: Path) -> str:
    """Return the last line of a log, without the notes behind an error."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith(LOG_NOTE)]
    return lines[-1] if lines else f"exited without output; see {log}"


if __name__ == "__main__":
    sys.exit(run_command("table"))
