"""Run all experiments of a table of the paper, or of one's own: every row, every seed and the teachers they need.

    lad table table2_soft_label_vs_lad --profile toy --seeds 3 --jobs 2
    lad table mine.yaml --profile toy --seeds 5
    lad table table2_soft_label_vs_lad --profile coco_1x --engine slurm --job slurm_partition gpu

Each run is a notebook executed by papermill in a process of its own, on this machine or on those of a cluster. Finished
runs are skipped, interrupted runs resume from their last checkpoint, and a failed run does not stop the others: run the
same command again to do the rest.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lad import figures
from lad.config.experiment import Parameters
from lad.config.profiles import PROFILES
from lad.config.reading import read_changes
from lad.distillation.methods import METHODS
from lad.experiments.leaderboard import format_table
from lad.experiments.run_store import find_run, is_training
from lad.experiments.runner import versions, write_json
from lad.paper.definitions import TABLES
from lad.paper.engines.engine import LOG_FILE, Engine, Submitted
from lad.paper.engines.execution import prepare
from lad.paper.engines.options import add_engine_options, open_engine
from lad.paper.output import to_json
from lad.paper.tables import Experiments, Results, conclusions, open_table, summary
from lad.training.checkpoint import checkpoints
from lad.utils.atomic_io import atomic_write, write_text
from lad.utils.old_command import run_command
from lad.utils.paths import ensure_writable
from lad.utils.progress import log
from lad.utils.tables import to_csv, to_latex, to_markdown

POLL_INTERVAL = 0.2  # seconds
MAX_DEATHS = 3  # of workers that execute a run, without a new checkpoint in between
INTERRUPTED = "interrupted; run the same command to resume"


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

    @property
    def name(self) -> str:
        """Return the name of the run."""
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
            for task in list(waiting):
                pending = {other.name for other in waiting} | running.keys()
                if (
                    len(running) < engine.capacity
                    and pending.isdisjoint(task.teachers)
                    and not is_training(task.parameters)
                ):
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


def write_results(results: Results, folder: Path, command: str) -> Path:
    """Write the table to <folder>/<profile>/<table>.json, .md, .csv, .tex and .png; return the path of the JSON file.

    The JSON comes first and holds everything: it stays if the other files cannot be written.

    Args:
        results: Finished runs of the table.
        folder: Folder of all tables.
        command: Command that made the table, for the files.

    Raises:
        OSError: A file cannot be written; names it.
    """
    path = folder / results.profile / f"{results.table.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"command": command, "versions": versions(), **to_json(results)})
    text = f"# {results.table.question}\n\n    {command}\n\n{to_markdown(summary(results))}\n\n"
    sentences = "".join(f"* {sentence}\n" for sentence in conclusions(results).splitlines())
    write_text(path.with_suffix(".md"), text + sentences)
    write_text(path.with_suffix(".csv"), f"{to_csv(summary(results))}\n")
    write_text(path.with_suffix(".tex"), f"{to_latex(summary(results))}\n")
    with atomic_write(path.with_suffix(".png")) as unfinished:
        figures.draw_comparison(results.ap_by_row()).savefig(unfinished, format="png")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command `lad table`; return 1 if a run failed, 130 if interrupted, else 0."""
    parser = argparse.ArgumentParser(prog="lad table", description=__doc__.split("\n\n")[0])
    parser.add_argument("table", metavar="TABLE", help=f"{', '.join(TABLES)}, or the .yaml file of a table of your own")
    parser.add_argument("--profile", default="toy", choices=PROFILES, help="profile of all runs (default: toy)")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="run seeds 0 … N − 1 of every row")
    add_engine_options(parser)
    parser.add_argument(
        "--results", type=Path, metavar="FOLDER", help="folder of the table's files (default: results/ beside the runs)"
    )
    parser.add_argument(
        "-p", dest="changes", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="set a parameter of all runs; may be repeated",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    try:
        experiments = open_table(given.table, given.profile, given.seeds, read_changes(given.changes))
        out = Path(next(iter(experiments.parameters.values()))[0].out)
        tasks = plan_tasks(experiments)
        if any(map(_needs_training, tasks.values())):
            ensure_writable(out, "out")
        ensure_writable((given.results or out / "results") / given.profile, "--results" if given.results else "out")
    except ValueError as error:
        parser.error(str(error))
    command = "lad table " + subprocess.list2cmdline(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(INTERRUPTED))
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(open_engine(given, out, [task.parameters for task in tasks.values()]))
        except ValueError as error:
            parser.error(str(error))
        try:
            failed = run_tasks(tasks, engine)
        except ConnectionError as error:
            sys.exit(f"{error}; run the same command to resume")
        except KeyboardInterrupt:
            print(INTERRUPTED, file=sys.stderr)
            return 130
    results = experiments.finished()
    log(f"\n{format_table(summary(results))}\n\n{conclusions(results)}\n")
    try:
        log(f"written to {write_results(results, given.results or out / 'results', command)}, .md, .csv, .tex and .png")
    except OSError as error:
        log(f"{error}; the runs are in {out}, and the same command writes the table without training them again")
        return 1
    if failed:
        log(f"\n{len(failed)} of the runs failed; run the same command to retry them:")
        for task in failed:
            log(f"  {task.name}: {task.error}")
    return 1 if failed else 0


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
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"exited without output; see {log}"


if __name__ == "__main__":
    sys.exit(run_command("table"))
