"""Estimate how long a table takes on a cluster, and what it costs, as listed in docs/clusters.md.

    python benchmarks/cluster_hours.py table2_soft_label_vs_lad --profile coco_1x --seeds 3 --gpus 32

Nothing is measured: the GPU-hours of each run are those of `gpu_hours.py`. Each run gets `devices` GPUs, which are
assumed to divide its time, and starts when its teachers are finished and GPUs are free, in the order of `lad table`.
"""

import argparse
import heapq

from gpu_hours import gpu_hours

from lad.paper.definitions import TABLES
from lad.paper.runner import Task, plan_tasks
from lad.paper.tables import open_table


def hours(tasks: dict[str, Task], gpus: int, devices: int) -> float:
    """Return the hours until all runs are finished, with `devices` of the `gpus` for each."""
    waiting, finished, now = list(tasks.values()), set[str](), 0.0
    running: list[tuple[float, str]] = []  # end and name
    while waiting or running:
        ready = [task for task in waiting if finished.issuperset(task.teachers)]
        for task in ready[: gpus // devices - len(running)]:
            waiting.remove(task)
            heapq.heappush(running, (now + gpu_hours(task.parameters) / devices, task.name))
        now, name = heapq.heappop(running)
        finished.add(name)
    return now


def lines(table: str, profile: str, seeds: int, gpus: int) -> list[str]:
    """Return a Markdown table: a line per number of GPUs for each run."""
    tasks = plan_tasks(open_table(table, profile, seeds))
    cost = sum(gpu_hours(task.parameters) for task in tasks.values())
    listed = ["| `devices` | runs at a time | hours | GPUs used on average |", "|---:|---:|---:|---:|"]
    for devices in (1, 2, 4, 8):
        if devices <= gpus:
            length = hours(tasks, gpus, devices)
            listed.append(f"| {devices} | {min(gpus // devices, len(tasks))} | {length:.0f} | {cost / length:.0f} |")
    return [
        f"`{table}`, {profile}, {seeds} seeds: {len(tasks)} runs, {cost:.0f} GPU-hours; on {gpus} GPUs:",
        "",
        *listed,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--profile", default="coco_1x", choices=("mini", "coco_1x", "coco_2x_ms"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--gpus", type=int, default=32)
    print("\n".join(lines(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
