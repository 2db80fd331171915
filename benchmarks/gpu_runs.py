"""Training runs for `gpu.py`: processes that share the device, until all have finished or the time is over."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from gpu_stage import FAILED, FINISHED, GRACE, NOT_STARTED, RUNNING, UNFINISHED, Left

from lad.experiments.run_store import PARAMETERS_FILE, find_run, folder_to_train
from lad.paper.runner import Task
from lad.training.metrics_file import read_metrics
from lad.utils.atomic_io import write_json
from lad.utils.progress import log

POLL_INTERVAL = 0.5  # seconds
MIN_SECONDS = 20.0  # that must be left to start a run
Rows = list[dict[str, Any]]


def train(tasks: dict[str, Task], jobs: int, report: Callable[[Rows], object], left: Left) -> Rows:
    """Train the unfinished runs in their order, a student after its teacher.

    At the end of the time, a run saves a checkpoint after its step and ends; the same command resumes it.

    Args:
        tasks: Runs by name.
        jobs: Number of runs at the same time.
        report: Called with the state of all runs whenever it changes.
        left: Returns the seconds that are left.

    Returns:
        The state of each run.
    """
    waiting = [task for task in tasks.values() if find_run(task.parameters) is None]
    running: list[Task] = []
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        while (waiting or running) and left() > 0:
            ended = [task for task in running if processes[task.name].poll() is not None]
            for task in ended:
                running.remove(task)
                if find_run(task.parameters) is None:
                    task.error = _last_lines(task, processes[task.name])
            pending = {task.name for task in (*waiting, *running)}
            failed = {task.name for task in tasks.values() if task.error}
            for task in [task for task in waiting if failed.intersection(task.teachers)]:
                waiting.remove(task)
                task.error = f"its teacher {' and '.join(failed.intersection(task.teachers))} failed"
            ready = [task for task in waiting if pending.isdisjoint(task.teachers)] if left() > MIN_SECONDS else []
            started = ready[: jobs - len(running)]
            for task in started:
                waiting.remove(task)
                running.append(task)
                processes[task.name] = _start(task)
                log(f"training {task.name}")
            if not running:
                break
            if ended or started:
                report([_state(task, processes.get(task.name)) for task in tasks.values()])
            time.sleep(POLL_INTERVAL)
    finally:
        unfinished = [processes[task.name] for task in running]
        for process in unfinished:
            process.send_signal(signal.SIGTERM)
        for process in unfinished:
            try:
                process.wait(GRACE / 2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    rows = [_state(task, processes.get(task.name)) for task in tasks.values()]
    report(rows)
    return rows


def _start(task: Task) -> subprocess.Popen[bytes]:
    task.folder = folder_to_train(task.parameters)
    task.folder.mkdir(parents=True, exist_ok=True)
    file = task.folder / PARAMETERS_FILE
    write_json(file, task.parameters.model_dump())
    command = [sys.executable, "-m", "lad.experiments.runner", str(file)]
    task.started = time.monotonic()
    with (task.folder / "log.txt").open("ab") as output:
        return subprocess.Popen(  # noqa: S603  a list of words, no shell
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )


def _state(task: Task, process: subprocess.Popen[bytes] | None) -> dict[str, Any]:
    """Return the state of a run: its status, finished epochs, and its AP or its error."""
    run = find_run(task.parameters)
    if run is not None:
        seconds = round(run.results["seconds"], 1)
        return {"run": task.name, "status": FINISHED, "AP": run.metrics["AP"], "seconds": seconds}
    if task.error is not None:
        return {"run": task.name, "status": FAILED, "error": task.error}
    if process is None:
        return {"run": task.name, "status": NOT_STARTED}
    status = RUNNING if process.poll() is None else UNFINISHED
    return {"run": task.name, "status": status, "epochs_done": len(read_metrics(task.folder))}


def _last_lines(task: Task, process: subprocess.Popen[bytes]) -> str:
    """Return the end of a run's output."""
    lines = (task.folder / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-3:]) or f"exit status {process.returncode} without output"
