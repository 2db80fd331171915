"""Statistics over seeds: mean ± standard deviation, and paired differences with intervals and p-values."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
DECIMALS = 9  # of a difference in percentage points: differences that are equal are equal as floats, too
MAX_PATTERNS = 2**15  # sign patterns of a permutation test: all of them up to 15 seeds, else random ones


@dataclass(frozen=True)
class Difference:
    """Mean difference between two rows of a table, paired by seed; all but `mean` and `seeds` is None with one seed.

    Attributes:
        mean: In percentage points of the metric.
        low: Lower bound of the 95 % confidence interval of the mean, by Student's t.
        high: Upper bound.
        seeds: Number of seeds that both rows have.
        p: Two-sided p-value of the paired t test.
        permutation_p: Two-sided p-value of the sign-flip permutation test, which assumes symmetry
            about zero, but no normal distribution.
        effect: Effect size, Cohen's d_z: the mean divided by the standard deviation of the differences over the seeds;
            None also if all differences are equal.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int
    p: float | None = None
    permutation_p: float | None = None
    effect: float | None = None


def paired_difference(values: Mapping[int, float], reference: Mapping[int, float]) -> Difference | None:
    """Return the mean of values − reference over the seeds that both have, or None if they share none.

    Runs of one seed share the initialization and the order of the images, but the difference is still subject to
    chance. The permutation test checks the t test without its assumption that the differences are normal, and cannot
    reach a small p-value with few seeds.

    Args:
        values: Metric in percent, by seed.
        reference: The same metric of the row compared with.
    """
    seeds = sorted(set(values) & set(reference))
    if not seeds:
        return None
    differences = [round(values[seed] - reference[seed], DECIMALS) for seed in seeds]
    mean, std = mean_and_std(differences)
    assert mean is not None
    if std is None:
        return Difference(mean, None, None, 1)
    half_width = t_half_width(differences)
    return Difference(
        mean=mean,
        low=mean - half_width,
        high=mean + half_width,
        seeds=len(seeds),
        p=t_test(differences),
        permutation_p=permutation_test(differences),
        effect=mean / std if std else None,
    )


def t_test(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of Student's t test that the mean of at least two differences is zero.

    Equal differences leave t undefined: p is 1 if they are all zero, else 0, so that it agrees with the interval.
    """
    mean, std = mean_and_std(differences)
    assert mean is not None
    if not std:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) / std * math.sqrt(len(differences)), len(differences) - 1))


def permutation_test(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the sign-flip test that the differences are symmetric about zero.

    It is the share of sign patterns whose mean is at least as far from zero as the observed one: of all 2^n patterns up
    to 15 seeds, else of 2^15 random ones, always the same. It is at least `min_permutation_p`.
    """
    test = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=MAX_PATTERNS, vectorized=True, random_state=0
    )
    return float(test.pvalue)


def min_permutation_p(seeds: int) -> float:
    """Return the smallest p-value that the permutation test can have: two of 2^n patterns are the most extreme."""
    return 2 / min(2**seeds, MAX_PATTERNS)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted by Holm's step-down method for testing all of them together."""
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(largest, 1.0)
    return adjusted


def t_half_width(values: Sequence[float]) -> float:
    """Return half the width of Student's t confidence interval of the mean of at least two values."""
    count = len(values)
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * statistics.stdev(values) / math.sqrt(count)


def mean_and_std(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the mean (None without values) and the sample standard deviation (None with fewer than two values)."""
    mean = statistics.fmean(values) if values else None
    return mean, statistics.stdev(values) if len(values) > 1 else None


def format_mean(values: Sequence[float]) -> str:
    """Format the mean with one decimal; "–" without values."""
    mean, _ = mean_and_std(values)
    return "–" if mean is None else f"{mean:.1f}"


def format_mean_and_std(values: Sequence[float]) -> str:
    """Format the mean and, with at least two values, "± standard deviation"."""
    _, std = mean_and_std(values)
    return format_mean(values) if std is None else f"{format_mean(values)} ± {std:.1f}"


def format_difference(difference: Difference | None) -> str:
    """Format a difference for a table cell: mean and, if there is one, the interval in brackets; "–" for None."""
    if difference is None:
        return "–"
    mean = format_signed(difference.mean)
    if difference.low is None or difference.high is None:
        return mean
    return f"{mean} [{format_signed(difference.low)}, {format_signed(difference.high)}]"


def format_signed(value: float) -> str:
    """Format a number with sign and one decimal; a small negative one is -0.0, a bound that excludes zero."""
    return f"{value + 0.0:+.1f}"


def format_p(p: float | None) -> str:
    """Format a p-value with three decimals, or four where three would hide on which side of .05 it is; "–" for None."""
    if p is None:
        return "–"
    if p < 0.0005:
        return "<.001"
    text = f"{p:.3f}"
    return (f"{p:.4f}" if text == f"{SIGNIFICANCE:.3f}" else text).removeprefix("0")
