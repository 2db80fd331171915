"""The batched mixture against stored reference fits and against scikit-learn itself."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from lad.assigners.gmm import fit_mixture, fit_normalized_mixture
from lad.assigners.paa import select_positives


def test_fits_are_those_of_the_published_code(golden):
    """Components are identical and log-densities agree to 1e-2 in the median on every set of costs with some spread.

    Positives are compared as "the cut falls at the same cost": among samples of equal cost the reference cuts at any
    of them, and two foreground samples have equal density, so that rounding makes the reference's choice. They are
    compared where the reference's float32 density is accurate to 1e-4: with one far outlier its near-collapsed
    component is noise (errors up to 1e-1), whose peak can be anywhere.
    """
    case = golden("gmm")
    mixture = fit_mixture(case.losses, case.count)
    positive = select_positives(mixture, case.losses, case.count)

    valid = torch.arange(case.losses.shape[1]) < case["count"][:, None]
    spread = case.losses.nan_to_num(-1e9).amax(dim=1) - case.losses.nan_to_num(1e9).amin(dim=1)
    clear = (spread >= 1e-3) & ~case.raised
    assert clear.sum() == 325
    assert ((mixture.component == case.component) | ~valid)[clear].all()
    assert (mixture.iterations == case.n_iter)[clear].all()
    error = (mixture.log_density - case.log_density).abs().masked_fill(~valid, 0)
    assert error[valid & clear[:, None]].median() < 1e-2

    compared = (clear & (error.amax(dim=1) < 1e-4)).nonzero().flatten().tolist()
    assert len(compared) > 240
    for row in compared:
        if case.num_positive[row] == 0:
            # Nothing in component 0: all samples are positive; the reference drops all.
            assert positive[row].sum() == case["count"][row]
            continue
        foreground = case.losses[row][valid[row] & (case.component[row] == 0)]
        if len(foreground) == 2:
            selected = case.losses[row][positive[row]].tolist()
            assert len(selected) >= 1 and set(selected) <= set(foreground.tolist())
            continue
        last_of_reference = foreground[case.num_positive[row] - 1]
        assert case.losses[row][positive[row]].max() == last_of_reference


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 30), min_size=2, max_size=45), st.integers(0, 5))
def test_fits_are_those_of_scikit_learn(costs, padding):
    costs = np.sort(np.asarray(costs))
    reference = GaussianMixture(
        2, weights_init=[0.5, 0.5], means_init=[[costs[0]], [costs[-1]]], precisions_init=[[1.0], [1.0]],
        covariance_type="diag",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct samples than components, not converged: allowed here
        reference.fit(costs[:, None])
    padded = torch.full((1, len(costs) + padding), float("nan"), dtype=torch.float64)
    padded[0, : len(costs)] = torch.from_numpy(costs)
    mixture = fit_mixture(padded, torch.tensor([len(costs)]))

    assert mixture.iterations.item() == reference.n_iter_
    density = mixture.log_density[0, : len(costs)].numpy()
    np.testing.assert_allclose(density, reference.score_samples(costs[:, None]), atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(mixture.mean[0], reference.means_[:, 0], atol=1e-5)
    np.testing.assert_allclose(mixture.variance[0], reference.covariances_[:, 0], atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 30), min_size=2, max_size=45), st.sampled_from([1e-3, 1.0, 1e3]))
def test_a_normalized_fit_is_scikit_learns_of_the_costs_scaled_to_0_and_1(costs, factor):
    """Moved back to the units of the costs."""
    costs = factor * np.sort(np.asarray(costs))
    lowest, spread = costs[0], np.ptp(costs) + 1e-12
    scaled = (costs - lowest) / spread
    reference = GaussianMixture(
        2, weights_init=[0.5, 0.5], means_init=[[scaled[0]], [scaled[-1]]], precisions_init=[[1.0], [1.0]],
        covariance_type="diag",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference.fit(scaled[:, None])
    row = torch.tensor([[*costs, float("inf")], [float("inf")] * (len(costs) + 1)], dtype=torch.float64)
    mixture = fit_normalized_mixture(row, torch.tensor([len(costs), 0]))

    density = mixture.log_density[0, : len(costs)].numpy() + np.log(spread)
    np.testing.assert_allclose(density, reference.score_samples(scaled[:, None]), atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose((mixture.mean[0] - lowest) / spread, reference.means_[:, 0], atol=1e-5)
    np.testing.assert_allclose(mixture.variance[0] / spread**2, reference.covariances_[:, 0], atol=1e-5)
    for field in (mixture.weight, mixture.mean, mixture.variance):
        assert field.isfinite().all()


@pytest.mark.parametrize("costs", [[0, 0, 0], [1e308, 1.7e308], [-1e308, 0, 1e308], [5e-324, 1], [3.0]])
def test_the_normalized_fit_of_any_finite_costs_is_finite(costs):
    row = torch.tensor([costs], dtype=torch.float64)
    mixture = fit_normalized_mixture(row, torch.tensor([len(costs)]))
    for field in (mixture.weight, mixture.mean, mixture.variance, mixture.log_density):
        assert field.isfinite().all()


def test_a_row_is_fitted_as_if_it_were_alone():
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand((6, 20), generator=generator).mul(5).sort(dim=1).values
    count = torch.tensor([20, 3, 1, 12, 2, 20])
    together = fit_mixture(cost, count)
    for row in range(6):
        alone = fit_mixture(cost[row : row + 1], count[row : row + 1])
        assert alone.iterations == together.iterations[row]
        valid = slice(0, int(count[row]))
        torch.testing.assert_close(alone.log_density[0, valid], together.log_density[row, valid], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("cost", [0.0, 1e-30, 1e6, 1e30, 1e200, 3e307])
def test_a_row_of_any_finite_cost_has_a_positive(cost):
    """Also where scikit-learn raises an error."""
    row = torch.tensor([[cost, cost, cost * 2]], dtype=torch.float64)
    count = torch.tensor([3])
    positive = select_positives(fit_mixture(row, count), row, count)
    assert positive.any()


@pytest.mark.parametrize(
    "costs",
    [[1e308, 1e308, 1.7e308], [-1e308, 0, 1e308], [0, 1e160], [0, 0, 1e155], [1, 2, 3e154], [5e-324, 1e-310, 1]],
)
def test_the_mixture_of_finite_costs_is_finite(costs):
    """Also where the square of a cost or of a difference overflows float64."""
    row = torch.tensor([costs], dtype=torch.float64)
    mixture = fit_mixture(row, torch.tensor([len(costs)]))
    for field in (mixture.weight, mixture.mean, mixture.variance, mixture.log_density):
        assert field.isfinite().all()


def test_an_overflowing_outlier_is_not_a_positive():
    row = torch.tensor([[1.0, 1.1, 5.0, 5.1, 1e300]], dtype=torch.float64)
    count = torch.tensor([5])
    positive = select_positives(fit_mixture(row, count), row, count)
    assert positive[0, 0] and not positive[0, -1]


def test_large_costs_are_separated_in_float64():
    """In float32 rounding hides the variance of costs around 1,000; here the two clusters are separated."""
    low, high = 1000 + torch.arange(8) * 1e-2, 1010 + torch.arange(8) * 1e-2
    mixture = fit_mixture(torch.cat([low, high])[None], torch.tensor([16]))
    assert mixture.component[0].tolist() == [0] * 8 + [1] * 8


def test_without_gts_the_mixture_is_empty():
    mixture = fit_mixture(torch.zeros((0, 45)), torch.zeros(0, dtype=torch.int64))
    assert mixture.component.shape == (0, 45)
    assert select_positives(mixture, torch.zeros((0, 45)), torch.zeros(0, dtype=torch.int64)).shape == (0, 45)
