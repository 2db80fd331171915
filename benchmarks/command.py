"""Time of `lad --help`, in a new process each time: what shell completion waits for, too. Target: 0.5 s.

python benchmarks/command.py
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

TARGET = 0.5  # seconds


def measure(words: list[str]) -> tuple[float, float]:
    """Return the wall-clock and the CPU time of a command of `lad`, in seconds; other processes delay the first."""
    start, cpu_start = time.perf_counter(), cpu_seconds()
    command = [sys.executable, "-m", "lad.cli", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  a list of words, no shell
    return time.perf_counter() - start, cpu_seconds() - cpu_start


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    print("| command | median [s] | range [s] | CPU [s] | |\n|---|---|---|---|---|")
    for words in (["--help"], ["run", "--help"], ["evaluate", "--help"]):
        measure(words)  # reads the files once
        times, cpu = zip(*(measure(words) for _ in range(repeats)), strict=True)
        median = statistics.median(times)
        verdict = f"{'within' if median <= TARGET else 'above'} {TARGET} s"
        spread = f"{min(times):.2f} to {max(times):.2f}"
        print(f"| lad {' '.join(words)} | {median:.2f} | {spread} | {statistics.median(cpu):.2f} | {verdict} |")


if __name__ == "__main__":
    main()
