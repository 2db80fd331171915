"""What the benchmarks share: alternating times and the peak memory of a fresh process."""

import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
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
    return _in_a_process(_report_memory, task, arguments)


def extra_memory(prepare: Callable[..., Callable[[], object]], *arguments: object) -> float:
    """MB by which a process of its own grows at the most while it runs the task that prepare(*arguments) returned.
    Linux only."""
    return _in_a_process(_report_growth, prepare, arguments)


def machine() -> str:
    """One line about what this ran on."""
    return (
        f"{torch.get_num_threads()} threads of {platform.processor() or platform.machine()}, "
        f"Python {platform.python_version()}, torch {torch.__version__.split('+')[0]}, "
        f"torchvision {torchvision.__version__.split('+')[0]}"
    )


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """What one more of x adds to y: the slope of the line of least squares."""
    return statistics.linear_regression(x, y).slope


def _in_a_process(report: Callable, *arguments: object) -> float:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=report, args=(sender, *arguments))
    process.start()
    figure = receiver.recv()
    process.join()
    return figure


def _report_memory(sender, task, arguments) -> None:
    task(*arguments)
    sender.send(_memory("VmHWM"))  # unlike getrusage, it knows nothing of the parent


def _report_growth(sender, prepare, arguments) -> None:
    task = prepare(*arguments)
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    task()
    sender.send(_memory("VmHWM") - before)


def _memory(kind: str) -> float:
    """MB of this process: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(kind))
    return int(line.split()[1]) / 1024
