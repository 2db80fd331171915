"""Hours of toy training under random kills, damaged checkpoints and a full disk: is anything lost, does anything grow?

    python tests/reliability/soak.py --hours 2

A process trains run after run, of every method, until something happens to it; then another one goes on. Meanwhile its
memory and its open files are looked at. In the end some runs are made again undisturbed: they must be the same.
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

sys.path.append(str(Path(__file__).parents[1]))  # of runs.py, which faults.py uses
from faults import SERVER, damage, fill_the_disk, finish, newest_checkpoint, outcome

from lad.config.experiment import Parameters, make_parameters
from lad.distillation.methods import METHODS
from lad.experiments.run_store import find_run, finished_runs
from lad.experiments.runner import run_experiment

LIFE = (1.0, 1200.0)  # seconds until something happens, log-uniform
WARM_UP = 90.0  # seconds of a life whose memory does not count: caches fill
SAMPLE_EVERY = 5.0  # seconds
DAMAGED, FULL = 0.25, 0.1  # how often a kill also damages the newest checkpoint; how often the disk is full instead
ROOM = 500_000  # bytes on a full disk, less than a checkpoint


def runs_of(out: Path, seed: int) -> list[Parameters]:
    """One run of each method, on a part of the toy pictures."""
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
    """Run after run, as long as nothing happens."""
    sys.stdout = sys.stderr = log.open("a", buffering=1)  # stays open: for what ends the process, too
    for seed in itertools.count():
        for parameters in runs_of(out, seed):
            run_experiment(parameters)
            give_back_memory()


def give_back_memory() -> None:
    """What is freed, but kept by glibc's malloc for later: it is no leak, and grows for hours as it is cut up."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


def soak(out: Path, hours: float, seed: int) -> dict[str, object]:
    """What happened, and what was measured."""
    dice, begun = random.Random(seed), time.monotonic()
    happened = {"kills": 0, "kills with a damaged checkpoint": 0, "full disks": 0}
    lives: list[np.ndarray] = []
    while (left := 3600 * hours - (time.monotonic() - begun)) > 0:
        process = SERVER.Process(target=train_on, args=(out, out / "training.log"))
        process.start()
        low, high = map(math.log, LIFE)
        lives.append(watch(process, min(left, math.exp(dice.uniform(low, high)))))
        if process.exitcode is not None:
            raise RuntimeError(f"the training ended by itself, with {process.exitcode}; see {out / 'training.log'}")
        if dice.random() < FULL:
            fill_the_disk(process, ROOM)
            process.join()
            assert process.exitcode == 1
            happened["full disks"] += 1
        else:
            process.kill()
            process.join()
            happened["kills"] += 1
            path = next(filter(None, map(newest_checkpoint, unfinished(out))), None)
            if path is not None and dice.random() < DAMAGED:
                damage(path, dice)
                happened["kills with a damaged checkpoint"] += 1
        print(json.dumps({"minutes": round((time.monotonic() - begun) / 60, 1), **happened}), flush=True)
    long = [life for life in lives if len(life) and life[-1, 0] > 2 * WARM_UP]
    return {
        "hours": round((time.monotonic() - begun) / 3600, 2),
        **happened,
        "runs finished": len(finished_runs(out)),
        "lives long enough to measure": len(long),
        "memory": trend(long, 1, "MB"),
        "open files": trend(long, 2, "files"),
    }


def unfinished(out: Path) -> list[Parameters]:
    """Runs that were begun and not ended."""
    for seed in itertools.count():
        these = [one for one in runs_of(out, seed) if find_run(one) is None]
        if these:
            return these
    return []


def watch(process: BaseProcess, seconds: float) -> np.ndarray:
    """[samples, 3]: seconds of the life, memory of its own in MB, open files; until the time is over or it ended."""
    begun, samples = time.monotonic(), []
    while (age := time.monotonic() - begun) < seconds and process.exitcode is None:
        try:
            seen = psutil.Process(process.pid)
            samples.append([age, seen.memory_full_info().uss / 1e6, seen.num_fds()])
        except psutil.Error:
            break
        process.join(timeout=min(SAMPLE_EVERY, seconds - age))
    return np.array(samples).reshape(-1, 3)


def trend(lives: Sequence[np.ndarray], column: int, unit: str) -> str:
    """The common slope over all lives, each from a level of its own, after the warm-up; with its standard error."""
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


def made_again(out: Path, number: int, dice: random.Random) -> tuple[int, int]:
    """Some finished runs, undisturbed, elsewhere: how many of how many are the same?"""
    known = [run.parameters for run in finished_runs(out)]
    chosen = dice.sample(known, min(number, len(known)))
    same = 0
    for parameters in chosen:
        again = parameters.model_copy(update={"out": str(out / "again")})
        same += finish(again) == outcome(find_run(parameters))
    return same, len(chosen)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", type=int, default=10, help="runs to make again undisturbed")
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    given = parser.parse_args()
    if given.out.exists():
        parser.exit(1, f"{given.out} is there; remove it, or give another --out\n")
    given.out.mkdir(parents=True)
    summary = soak(given.out, given.hours, given.seed)
    same, made = made_again(given.out, given.again, random.Random(given.seed))
    summary["made again undisturbed"] = f"{same} of {made} are the same, bit by bit"
    for name, value in summary.items():
        print(f"{name}: {value}")
    return 0 if same == made > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
