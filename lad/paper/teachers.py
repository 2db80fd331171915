"""The AP of the rows' teachers beside that of their students."""

import statistics
from collections.abc import Iterable

from lad.experiments.run_store import Run
from lad.paper.tables import Results


def teacher_ap(run: Run) -> float | None:
    """Return the AP of a run's teacher in percent, the mean of several; None without a teacher or without an AP."""
    teachers = [run.results.get("teacher"), *run.results.get("other_teachers", [])]
    values = [teacher["AP"] for teacher in teachers if teacher is not None]
    return 100 * statistics.fmean(values) if values and None not in values else None


def teacher_aps(runs: Iterable[Run]) -> list[float]:
    """Return the AP in percent of the teacher of each run that has one with an AP."""
    return [ap for run in runs if (ap := teacher_ap(run)) is not None]


def teacher_quality(results: Results) -> dict[str, tuple[float, list[float]]]:
    """Return the AP of each row's teacher and the APs of its students, for `lad.figures.draw_teacher_quality`.

    Returns:
        By title, the mean of the teachers' APs over the seeds, and the students' APs by seed, in percent; only rows
        whose teacher assigns in all epochs and has an AP.
    """
    points = {}
    for row, runs in results.runs.items():
        of_teachers = teacher_aps(run for run in runs.values() if run.parameters.teach_until == 1)
        students = list(results.values(row.title).values())
        if of_teachers and students:
            points[row.title] = (statistics.fmean(of_teachers), students)
    return points
