"""Runs in processes of their own: their output line by line, and interrupts passed on to them."""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from lad.config.experiment import Parameters
from lad.experiments.failure import ProcessFailedError
from lad.experiments.run_store import folder_to_train
from lad.training.devices import available_cores
from lad.training.interrupt import defer_signals
from lad.utils.progress import log

MODULE = "lad.experiments.runner"


def run_commands(commands: Sequence[Sequence[str]]) -> list[int]:
    """Run commands at the same time and return their exit statuses; works in scripts and notebooks.

    An interrupt is passed on to the processes: they save a checkpoint after the current step.
    """
    # In sessions of their own, they get no Ctrl-C from the terminal, only the signal that this process passes on.
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "start_new_session": True}
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, text=True, **options))  # noqa: S603  a list of words, no shell
            for command in commands
        ]
        stack.enter_context(defer_signals(lambda: _terminate(processes)))
        readers = [threading.Thread(target=_log_output, args=(process,)) for process in processes]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    return [process.returncode for process in processes]


def train_side_by_side(runs: Sequence[Parameters]) -> None:
    """Train independent runs at the same time.

    Raises:
        ProcessFailedError: A run failed; its output says why.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.json" for number in range(len(runs))]
        for file, parameters in zip(files, runs, strict=True):
            file.write_text(parameters.model_dump_json(), encoding="utf-8")
        statuses = run_commands([[sys.executable, "-m", MODULE, str(file)] for file in files])
    failed = [parameters for parameters, status in zip(runs, statuses, strict=True) if status]
    if failed:
        names, folders = [run.run_name for run in failed], [folder_to_train(run) for run in failed]
        raise ProcessFailedError(f"training {' and '.join(names)} failed; see the output above", folders)


def fit_side_by_side(runs: Sequence[Parameters]) -> bool:
    """Return whether each of several runs can have its threads on cores of its own."""
    on_cpu = all(run.accelerator == "cpu" for run in runs) or not torch.cuda.is_available()
    threads = [run.threads * run.devices for run in runs]  # 0: all cores
    return len(runs) > 1 and on_cpu and min(threads) > 0 and sum(threads) <= available_cores()


def _terminate(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.terminate()


def _log_output(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        log(line.rstrip())
