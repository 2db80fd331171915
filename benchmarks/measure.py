"""What the benchmarks share: alternating times and the peak memory of a fresh process."""

import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torchvision


def alternate(tasks: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each task in each round. All tasks run once uncounted, then in turn, round after round, so that a
    machine that slows down slows them all."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(-1, rounds):
        for name, task in tasks.items():
            started = time.perf_counter()
            task()
            if number >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def median_ratio(first: list[float], second: list[float]) -> float:
    """Median of first / second, round by round."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def peak_memory(task: Callable[..., object], *arguments: object) -> float:
    """MB at the peak of a process of its own that calls task(*arguments). Linux only."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_report_memory, args=(sender, task, arguments))
    process.start()
    peak = receiver.recv()
    process.join()
    return peak


def machine() -> str:
    """One line about what this ran on."""
    return (
        f"{torch.get_num_threads()} threads of {platform.processor() or platform.machine()}, "
        f"Python {platform.python_version()}, torch {torch.__version__.split('+')[0]}, "
        f"torchvision {torchvision.__version__.split('+')[0]}"
    )


def _report_memory(sender, task, arguments) -> None:
    task(*arguments)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):  # unlike getrusage, it knows nothing of the parent
            sender.send(int(line.split()[1]) / 1024)
