"""Small runs in processes of their own, and what can happen to them."""

import contextlib
import multiprocessing
import os
import random
import resource
import signal
from multiprocessing.process import BaseProcess
from pathlib import Path

from lad.config.experiment import Parameters, make_parameters
from lad.data.synthetic.shapes import write_shapes
from lad.experiments.run_store import Run, find_run
from lad.experiments.runner import run_experiment
from lad.training.checkpoint import checkpoints

# Torch is imported once, in a server; each process is a fork of it, there in an instant.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["lad.experiments.runner"])


def write_pictures(folder: Path) -> Path:
    """Twelve to train on, six to judge."""
    write_shapes(folder, "toy", {"train": 12, "val": 6})
    return folder


def tiny(pictures: Path, out: Path, **changes) -> Parameters:
    """Three epochs of three steps; LAD that remembers its teacher, which is trained first."""
    return make_parameters(
        {
            "data": str(pictures), "out": str(out), "method": "lad", "student": "r18", "teacher": "r18", "epochs": 3,
            "cache_teacher": True, "batch_size": 4, "short_sides": [128], "test_short_side": 128, "long_side": 128,
            "accelerator": "cpu", "checkpoint_every": 1, **changes,
        }
    )  # fmt: skip


def start(parameters: Parameters) -> BaseProcess:
    process = SERVER.Process(target=_quietly_run, args=(parameters,))
    process.start()
    return process


def _quietly_run(parameters: Parameters) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # heard also where the tests run under nohup
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        run_experiment(parameters)


def outcome(run: Run) -> dict[str, object]:
    """All that has to be the same, whatever happened: the bytes of the weights, the metrics but for times."""
    epochs = [{name: value for name, value in line.items() if "seconds" not in name} for line in run.epochs]
    return {"weights": run.weights_file().read_bytes(), "epochs": epochs, "metrics": run.metrics}


def finish(parameters: Parameters) -> dict[str, object]:
    """Run what is left, undisturbed."""
    process = start(parameters)
    process.join()
    assert process.exitcode == 0
    run = find_run(parameters)
    assert run is not None
    return outcome(run)


def kill_at_random(parameters: Parameters, times: int, dice: random.Random, longest: float = 1.0) -> list[Parameters]:
    """Start the run and kill it, this many times, at any moment; where it was done before, another begins in a folder
    of its own. Returns all of them, to be finished."""
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
    """Let no file of the process grow beyond `room` bytes any more: a write then ends in the middle."""
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))


def damage(path: Path, dice: random.Random) -> None:
    """Cut it off, turn a bit, or overwrite a stretch with zeros."""
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


def newest_checkpoint(parameters: Parameters) -> Path | None:
    """Of the run itself, or of its teacher while that is trained."""
    for one in (parameters, *([parameters.of_teacher()] if parameters.teacher else [])):
        found = checkpoints(Path(parameters.out) / one.run_name)
        if found:
            return found[0]
    return None
