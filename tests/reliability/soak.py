"""Soak test: hours of toy training with random kills, corrupted checkpoints and full disks lose nothing.

    python tests/reliability/soak.py --hours 2

A process trains one run after the other, of every method, until a fault ends it; then another process continues.
Meanwhile its memory and its open files are measured. At the end, some runs are repeated without faults: they must be
equal.
"""

import argparse
import ctypes
import gc
import itertools
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import psutil

sys.path.append(str(Path(__file__).parents[1]))  # folder of runs.py, which faults.py imports
from faults import SERVER, corrupt, fill_the_disk, finish, newest_checkpoint, outcome

from lad.config.experiment import Parameters, make_parameters
from lad.distillation.methods import METHODS
from lad.experiments.run_store import find_run, finished_runs
from lad.experiments.runner import run_experiment

LIFETIME = (1.0, 1200.0)  # seconds until a fault, log-uniform
WARM_UP = 90.0  # seconds of a process that are not measured: its caches are filling
SAMPLE_EVERY = 5.0  # seconds
CORRUPTED, FULL = 0.25, 0.1  # shares: kills that also corrupt the newest checkpoint; faults that are full disks
ROOM = 500_000  # bytes on a full disk, less than a checkpoint


def runs_of(out: Path, seed: int) -> list[Parameters]:
    """Return the parameters of one run of each method, on a part of the toy images."""
    plain = {
        "student": "r18", "epochs": 4, "train_images": 96, "batch_size": 8, "eval_every": 4, "seed": seed,
        "checkpoint_every": 4, "accelerator": "cpu", "out": str(out),
    }  # fmt: skip
    taught = {"teacher": "r34", "teacher_epochs": 4}
    return [
        make_parameters(
            {
                **plain,
                "method": method,
                **(taught if method != "baseline" else {}),
                **({"teacher_epochs": None} if method == "colad" else {}),
                **({"cache_teacher": True} if method == "lad" else {}),
            }
        )
        for method in METHODS
    ]


def train_on(out: Path, log: Path) -> None:
    """Train one run after the other until a fault ends the process."""
    sys.stdout = sys.stderr = log.open("a", buffering=1)  # stays open for the message of an error that ends the process
    for seed in itertools.count():
        for parameters in runs_of(out, seed):
            run_experiment(parameters)
            release_memory()


def release_memory() -> None:
    """Return freed memory to the system: glibc's malloc keeps it, and the amount grows for hours without any leak."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def soak(out: Path, hours: float, seed: int) -> dict[str, object]:
    """Train with faults for some hours and return the numbers of faults and the measurements."""
    dice, started = random.Random(seed), time.monotonic()
    faults = {"kills": 0, "kills with a damaged checkpoint": 0, "full disks": 0}
    lives: list[np.ndarray] = []
    while (left := 3600 * hours - (time.monotonic() - started)) > 0:
        process = SERVER.Process(target=train_on, args=(out, out / "training.log"))
        process.start()
        low, high = map(math.log, LIFETIME)
        lives.append(watch(process, min(left, math.exp(dice.uniform(low, high)))))
        if process.exitcode is not None:
            raise RuntimeError(
                f"the training ended without a fault, with exit status {process.exitcode}; see {out / 'training.log'}"
            )
        if dice.random() < FULL:
            fill_the_disk(process, ROOM)
            process.join()
            assert process.exitcode == 1
            faults["full disks"] += 1
        else:
            process.kill()
            process.join()
            faults["kills"] += 1
            path = next(filter(None, map(newest_checkpoint, unfinished(out))), None)
            if path is not None and dice.random() < CORRUPTED:
                corrupt(path, dice)
                faults["kills with a damaged checkpoint"] += 1
        print(json.dumps({"minutes": round((time.monotonic() - started) / 60, 1), **faults}), flush=True)
    long = [life for life in lives if len(life) and life[-1, 0] > 2 * WARM_UP]
    return {
        "hours": round((time.monotonic() - started) / 3600, 2),
        **faults,
        "runs finished": len(finished_runs(out)),
        "lives long enough to measure": len(long),
        "memory": trend(long, 1, "MB"),
        "open files": trend(long, 2, "files"),
    }


def unfinished(out: Path) -> list[Parameters]:
    """Return the parameters of the runs that are not finished, of the first seed with such runs."""
    for seed in itertools.count():
        pending = [parameters for parameters in runs_of(out, seed) if find_run(parameters) is None]
        if pending:
            return pending
    return []


def watch(process: BaseProcess, seconds: float) -> np.ndarray:
    """Measure a process for some seconds or until it ends: [samples, 3], age in s, private memory in MB, open files."""
    started, samples = time.monotonic(), []
    while (age := time.monotonic() - started) < seconds and process.exitcode is None:
        try:
            status = psutil.Process(process.pid)
            samples.append([age, status.memory_full_info().uss / 1e6, status.num_fds()])
        except psutil.Error:
            break
        process.join(timeout=min(SAMPLE_EVERY, seconds - age))
    return np.array(samples).reshape(-1, 3)


def trend(lives: Sequence[np.ndarray], column: int, unit: str) -> str:
    """Return the common slope of all processes after their warm-up, each with its own level, and its standard error."""
    settled = [life[life[:, 0] > WARM_UP] for life in lives]
    if not settled:
        return "not measured: no life was long enough"
    hours = np.concatenate([(life[:, 0] - life[:, 0].mean()) / 3600 for life in settled])
    values = np.concatenate([life[:, column] - life[:, column].mean() for life in settled])
    slope = (hours @ values) / (hours @ hours)
    residual = values - slope * hours
    error = math.sqrt((residual @ residual) / max(len(values) - len(settled) - 1, 1) / (hours @ hours))
    level = statistics.median(np.concatenate([life[:, column] for life in settled]))
    return f"{slope:+.2f} ± {error:.2f} {unit} an hour, around {level:.0f} {unit}"


def repeat_undisturbed(out: Path, number: int, dice: random.Random) -> tuple[int, int]:
    """Repeat some finished runs without faults in another folder; return how many are equal, of how many."""
    finished = [run.parameters for run in finished_runs(out)]
    chosen = dice.sample(finished, min(number, len(finished)))
    same = 0
    for parameters in chosen:
        again = parameters.model_copy(update={"out": str(out / "again")})
        same += finish(again) == outcome(find_run(parameters))
    return same, len(chosen)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", type=int, default=10, help="number of runs to repeat without faults")
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    given = parser.parse_args()
    if given.out.exists():
        parser.exit(1, f"{given.out} already exists; remove it, or give another --out\n")
    given.out.mkdir(parents=True)
    summary = soak(given.out, given.hours, given.seed)
    same, repeated = repeat_undisturbed(given.out, given.again, random.Random(given.seed))
    summary["made again undisturbed"] = f"{same} of {repeated} are the same, bit by bit"
    for name, value in summary.items():
        print(f"{name}: {value}")
    return 0 if same == repeated > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
