"""Statistics over seeds: paired differences with intervals, p-values and effect sizes, and their text."""

import itertools
import json
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from lad.paper.statistics import (
    Difference,
    format_difference,
    format_mean,
    format_mean_and_std,
    format_p,
    holm,
    mean_and_std,
    min_permutation_p,
    paired_difference,
    permutation_test,
    t_test,
)

CASES = {
    "three seeds": [2.7, 4.3, 7.5],
    "five seeds": [1.0, 2.5, -0.5, 3.0, 1.5],
    "ties": [1.0, 1.0, -1.0, 2.0, -2.0],
    "a zero": [0.0, 1.2, 0.4, -0.1],
    "no mean": [-1.0, 1.0, -2.0, 2.0],
    "ten seeds": [0.3, -0.2, 0.5, 0.9, 1.1, -0.4, 0.2, 0.8, 0.6, 0.1],
}
by_case = pytest.mark.parametrize("differences", CASES.values(), ids=CASES)


def compare(differences: list[float]) -> Difference:
    """Return the difference of two rows that differ by these points, seed by seed."""
    return paired_difference(
        {seed: 60 + change for seed, change in enumerate(differences)}, dict.fromkeys(range(99), 60)
    )


@by_case
def test_interval_and_p_value_are_those_of_scipys_paired_t_test(differences):
    reference = np.array([60.0, 62.5, 61.0, 63.0, 59.5, 64.0, 61.5, 60.5, 62.0, 63.5][: len(differences)])
    values = reference + differences
    test = stats.ttest_rel(values, reference)
    interval = test.confidence_interval(0.95)
    found = paired_difference(dict(enumerate(values)), dict(enumerate(reference)))
    assert (found.mean, found.low, found.high, found.p) == pytest.approx(
        (statistics.fmean(differences), interval.low, interval.high, test.pvalue), abs=1e-8
    )
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
    assert found.effect == pytest.approx(test.statistic / math.sqrt(len(differences)), abs=1e-8)


@by_case
def test_the_permutation_test_counts_all_sign_patterns_that_are_as_extreme(differences):
    patterns = itertools.product((-1, 1), repeat=len(differences))
    sums = [sum(sign * change for sign, change in zip(pattern, differences, strict=True)) for pattern in patterns]
    extreme = sum(abs(total) >= abs(sum(differences)) - 1e-9 for total in sums)
    assert permutation_test(differences) == pytest.approx(extreme / len(sums))


def test_beyond_fifteen_seeds_random_sign_patterns_are_near_the_t_test_and_always_the_same():
    differences = np.random.default_rng(0).normal(0.4, 1, 30).round(3).tolist()
    assert permutation_test(differences) == pytest.approx(t_test(differences), abs=0.01)
    assert permutation_test(differences) == permutation_test(differences)


@pytest.mark.parametrize(("seeds", "least"), [(2, 0.5), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_the_permutation_test_cannot_be_below_two_patterns_of_all(seeds, least):
    differences = [5 + 0.1 * seed for seed in range(seeds)]
    assert permutation_test(differences) == pytest.approx(min_permutation_p(seeds)) == pytest.approx(least)


def test_holms_adjustment_of_a_textbook_case():
    """Four tests with p .01, .04, .03 and .005, as in Wikipedia's article: those of .005 and .01 stay below .05."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6, 0.001]) == pytest.approx([1.0, 1.0, 0.003])
    assert holm([0.04]) == [0.04] and holm([]) == []


def test_only_seeds_of_both_rows_count():
    difference = paired_difference({0: 61.0, 1: 66.0, 2: 63.5, 7: 99.0}, {0: 60.0, 1: 62.0, 2: 61.0, 8: 1.0})
    assert difference == compare([1.0, 4.0, 2.5]) and difference.seeds == 3


def test_one_common_seed_gives_no_interval_and_none_gives_no_difference():
    assert paired_difference({0: 61.0}, {0: 60.0, 1: 62.0}) == Difference(1.0, None, None, 1)
    assert paired_difference({0: 61.0}, {1: 62.0}) is None
    assert paired_difference({}, {}) is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("change", "p"), [(1.1, 0.0), (-1.1, 0.0), (0.0, 1.0)])
def test_equal_differences_have_an_interval_of_zero_width_and_a_p_value_that_agrees_with_it(change, p):
    """Neither t nor the effect size is defined, and nothing is NaN. 61.1 − 60 and 62.1 − 61 differ as floats."""
    found = paired_difference({0: 60 + change, 1: 61 + change, 2: 62 + change}, {0: 60.0, 1: 61.0, 2: 62.0})
    assert [found.mean, found.low, found.high] == [change] * 3
    assert (found.p, found.effect) == (p, None)
    assert found.permutation_p == (0.25 if change else 1.0)
    json.dumps(vars(found), allow_nan=False)


@pytest.mark.filterwarnings("error")
@by_case
def test_statistics_are_plain_numbers_without_a_warning(differences):
    assert {type(number) for number in vars(compare(differences)).values()} == {float, int}


def test_standard_deviation_is_the_samples_and_needs_two_values():
    assert mean_and_std([60.0, 62.0, 61.0]) == (61.0, 1.0)
    assert mean_and_std([60.0]) == (60.0, None) and mean_and_std([]) == (None, None)


def test_a_bound_that_excludes_zero_keeps_its_sign():
    assert format_difference(Difference(-0.4, -0.8, -0.01, 5)) == "-0.4 [-0.8, -0.0]"
    assert format_difference(Difference(-0.0, -0.0, 0.0, 5)) == "+0.0 [+0.0, +0.0]"


def test_missing_numbers_are_formatted_as_a_dash():
    assert [format_mean([]), format_mean_and_std([]), format_difference(None)] == ["–"] * 3
    assert format_p(None) == "–"
    assert format_mean_and_std([60.0]) == "60.0" and format_mean_and_std([60.0, 62.0]) == "61.0 ± 1.4"
    assert format_difference(Difference(1.0, None, None, 1)) == "+1.0"
    assert format_difference(Difference(1.0, -0.5, 2.5, 2)) == "+1.0 [-0.5, +2.5]"


def test_p_values_have_three_decimals():
    assert [format_p(p) for p in (1.0, 0.25, 0.0126, 0.0004)] == ["1.000", ".250", ".013", "<.001"]
    assert [format_p(p) for p in (0.0496, 0.05, 0.0504, 0.051)] == [".0496", ".0500", ".0504", ".051"]
