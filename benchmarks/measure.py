"""Times of alternating tasks, and the memory of a fresh process, for the benchmarks."""

import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
import torchvision


def alternate(tasks: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each task in each round.

    After a first round that does not count, the tasks alternate, so that a slowdown of the machine affects all of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(-1, rounds):
        for name, task in tasks.items():
            started = time.perf_counter()
            task()
            if number >= 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def median_ratio(first: list[float], second: list[float]) -> float:
    """Return the median of first / second over the rounds."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def peak_memory(task: Callable[..., object], *arguments: object) -> float:
    """Return the peak memory, in MB, of a fresh process that calls task(*arguments); Linux only."""
    return _in_fresh_process(_report_memory, task, arguments)


def extra_memory(prepare: Callable[..., Callable[[], object]], *arguments: object) -> float:
    """Return the growth, in MB, of a fresh process during the task that prepare(*arguments) returns; Linux only."""
    return _in_fresh_process(_report_growth, prepare, arguments)


def machine() -> str:
    """Return one line that describes the processor and the versions."""
    return (
        f"{torch.get_num_threads()} threads of {platform.processor() or platform.machine()}, "
        f"Python {platform.python_version()}, torch {torch.__version__.split('+')[0]}, "
        f"torchvision {torchvision.__version__.split('+')[0]}"
    )


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the slope of the least-squares line: what one more of x adds to y."""
    return statistics.linear_regression(x, y).slope


def _in_fresh_process(report: Callable, *arguments: object) -> float:
    """Return the number that `report` sends from a fresh process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=report, args=(sender, *arguments))
    process.start()
    number = receiver.recv()
    process.join()
    return number


def _report_memory(sender, task, arguments) -> None:
    task(*arguments)
    sender.send(_memory("VmHWM"))  # unlike getrusage's, it excludes the parent process


def _report_growth(sender, prepare, arguments) -> None:
    task = prepare(*arguments)
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    task()
    sender.send(_memory("VmHWM") - before)


def _memory(kind: str) -> float:
    """Return the memory of this process in MB: VmRSS, the current one, or VmHWM, the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(kind))
    return int(line.split()[1]) / 1024
