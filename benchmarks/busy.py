"""The time of a toy epoch on a quiet machine, and beside one and two processes that keep a core busy.

    python benchmarks/busy.py [--rounds 3] [--images 400] [--student r50] [--threads 1 2]

Each round trains an epoch beside none, one and two busy processes, with each number of threads, in turn.
"""

import argparse
import copy
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning_fabric import Fabric
from measure import alternate, machine, median_ratio

from lad.config.experiment import Parameters, make_parameters
from lad.experiments.setup import new_detector, open_data
from lad.models.detector import Detector
from lad.training.checkpoint import Progress
from lad.training.devices import limit_threads
from lad.training.interrupt import Interrupt
from lad.training.loaders import load_batches, training_sampler
from lad.training.optimizer import build_optimizer
from lad.training.trainer import Trainer, train_epoch

BUSY = (0, 1, 2)


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """Keep this number of cores busy within the block."""
    spin = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    processes = [subprocess.Popen(spin, stdout=subprocess.PIPE) for _ in range(number)]  # noqa: S603  no shell
    try:
        for process in processes:
            process.stdout.readline()  # it has started
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def epoch(parameters: Parameters, network: Detector, threads: int, busy: int) -> Callable[[], object]:
    """Return a task that trains an epoch of a copy of the network beside busy processes."""
    fabric = Fabric(accelerator="cpu", devices=1)
    train_set, _ = open_data(parameters)

    def train() -> None:
        student = copy.deepcopy(network).to(memory_format=torch.channels_last)
        model, optimizer = fabric.setup(student, build_optimizer(parameters, list(student.parameters())))
        batches = load_batches(train_set, training_sampler(train_set, parameters, fabric), parameters, fabric)
        with tempfile.TemporaryDirectory() as folder, limit_threads(threads):
            trainer = Trainer(parameters, student, model, optimizer, fabric, Path(folder), len(batches))
            train_epoch(trainer, batches, Progress(), Interrupt())

    def beside_busy_processes() -> None:
        with busy_processes(busy):
            train()

    return beside_busy_processes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--student", default="r50")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    parameters = make_parameters(
        {"method": "baseline", "student": given.student, "train_images": given.images, "accelerator": "cpu"}
    )
    train_set, _ = open_data(parameters)
    torch.manual_seed(0)
    network = new_detector(parameters, train_set.annotations.class_names)
    tasks = {
        f"{threads} · {busy}": epoch(parameters, network, threads, busy) for threads in given.threads for busy in BUSY
    }
    seconds = alternate(tasks, given.rounds)
    print(
        f"{os.cpu_count()} cores, {machine()}; {given.student}, {given.images} images, GOMP_SPINCOUNT="
        f"{os.environ.get('GOMP_SPINCOUNT')}; medians of {given.rounds} rounds.\n"
    )
    print("| threads | busy processes beside it | seconds | of the quiet epoch with as many threads |")
    print("|---:|---:|---:|---:|")
    for name, times in seconds.items():
        threads, busy = name.split(" · ")
        ratio = median_ratio(times, seconds[f"{threads} · 0"])
        print(f"| {threads} | {busy} | {statistics.median(times):.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
