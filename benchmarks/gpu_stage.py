"""A stage of `gpu.py`: a process of its own with a time limit, and a JSON file that is written after every result.

A stage is a module with a function `run(settings, save, left)`: `save` writes what it has so far, `left` returns the
seconds until its limit. Whatever ends it (an exception, a crash, the limit), the file keeps the results before that.
"""

import importlib
import json
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from measure import machine

from lad.experiments.run_results import versions
from lad.utils.atomic_io import write_json

GRACE = 15  # seconds that a stage has to end after its limit, to save checkpoints
RUNNING, FINISHED, UNFINISHED, FAILED, NOT_STARTED = "running", "finished", "unfinished", "failed", "not started"
NO_TIME = "no time was left"

Save = Callable[[dict[str, Any]], None]
Left = Callable[[], float]


@dataclass(frozen=True)
class Settings:
    """The settings of all stages.

    Attributes:
        device: "cuda" or "cpu".
        is_tiny: Whether sizes are those of the tests.
        folder: Folder of the stages' files.
        runs: Folder of the training runs.
        epochs: Epochs of the training runs; None for as many as fit.
        command: The command line.
        card: Name of the device.
    """

    device: str
    is_tiny: bool
    folder: Path
    runs: Path
    epochs: int | None
    command: str
    card: str


def stage_file(settings: Settings, name: str) -> Path:
    """Return the JSON file of a stage."""
    return settings.folder / f"{name}.json"


def read_stage(settings: Settings, name: str) -> dict[str, Any] | None:
    """Return the content of a stage's file; None if it has not been written."""
    path = stage_file(settings, name)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write_stage(settings: Settings, name: str, status: str, seconds: float, **content: Any) -> None:
    """Write a stage's file: its status, the device, the versions, the command, and `content`."""
    cuda = {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()} if settings.device == "cuda" else {}
    about = {
        "stage": name, "status": status, "card": settings.card, "machine": machine(), "command": settings.command,
        "is_tiny": settings.is_tiny, "versions": versions() | cuda, "seconds": round(seconds, 1),
    }  # fmt: skip
    write_json(stage_file(settings, name), about | content)


def run_stage(name: str, module: str, settings: Settings, limit: float) -> dict[str, Any]:
    """Run a stage in a process of its own, which is stopped after `limit` seconds.

    Without time, the stage is not started, and a file of an earlier command is kept.

    Args:
        name: Name of the stage, of its file.
        module: Module with the function `run`.
        settings: Settings of all stages.
        limit: Seconds.

    Returns:
        What is in the stage's file, or would be without the earlier one.
    """
    if limit <= 0:
        if not stage_file(settings, name).exists():
            write_stage(settings, name, NOT_STARTED, 0, error=NO_TIME)
        return {"status": NOT_STARTED, "seconds": 0.0, "error": NO_TIME}
    started = time.monotonic()
    write_stage(settings, name, RUNNING, 0, result={})
    process = start_process(_run, name, module, settings, started, limit)
    reason = "the benchmark was stopped"
    try:
        process.join(limit + GRACE)
        is_late, code = process.is_alive(), process.exitcode
        reason = f"stopped after {limit:.0f} s" if is_late else f"its process ended with exit status {code}"
    finally:
        is_stopped = process.is_alive()
        stop_process(process)
        written = read_stage(settings, name)
        if written["status"] == RUNNING:
            status, seconds = UNFINISHED if is_stopped else FAILED, time.monotonic() - started
            write_stage(settings, name, status, seconds, error=reason, result=written["result"])
    return read_stage(settings, name)


def start_process(task: Callable[..., object], *arguments: object) -> BaseProcess:
    """Start a process that calls task(*arguments) and leads a process group of its own."""
    process = multiprocessing.get_context("spawn").Process(target=_lead_group, args=(task, *arguments))
    process.start()
    return process


def stop_process(process: BaseProcess) -> None:
    """Stop a process of `start_process` and all that it started: they get `GRACE` seconds to save their work."""
    grace = GRACE if process.is_alive() else 1
    for number in (signal.SIGTERM, signal.SIGKILL):
        end, exists = time.monotonic() + grace, _signal_group(process, number)
        while exists and time.monotonic() < end:
            process.join(0.1)
            exists = _signal_group(process, 0)
    if process.is_alive():  # it has not come to lead a group yet
        process.kill()
    process.join()


def _lead_group(task: Callable[..., object], *arguments: object) -> None:
    os.setsid()
    task(*arguments)


def _signal_group(process: BaseProcess, number: int) -> bool:
    """Send a signal (0: none) to a process's group; return whether the group exists."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def _run(name: str, module: str, settings: Settings, started: float, limit: float) -> None:
    result: dict[str, Any] = {}

    def seconds() -> float:
        return time.monotonic() - started

    def save(new_result: dict[str, Any]) -> None:
        result.update(new_result)
        write_stage(settings, name, RUNNING, seconds(), limit=round(limit), result=result)

    try:
        importlib.import_module(module).run(settings, save, lambda: limit - seconds())
    except Exception as error:
        traceback.print_exc()
        lines = traceback.format_exc().splitlines()[-12:]
        message = f"{type(error).__name__}: {error}"
        write_stage(settings, name, FAILED, seconds(), error=message, traceback=lines, result=result)
    else:
        status = result.pop("status", FINISHED)
        write_stage(settings, name, status, seconds(), limit=round(limit), result=result)
