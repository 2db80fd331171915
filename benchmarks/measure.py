"""Times of alternating tasks, and the memory of a fresh process, for the benchmarks."""

import gc
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


def measure_task(
    build: Callable[[], Callable[[], object]], rounds: int, seconds: float, warm_up: int = 3
) -> dict[str, float]:
    """Return the times of a task alone and, on a CUDA device, its peak memory, its networks included.

    Args:
        build: Builds the task, which waits for the device itself.
        rounds: Maximal number of rounds.
        seconds: Time after which no further round starts; two are measured in any case, if `rounds` allows.
        warm_up: Number of first rounds that do not count: they load kernels and fill the memory allocator.
    """
    free_memory()
    resident = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
    task, times = build(), []
    started = time.perf_counter()
    task()
    first = time.perf_counter() - started
    for _ in range(warm_up - 1):
        task()
    started = time.perf_counter()
    while len(times) < rounds and (len(times) < 2 or time.perf_counter() - started < seconds):
        before = time.perf_counter()
        task()
        times.append(time.perf_counter() - before)
    measured = {
        "ms": 1000 * statistics.median(times), "min_ms": 1000 * min(times), "max_ms": 1000 * max(times),
        "first_ms": 1000 * first, "rounds": len(times),
    }  # fmt: skip
    if torch.cuda.is_available():
        peak, reserved = torch.cuda.max_memory_allocated() - resident, torch.cuda.max_memory_reserved()
        measured |= {"peak_gib": peak / 2**30, "reserved_gib": reserved / 2**30}
    return measured


def free_memory() -> None:
    """Free what nothing refers to any more and, on a CUDA device, restart the measurement of its peak memory."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


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
