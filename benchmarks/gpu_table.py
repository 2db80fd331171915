"""Stage "mini" of `gpu.py`: Table 2 on the generated images of the profile `mini`, as much of it as fits the time.

The baseline and LAD with its teacher come first, then soft label and SoLAD, then more seeds. All runs train for the
same number of epochs: the profile's, or as many as let baseline, teacher and LAD finish, with a warm-up shortened in
proportion. Each run is a process. At the limit, a run saves a checkpoint and ends; it is listed as unfinished, and the
same epochs with the same runs' folder resume it.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpu_runs import train
from gpu_stage import FINISHED, GRACE, UNFINISHED, Left, Save, Settings
from gpu_steps import EFFORT, measure_step, step_arguments
from measure import free_memory

from lad.config.profiles import PROFILES
from lad.data.synthetic.difficulties import DIFFICULTIES
from lad.data.synthetic.folders import shapes_folder, write_shapes
from lad.paper.results_files import write_results
from lad.paper.runner import Task, plan_tasks
from lad.paper.tables import Experiments, open_table

TABLE = "table2_soft_label_vs_lad"
ORDER = ("baseline", "LAD", "soft label", "SoLAD")  # titles of the rows
SEEDS, JOBS = 3, 2  # two runs share the GPU: neither keeps it busy alone
TINY_IMAGES = {"train": 8, "val": 4}
TINY = {
    "epochs": 1, "batch_size": 4, "eval_every": 1, "short_sides": [128], "test_short_side": 128, "long_side": 128,
    "accelerator": "cpu", "save_epochs": False,
}  # fmt: skip
RUN_OVERHEAD = 30.0  # seconds of a run besides its steps: imports, the first step, evaluation, saving
SAFETY = 1.25  # factor on the steps' time: loading, and weights that are frozen in the measured steps only


def run(settings: Settings, save: Save, left: Left) -> None:
    """Train the runs of the table until the time is over, and write the table of those that are finished."""
    profile = "toy" if settings.is_tiny else "mini"
    data = data_folder(settings)
    if settings.is_tiny:
        write_shapes(data, "toy", TINY_IMAGES)
        changes: dict[str, Any] = {**TINY, "data": str(data)}
    else:
        draw()
        epochs = settings.epochs or epochs_that_fit(settings, left() - GRACE, save)
        workers = max(1, min(8, num_cores() // JOBS - 1))
        warmup = round(PROFILES["mini"]["warmup"] * epochs / PROFILES["mini"]["epochs"])
        changes = {"epochs": epochs, "eval_every": epochs, "warmup": warmup, "workers": workers}
        changes["accelerator"] = settings.device
    experiments = open_table(TABLE, profile, 1 if settings.is_tiny else SEEDS, {**changes, "out": str(settings.runs)})
    epochs = next(iter(experiments.parameters.values()))[0].epochs
    save({"profile": profile, "epochs": epochs, "epochs_of_the_profile": PROFILES[profile]["epochs"]})
    tasks = ordered_tasks(experiments, ORDER[:2] if settings.is_tiny else ORDER)
    rows = train(tasks, 1 if settings.is_tiny else JOBS, lambda runs: save({"runs": runs}), left)
    results = experiments.finished()
    if results.all_runs():
        table = write_results(results, settings.folder, settings.command)
        save({"table": table.relative_to(settings.folder).as_posix()})
    if any(row["status"] != FINISHED for row in rows):
        save({"status": UNFINISHED})


def data_folder(settings: Settings) -> Path:
    """Return the folder of the images of the tests; those of `mini` are in the user's cache."""
    return settings.runs / "shapes"


def draw() -> None:
    """Draw the images of `mini`, unless they exist, by all cores but two."""
    shapes_folder("mini", processes=max(1, num_cores() - 2))


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def epochs_that_fit(settings: Settings, seconds: float, save: Save) -> int:
    """Return the epochs after which baseline, teacher and LAD have finished, at least 1.

    The times of their steps are measured on random images. The baseline trains beside the teacher, so that their steps
    take turns, and two runs follow each other.
    """
    profile = PROFILES["mini"]
    side, batch = profile["long_side"], profile["batch_size"]
    size = {"batch": batch, "height": side, "width": side, "precision": profile["precision"]}
    started, per_step = time.monotonic(), {}
    for title, student, name in (
        ("baseline", "r50", "baseline"),
        ("teacher", "r101", "baseline"),
        ("LAD", "r50", "LAD"),
    ):
        given = step_arguments(student=student, device=settings.device, **size)
        row = measure_step(given, name, {**EFFORT, "seconds": 1.0})
        if "ms" not in row:
            raise RuntimeError(f"the step of {title} could not be measured: {row['error']}")
        per_step[title] = row["ms"] / 1000
    free_memory()  # this process stays, and the runs need it
    steps = DIFFICULTIES["mini"].images["train"] // batch
    usable = seconds - (time.monotonic() - started) - 2 * RUN_OVERHEAD
    epochs = int(usable / (SAFETY * steps * sum(per_step.values())))
    save({"seconds_per_step": per_step, "steps_per_epoch": steps})
    return min(max(epochs, 1), profile["epochs"])


def ordered_tasks(experiments: Experiments, titles: Sequence[str]) -> dict[str, Task]:
    """Return the runs of these rows and their teachers by name: all rows of the first seed, then of the next."""
    rows = {row.title: (row, of_seeds) for row, of_seeds in experiments.parameters.items()}
    tasks: dict[str, Task] = {}
    for seed in range(len(next(iter(experiments.parameters.values())))):
        for title in titles:
            row, of_seeds = rows[title]
            of_row = plan_tasks(Experiments(experiments.table, experiments.profile, {row: [of_seeds[seed]]}))
            for name, task in of_row.items():
                tasks.setdefault(name, task)
    return tasks
