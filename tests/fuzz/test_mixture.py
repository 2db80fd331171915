"""The mixture of any finite costs is finite, and never raises an error."""

import sys

import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import FUZZ

from lad.assigners.gmm import VARIANCE_FLOOR, fit_mixture
from lad.assigners.paa import TOPK_PER_LEVEL, select_positives
from lad.geometry import STRIDES

FINITE = st.floats(allow_nan=False, allow_infinity=False)
POOL_SIZE = len(STRIDES) * TOPK_PER_LEVEL  # costs of a gt at most
SMALLEST, LARGEST = 5e-324, sys.float_info.max


@st.composite
def rows(draw: st.DrawFn) -> list[float]:
    """Draw the costs of one gt: ordinary, any, all equal, of mixed magnitudes, or with a far outlier."""
    size = draw(st.one_of(st.integers(1, 5), st.integers(1, POOL_SIZE)))
    element = draw(
        st.sampled_from(
            [
                st.floats(0, 30),
                st.floats(0, 30, width=32),
                FINITE,
                st.floats(0, 1e-300),
                st.just(draw(FINITE)),
                st.integers(-323, 308).map(lambda exponent: float(f"1e{exponent}")),
                st.sampled_from([0.0, 1.0, SMALLEST, -SMALLEST, LARGEST, -LARGEST, 1e154, 1.3407e154, 1e100]),
            ]
        )
    )
    costs = draw(st.lists(element, min_size=size, max_size=size))
    if draw(st.booleans()):
        costs[0] = draw(FINITE)
    return sorted(costs)


@FUZZ
@given(st.lists(rows(), min_size=1, max_size=4), st.integers(0, 3), st.sampled_from([0.0, torch.nan, torch.inf]))
def test_any_finite_costs_have_a_finite_mixture_and_a_positive(costs, empty, filler):
    """The positives are the lowest costs of component 0; all costs, if it is empty or there is only one cost."""
    width = max(map(len, costs))
    cost = torch.full((len(costs) + empty, width), filler, dtype=torch.float64)
    for row, values in enumerate(costs):
        cost[row, : len(values)] = torch.tensor(values, dtype=torch.float64)
    count = torch.tensor([*map(len, costs), *[0] * empty])
    mixture = fit_mixture(cost, count)
    is_valid = torch.arange(width) < count[:, None]
    for field in (mixture.weight, mixture.mean, mixture.variance, mixture.log_density[is_valid]):
        assert field.isfinite().all()
    assert (mixture.variance[count > 0] >= VARIANCE_FLOOR).all()
    torch.testing.assert_close(mixture.weight.sum(dim=1), torch.ones(len(cost), dtype=torch.float64))
    assert ((mixture.component == 0) | (mixture.component == 1)).all()

    positive = select_positives(mixture, cost, count)
    assert torch.equal(positive.any(dim=1), count > 0) and not positive[~is_valid].any()
    for row, values in enumerate(costs):
        is_foreground = mixture.component[row, : len(values)] == 0
        own = positive[row, : len(values)]
        if len(values) == 1 or not is_foreground.any():
            assert own.all()
        else:
            assert not own[~is_foreground].any()
            highest = cost[row, : len(values)][own].max()
            assert torch.equal(own, is_foreground & (cost[row, : len(values)] <= highest))


ORDINARY_ROW = st.lists(st.floats(0, 1e4), min_size=1, max_size=POOL_SIZE).map(sorted)


@FUZZ
@given(ORDINARY_ROW, rows(), st.booleans())
def test_a_row_is_fitted_as_if_it_were_alone(costs, other, is_first):
    """For costs whose sums are exact to a fraction of the smallest variance: the rounding of a sum depends on the
    padding, and that of equal costs of 1e22 would be their variance."""
    both = [costs, other] if is_first else [other, costs]
    cost = torch.zeros(2, max(map(len, both)), dtype=torch.float64)
    for row, values in enumerate(both):
        cost[row, : len(values)] = torch.tensor(values, dtype=torch.float64)
    together = fit_mixture(cost, torch.tensor([*map(len, both)]))
    alone = fit_mixture(torch.tensor([costs], dtype=torch.float64), torch.tensor([len(costs)]))
    row = 0 if is_first else 1
    assert together.iterations[row] == alone.iterations[0]
    density = together.log_density[row, : len(costs)]
    torch.testing.assert_close(density, alone.log_density[0], rtol=1e-6, atol=1e-6)
