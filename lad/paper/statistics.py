"""Differences between rows of a table, paired by seed, with confidence intervals."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """Of two rows, paired by seed, in points of percent. low and high: the 95 % confidence interval of its mean by
    Student's t; None with fewer than two seeds."""

    mean: float
    low: float | None
    high: float | None
    seeds: int


def paired_difference(values: Mapping[int, float], reference: Mapping[int, float]) -> Difference | None:
    """values − reference over the seeds that both have; None if there is none.

    With one seed the initialization and the order of images are the same for both, yet chance remains: the interval is
    of Student's t over the seeds' differences, which for three seeds is wide, and rightly so.
    """
    seeds = sorted(set(values) & set(reference))
    if not seeds:
        return None
    differences = [values[seed] - reference[seed] for seed in seeds]
    mean = statistics.fmean(differences)
    if len(seeds) < 2:
        return Difference(mean, None, None, 1)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(seeds) - 1) * statistics.stdev(differences) / len(seeds) ** 0.5
    return Difference(mean, mean - half, mean + half, len(seeds))
