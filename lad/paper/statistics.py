"""Statistics over seeds: mean ± standard deviation, and differences paired by seed with confidence intervals."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """Mean difference between two rows of a table, paired by seed.

    Attributes:
        mean: In percentage points of the metric.
        low: Lower bound of the 95 % confidence interval of the mean; None with one seed.
        high: Upper bound; None with one seed.
        seeds: Number of seeds that both rows have.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int


def paired_difference(values: Mapping[int, float], reference: Mapping[int, float]) -> Difference | None:
    """Return the mean of values − reference over the seeds that both have, or None if they share none.

    Runs of one seed share the initialization and the order of the images, but the difference is still subject to
    chance. The interval is Student's t interval of the differences, which is wide for few seeds.

    Args:
        values: Metric in percent, by seed.
        reference: The same metric of the row compared with.
    """
    seeds = sorted(set(values) & set(reference))
    if not seeds:
        return None
    differences = [values[seed] - reference[seed] for seed in seeds]
    mean = statistics.fmean(differences)
    if len(seeds) < 2:
        return Difference(mean, None, None, 1)
    half_width = t_half_width(differences)
    return Difference(mean, mean - half_width, mean + half_width, len(seeds))


def t_half_width(values: Sequence[float]) -> float:
    """Return half the width of Student's t confidence interval of the mean of at least two values."""
    count = len(values)
    return stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * statistics.stdev(values) / count**0.5


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
    mean = f"{difference.mean:+.1f}"
    return mean if difference.low is None else f"{mean} [{difference.low:+.1f}, {difference.high:+.1f}]"


def describe_difference(title: str, reference: str, difference: Difference) -> str:
    """Return a sentence on the difference of the row `title` to the row `reference`, and its significance."""
    sentence = f"{title}: {difference.mean:+.1f} points vs. {reference}"
    if difference.low is None or difference.high is None:
        return f"{sentence}, from one seed: a difference of one or two points may be due to chance."
    if difference.low > 0 or difference.high < 0:
        significance = f"significantly {'better' if difference.low > 0 else 'worse'}"
    else:
        significance = "not significant"
    interval = f"95 % confidence interval {difference.low:+.1f} to {difference.high:+.1f}"
    return f"{sentence} over {difference.seeds} seeds, {significance} ({interval})."
