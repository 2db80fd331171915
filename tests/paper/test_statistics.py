"""Statistics over seeds: paired differences with Student's t interval, and their text."""

import pytest
from scipy.stats import ttest_rel

from lad.paper.statistics import (
    Difference,
    describe_difference,
    format_difference,
    format_mean,
    format_mean_and_std,
    mean_and_std,
    paired_difference,
)


def test_difference_is_paired_by_seed_with_students_t_interval():
    values, reference = {0: 61.0, 1: 66.0, 2: 63.5, 7: 99.0}, {0: 60.0, 1: 62.0, 2: 61.0, 8: 1.0}
    difference = paired_difference(values, reference)
    shared = [seed for seed in values if seed in reference]
    interval = ttest_rel([values[seed] for seed in shared], [reference[seed] for seed in shared]).confidence_interval(
        0.95
    )
    assert difference.seeds == 3
    assert (difference.mean, difference.low, difference.high) == pytest.approx(
        (2.5, interval.low, interval.high), abs=1e-9
    )


def test_one_common_seed_gives_no_interval_and_none_gives_no_difference():
    assert paired_difference({0: 61.0}, {0: 60.0, 1: 62.0}) == Difference(1.0, None, None, 1)
    assert paired_difference({0: 61.0}, {1: 62.0}) is None
    assert paired_difference({}, {}) is None


def test_seeds_that_agree_exactly_have_an_interval_of_zero_width():
    difference = paired_difference({0: 61.0, 1: 62.0}, {0: 60.0, 1: 61.0})
    assert (difference.mean, difference.low, difference.high) == (1.0, 1.0, 1.0)


def test_standard_deviation_is_the_samples_and_needs_two_values():
    assert mean_and_std([60.0, 62.0, 61.0]) == (61.0, 1.0)
    assert mean_and_std([60.0]) == (60.0, None) and mean_and_std([]) == (None, None)


def test_missing_numbers_are_formatted_as_a_dash():
    assert [format_mean([]), format_mean_and_std([]), format_difference(None)] == ["–"] * 3
    assert format_mean_and_std([60.0]) == "60.0" and format_mean_and_std([60.0, 62.0]) == "61.0 ± 1.4"
    assert format_difference(Difference(1.0, None, None, 1)) == "+1.0"
    assert format_difference(Difference(1.0, -0.5, 2.5, 2)) == "+1.0 [-0.5, +2.5]"


@pytest.mark.parametrize(
    ("low", "high", "significance"),
    [(0.1, 1.9, "significantly better"), (-1.9, -0.1, "significantly worse"), (-0.1, 2.1, "not significant")],
)
def test_a_difference_is_significant_if_its_interval_excludes_zero(low, high, significance):
    difference = Difference((low + high) / 2, low, high, 3)
    assert describe_difference("LAD", "baseline", difference) == (
        f"LAD: {difference.mean:+.1f} points vs. baseline over 3 seeds, {significance} "
        f"(95 % confidence interval {low:+.1f} to {high:+.1f})."
    )
