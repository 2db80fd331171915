"""Run a whole table of the paper: every row, every seed and every teacher they need, each a notebook run by papermill.

    lad table table2_soft_label_vs_lad --profile toy --seeds 3 --jobs 2

Finished runs are skipped, interrupted ones go on from their last epoch, and a row that fails does not stop the others:
the same command, started again, does what is left.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lad import figures
from lad.config.experiment import Parameters
from lad.config.profiles import PROFILES
from lad.config.yaml_file import read_value
from lad.distillation.methods import METHODS
from lad.experiments.leaderboard import format_table
from lad.experiments.run_store import find_run, is_training
from lad.experiments.runner import versions, write_json
from lad.paper.published import TABLES
from lad.paper.tables import Experiments, Results, answer, open_table, summary, to_json, to_markdown
from lad.utils.paths import project_folder
from lad.utils.progress import log

NOTEBOOK = "run_lad.ipynb"
POLL = 0.2  # seconds between looks at what runs


@dataclass
class Task:
    """One run to make. teacher: the name of the run that it needs first."""

    parameters: Parameters
    teacher: str | None = None
    process: subprocess.Popen[bytes] | None = None
    slot: int = 0
    started: float = 0.0
    error: str | None = field(default=None)

    @property
    def name(self) -> str:
        return self.parameters.run_name

    @property
    def folder(self) -> Path:
        return Path(self.parameters.out) / self.name


def tasks_of(experiments: Experiments) -> dict[str, Task]:
    """The runs of a table by name, each once, teachers before those that they teach."""
    tasks: dict[str, Task] = {}
    for each in experiments.parameters.values():
        for parameters in each:
            for one in _with_teachers(parameters):
                tasks.setdefault(one.name, one)
    return tasks


def run_tasks(tasks: dict[str, Task], jobs: int) -> list[Task]:
    """Make the runs that are not finished, `jobs` at once, each on a device of its own where there are several. Returns
    those that failed or whose teacher failed."""
    waiting = [task for task in tasks.values() if find_run(task.parameters) is None]
    log(f"{len(tasks)} runs, {len(tasks) - len(waiting)} of them finished before")
    running: list[Task] = []
    failed: list[Task] = []
    number = len(tasks) - len(waiting)
    try:
        while waiting or running:
            for task in [one for one in running if one.process is not None and one.process.poll() is not None]:
                running.remove(task)
                if find_run(task.parameters) is None:
                    task.error = _last_line(task.folder / "log.txt")
                    failed.append(task)
                number += 1
                log(f"[{number}/{len(tasks)}] {task.name} · {_outcome(task)}")
            lost = {task.name for task in failed}
            for task in [one for one in waiting if one.teacher in lost]:
                waiting.remove(task)
                task.error = f"its teacher {task.teacher} failed"
                failed.append(task)
            for task in list(waiting):
                if len(running) < jobs and _is_ready(task):
                    waiting.remove(task)
                    if find_run(task.parameters) is not None:  # by a process that another start of this command left
                        number += 1
                        continue
                    _start(task, min(set(range(jobs)) - {one.slot for one in running}), jobs)
                    running.append(task)
            time.sleep(POLL)
    finally:
        for task in running:  # on an interruption: papermill takes its kernel with it
            assert task.process is not None
            task.process.terminate()
    return failed


def write_results(results: Results, folder: Path, command: str) -> Path:
    """Write <folder>/<profile>/<table>.json, .md and .png; returns the path of the JSON."""
    path = folder / results.profile / f"{results.table.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"command": command, "versions": versions(), **to_json(results)})
    text = f"# {results.table.question}\n\n    {command}\n\n{to_markdown(summary(results))}\n"
    told = "".join(f"* {sentence}\n" for sentence in answer(results).splitlines())
    path.with_suffix(".md").write_text(text + told, encoding="utf-8")
    figures.draw_comparison(results.averages()).savefig(path.with_suffix(".png"))
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="lad table", description=__doc__.split("\n\n")[0])
    parser.add_argument("table", choices=TABLES, metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--profile", default="toy", choices=PROFILES)
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="seeds 0 … N − 1 of every row")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="runs at once, one per device or share of cores"
    )
    parser.add_argument(
        "--results", type=Path, metavar="FOLDER", help="for the table; default: results/ beside the runs"
    )
    parser.add_argument(
        "-p", dest="changes", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="a parameter of every row",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    try:
        changes = {name: read_value(name, text) for name, text in given.changes}
        experiments = open_table(given.table, given.profile, given.seeds, changes)
    except ValueError as error:
        parser.error(str(error))
    if given.jobs < 1:
        parser.error(f"--jobs {given.jobs}: at least 1")
    out = Path(next(iter(experiments.parameters.values()))[0].out)
    command = "lad table " + subprocess.list2cmdline(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; the same command goes on from here"))
    try:
        failed = run_tasks(tasks_of(experiments), given.jobs)
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")
    results = experiments.finished()
    path = write_results(results, given.results or out / "results", command)
    log(f"\n{format_table(summary(results))}\n\n{answer(results)}\n\nwritten to {path}, .md and .png")
    if failed:
        log(f"\n{len(failed)} of the runs failed; the same command tries them again:")
        for task in failed:
            log(f"  {task.name}: {task.error}")
    return 1 if failed else 0


def _with_teachers(parameters: Parameters) -> Iterator[Task]:
    beside = METHODS[parameters.method].trains_teacher and parameters.teacher_epochs is None
    if not METHODS[parameters.method].needs_teacher or beside:
        yield Task(parameters)
        return
    teacher = parameters.of_teacher()
    yield from _with_teachers(teacher)
    yield Task(parameters, teacher.run_name)


def _is_ready(task: Task) -> bool:
    """Its teacher is trained, and no process that an earlier start of this command left trains it."""
    if is_training(task.parameters):
        return False
    return task.teacher is None or (task.folder.parent / task.teacher / "results.json").is_file()


def _start(task: Task, slot: int, jobs: int) -> None:
    task.folder.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {"compare": False, "settings": task.parameters.model_dump(exclude_none=True)}
    file = task.folder / "run_lad.yaml"
    file.write_text(json.dumps(given), encoding="utf-8")
    notebook = project_folder() / "notebooks" / NOTEBOOK
    quiet = ["--no-progress-bar", "--log-level", "ERROR", "--stdout-file", "-"]
    command = [sys.executable, "-m", "papermill", *quiet, str(notebook), str(task.folder / NOTEBOOK), "-f", str(file)]
    with open(task.folder / "log.txt", "wb") as log:
        surroundings = _environment(task.parameters, slot, jobs)
        task.process = subprocess.Popen(  # noqa: S603  a list of words, no shell
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=surroundings
        )
    task.slot, task.started = slot, time.monotonic()


def _environment(parameters: Parameters, slot: int, jobs: int) -> dict[str, str]:
    """Devices or a share of the cores, so that runs at once do not tread on each other."""
    environment = dict(os.environ)
    if jobs == 1:
        return environment
    if parameters.accelerator != "cpu" and torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(torch.cuda.device_count())))).split(
            ","
        )
        wanted = [visible[(slot * parameters.devices + index) % len(visible)] for index in range(parameters.devices)]
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(dict.fromkeys(wanted))
    else:
        environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    return environment


def _outcome(task: Task) -> str:
    run = find_run(task.parameters)
    if run is None:
        return f"failed: {task.error}"
    average_precision = run.metrics["AP"]
    judged = "no AP" if average_precision is None else f"AP {average_precision:.3f}"
    return f"{judged}, {(time.monotonic() - task.started) / 60:.1f} min"


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"stopped without a word; see {log}"


if __name__ == "__main__":
    sys.exit(main())
