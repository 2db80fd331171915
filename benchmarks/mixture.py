"""Four ways to fit the mixtures of a batch: that of `lad`, compiled, without converged rows, and scikit-learn's.

    python benchmarks/mixture.py [--rounds 15]

Pooled costs of two images of 800 x 1344 with random outputs, as in `assignment.py`. All ways give the same components
and stop EM at the same iteration; this is checked first.
"""

import argparse
import functools
import math
import statistics
import time
import unittest.mock

import numpy as np
import torch
from measure import alternate, machine, median_ratio
from published import fit_published
from scenes import scene
from torch import Tensor

from lad.assigners import anchor_cost, gmm, match_candidates
from lad.assigners.gmm import MAX_ITERATIONS, TOLERANCE, Mixture, em_step, fit_mixture, log_densities
from lad.assigners.paa import topk_per_level

GTS = (2, 8, 32, 100, 500)  # per image
HW = (800, 1344)
COMPILED = torch.compile(em_step, dynamic=True)


def fit_without_converged_rows(cost: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Run the same EM, but remove converged rows; return components [G, K] and iterations [G]."""
    valid = torch.arange(cost.shape[1]) < count[:, None]
    x = torch.where(valid, cost.double(), 0.0)
    mean = torch.stack([x[:, 0], x.gather(1, (count - 1).clamp(min=0)[:, None]).squeeze(1)])
    now = torch.stack([torch.full_like(mean, 0.5), mean, torch.ones_like(mean)])
    fitted, taken = now.clone(), torch.zeros_like(count)
    row, samples, mask, number = torch.arange(len(x)), x, valid.double(), count.clamp(min=1).double()
    running, likelihood, iterations = count > 0, x.new_full((len(x),), -math.inf), taken
    for _ in range(MAX_ITERATIONS):
        new, new_likelihood = em_step(samples, mask, number, now)
        now = torch.where(running, new, now)
        iterations = iterations + running
        running = running & ~((new_likelihood - likelihood).abs() < TOLERANCE)
        likelihood = new_likelihood
        remaining = running.nonzero().squeeze(1)
        if 2 * len(remaining) <= len(row):  # enough to pay for the copy
            fitted[..., row], taken[row] = now, iterations
            row, samples, mask, number = row[remaining], samples[remaining], mask[remaining], number[remaining]
            now, running = now[..., remaining], running[remaining]
            likelihood, iterations = likelihood[remaining], iterations[remaining]
        if not len(remaining):
            break
    fitted[..., row], taken[row] = now, iterations
    first, second = log_densities(x, fitted)[0]
    return (second > first).long(), taken


def fit_compiled(cost: Tensor, count: Tensor) -> Mixture:
    """Run `fit_mixture` with a compiled iteration."""
    with unittest.mock.patch.object(gmm, "em_step", COMPILED):
        return fit_mixture(cost, count)


def pooled(gts: int) -> tuple[Tensor, Tensor]:
    """Return the pooled costs [T, K] of random outputs, and the number of costs [T] of each gt."""
    outputs, anchors, targets = scene(gts, HW)
    candidates = match_candidates(anchors, targets)
    cost = anchor_cost(outputs, candidates, anchors, targets)
    cost, _, count = topk_per_level(candidates, cost, len(targets.boxes))
    return cost, count


def assert_same(cost: Tensor, count: Tensor) -> None:
    """Assert that all ways give the same components and iterations."""
    ours, compiled = fit_mixture(cost, count), fit_compiled(cost, count)
    valid = torch.arange(cost.shape[1]) < count[:, None]
    others = ((compiled.component, compiled.iterations), fit_without_converged_rows(cost, count))
    for component, iterations in others:
        assert torch.equal(component[valid], ours.component[valid]) and torch.equal(iterations, ours.iterations)
    for row, fitted in enumerate(published(cost, count)):
        if fitted is not None:
            assert np.array_equal(fitted[0].numpy(), ours.component[row, : count[row]].numpy())


def published(cost: Tensor, count: Tensor) -> list:
    """Fit one gt after the other with scikit-learn."""
    return [fit_published(row[:number]) if number > 1 else None for row, number in zip(cost, count, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    started = time.perf_counter()
    fit_compiled(*pooled(GTS[0]))
    print(f"{machine()}; medians of {given.rounds} rounds. Compiling took {time.perf_counter() - started:.0f} s.\n")
    ways = {
        "all rows, masked (lad)": fit_mixture,
        "the same, compiled": fit_compiled,
        "converged rows removed": fit_without_converged_rows,
        "scikit-learn, one gt at a time": published,
    }
    print(f"| gts per image | {' | '.join(f'{name}, ms' for name in ways)} | times faster than scikit-learn |")
    print("|---:|" + "---:|" * (len(ways) + 1))
    for gts in GTS:
        cost, count = pooled(gts)
        assert_same(cost, count)
        seconds = alternate({name: functools.partial(fit, cost, count) for name, fit in ways.items()}, given.rounds)
        medians = " | ".join(f"{1000 * statistics.median(times):.1f}" for times in seconds.values())
        ours, theirs = (seconds[name] for name in (next(iter(ways)), "scikit-learn, one gt at a time"))
        print(f"| {gts} | {medians} | {median_ratio(theirs, ours):.0f} |", flush=True)


if __name__ == "__main__":
    main()
