"""Small runs in processes of their own, and faults injected into them."""

import contextlib
import multiprocessing
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from tiny_runs import tiny

from lad.config.experiment import Parameters
from lad.experiments.run_store import Run, find_run
from lad.experiments.runner import run_experiment
from lad.training.checkpoint import checkpoints

# Torch is imported once, in a fork server; each process is a fork of it and starts in an instant.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["lad.experiments.runner"])
TIMEOUT = 300.0  # seconds for a run to end, on a busy machine


def cached_lad(data: Path, out: Path, **changes: object) -> Parameters:
    """Return the parameters of LAD with a cached teacher, which is trained first.

    Both train three epochs of three steps each, with a checkpoint after every step.
    """
    lad = {"method": "lad", "teacher": "r18", "epochs": 3, "cache_teacher": True, "checkpoint_every": 1}
    return tiny(data, out, **{**lad, **changes})


def start(parameters: Parameters) -> BaseProcess:
    """Start the run in a process."""
    process = SERVER.Process(target=_quietly_run, args=(parameters,))
    process.start()
    return process


def _quietly_run(parameters: Parameters) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also under nohup, which ignores the signal
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        run_experiment(parameters)


def wait_until(condition: Callable[[], object], is_running: Callable[[], bool]) -> None:
    """Wait until the condition holds or the process has ended.

    Raises:
        TimeoutError: The process is still running after `TIMEOUT` seconds, and the condition does not hold.
    """
    deadline = time.monotonic() + TIMEOUT
    while not condition() and is_running():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the condition does not hold after {TIMEOUT:.0f} s")
        time.sleep(0.01)


def outcome(run: Run) -> dict[str, object]:
    """Return everything that must not depend on faults: the bytes of the weights, and the metrics without times."""
    epochs = [{name: value for name, value in line.items() if "seconds" not in name} for line in run.epochs]
    weights = {path.name: path.read_bytes() for path in run.folder.glob("*.safetensors")}
    return {"weights": weights, "epochs": epochs, "metrics": run.metrics}


def finish(parameters: Parameters) -> dict[str, object]:
    """Train the rest of a run without faults and return its outcome."""
    process = start(parameters)
    process.join(timeout=TIMEOUT)
    assert process.exitcode == 0
    run = find_run(parameters)
    assert run is not None
    return outcome(run)


def kill_at_random(parameters: Parameters, times: int, dice: random.Random, longest: float = 1.0) -> list[Parameters]:
    """Start the run and kill it at a random time, repeatedly; if it finishes before, start another one.

    Args:
        parameters: Parameters of the run.
        times: Number of kills.
        dice: Generator of the times.
        longest: Maximal number of seconds from a start to a kill.

    Returns:
        The parameters of the runs that were started, each in a folder of its own; the last one is unfinished.
    """
    runs = [parameters]
    while times:
        process = start(runs[-1])
        process.join(timeout=dice.uniform(0, longest))
        if process.exitcode is None:
            process.kill()
            process.join()
            times -= 1
        else:
            assert process.exitcode == 0
            runs.append(parameters.model_copy(update={"out": f"{parameters.out}-{len(runs)}"}))
    return runs


def fill_the_disk(process: BaseProcess, room: int) -> None:
    """Limit every file of the process to `room` bytes from now on, so that a write fails in the middle."""
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))


def corrupt(path: Path, dice: random.Random) -> None:
    """Truncate a file, flip a bit, or overwrite a block with zeros."""
    content = bytearray(path.read_bytes())
    place = dice.randrange(len(content))
    match dice.randrange(3):
        case 0:
            del content[place:]
        case 1:
            content[place] ^= 1 << dice.randrange(8)
        case _:
            content[place : place + 4096] = bytes(len(content[place : place + 4096]))
    path.write_bytes(content)


def folder_of(parameters: Parameters) -> Path:
    """Return the folder of a run."""
    return Path(parameters.out) / parameters.run_name


def newest_checkpoint(parameters: Parameters) -> Path | None:
    """Return the newest checkpoint of the run, or of its teacher while the teacher is trained."""
    for run in (parameters, *([parameters.of_teacher()] if parameters.teacher else [])):
        paths = checkpoints(folder_of(run))
        if paths:
            return paths[0]
    return None
