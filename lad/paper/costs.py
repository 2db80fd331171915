"""What the rows of a table cost beside their baselines, and how far their students assign as the teacher does."""

import math
import statistics
from collections.abc import Callable, Mapping

import pandas as pd

from lad.analysis.agreement import teacher_agreement
from lad.experiments.run_store import Run
from lad.paper.tables import Results

MIB = 2**20
AGREEMENT_IMAGES = 64
Cost = Callable[[Run, Run], float | None]


def relative_time(run: Run, baseline: Run) -> float | None:
    """Return the training time per step of a run, divided by that of a baseline with as many steps per epoch.

    The times are medians over the epochs, so that a slow start, or the first epoch of a cache, does not count.

    Returns:
        The ratio, or None if the epochs of a run have no `train_seconds`, as those of older runs.
    """
    seconds = [[epoch["train_seconds"] for epoch in of.epochs if "train_seconds" in epoch] for of in (run, baseline)]
    return statistics.median(seconds[0]) / statistics.median(seconds[1]) if all(seconds) else None


def extra_memory(run: Run, baseline: Run) -> float | None:
    """Return the peak memory of a run minus that of a baseline, in MiB; None if it is not known for both."""
    own, reference = (of.results.get("peak_memory") for of in (run, baseline))
    return None if own is None or reference is None else (own - reference) / MIB


def costs(results: Results, teacher: str = "teacher", images: int = AGREEMENT_IMAGES) -> pd.DataFrame:
    """Return the costs of all rows but the teacher's as text, "–" where something is unknown or was not run.

    Time and memory are relative to the row's baseline: pairs of one seed, averaged over the seeds.

    Args:
        results: Finished runs of a table.
        teacher: Title of the teacher's row.
        images: Number of validation images for the agreement between a student and the teacher, of seed 0.
    """
    rows = {}
    for row in results.table.rows:
        if row.title == teacher:
            continue
        runs, of_baseline = results.runs[row], results.runs_of(row.against or row.title)
        rows[row.title] = {
            "time per step, × baseline": _format_mean(relative_time, runs, of_baseline, ".2f"),
            "extra memory, MiB": _format_mean(extra_memory, runs, of_baseline, "+.0f"),
            "agreement with the teacher": _agreement(results.run(row.title), results.run(teacher), images),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _format_mean(cost: Cost, runs: Mapping[int, Run], baselines: Mapping[int, Run], style: str) -> str:
    values = [cost(runs[seed], baselines[seed]) for seed in runs if seed in baselines]
    known = [value for value in values if value is not None]
    return format(statistics.fmean(known), style) if known else "–"


def _agreement(student: Run | None, teacher: Run | None, images: int) -> str:
    value = math.nan if student is None or teacher is None else teacher_agreement(student, teacher, images)
    return "–" if math.isnan(value) else f"{value:.2f}"
