"""Ways to fit the mixtures of a batch: as `lad` does, the same EM without its shortcut, compiled, and scikit-learn.

    python benchmarks/mixture.py [--rounds 15]

Pooled costs of two images of 800 x 1344 with an untrained network's outputs, as in `assignment.py`. All ways find the
same components, and EM stops at the same iteration; that is checked before anything is timed.
"""

import argparse
import functools
import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from assignment import scene
from measure import alternate, machine, median_ratio
from published import fit_published
from torch import Tensor

from lad.assignment import anchor_cost, fit_mixture, match_candidates, pool_cheapest
from lad.assignment.mixture import MAX_ITERATIONS, TOLERANCE, em_step, log_densities

GTS = (2, 8, 32, 100)  # per image
HW = (800, 1344)


def fit_masked(cost: Tensor, count: Tensor, step: Callable = em_step) -> tuple[Tensor, Tensor]:
    """EM over all rows until the last has converged. Returns components [G, K] and iterations [G]."""
    valid = torch.arange(cost.shape[1]) < count[:, None]
    x, mask = torch.where(valid, cost.double(), 0.0), valid.double()
    means = torch.stack([x[:, 0], x.gather(1, (count - 1).clamp(min=0)[:, None]).squeeze(1)])
    now = torch.stack([torch.full_like(means, 0.5), means, torch.ones_like(means)])
    number, running = count.clamp(min=1).double(), count > 0
    likelihood, iterations = x.new_full((len(x),), -math.inf), torch.zeros_like(count)
    for _ in range(MAX_ITERATIONS):
        new, new_likelihood = step(x, mask, number, now)
        now = torch.where(running, new, now)
        iterations = iterations + running
        running = running & ~((new_likelihood - likelihood).abs() < TOLERANCE)
        likelihood = new_likelihood
        if not running.any():
            break
    first, second = log_densities(x, now)[0]
    return (second > first).long(), iterations


def pooled(gts: int) -> tuple[Tensor, Tensor]:
    outputs, anchors, targets = scene(gts, HW)
    candidates = match_candidates(anchors, targets)
    cost = anchor_cost(outputs, candidates, anchors, targets)
    cost, _, count = pool_cheapest(candidates, cost, len(targets.boxes))
    return cost, count


def assert_same(cost: Tensor, count: Tensor, step: Callable) -> None:
    ours = fit_mixture(cost, count)
    valid = torch.arange(cost.shape[1]) < count[:, None]
    for component, iterations in (fit_masked(cost, count), fit_masked(cost, count, step)):
        assert torch.equal(component[valid], ours.component[valid]) and torch.equal(iterations, ours.iterations)
    for row, fitted in enumerate(published(cost, count)):
        if fitted is not None:
            assert np.array_equal(fitted[0].numpy(), ours.component[row, : count[row]].numpy())


def published(cost: Tensor, count: Tensor) -> list:
    return [fit_published(row[:number]) if number > 1 else None for row, number in zip(cost, count, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    compiled = torch.compile(em_step, dynamic=True)
    started = time.perf_counter()
    fit_masked(*pooled(GTS[0]), compiled)
    print(f"{machine()}; medians of {given.rounds} rounds. Compiling took {time.perf_counter() - started:.0f} s.\n")
    ways = {
        "only rows that have not converged (lad)": fit_mixture,
        "all rows, masked": fit_masked,
        "all rows, masked, compiled": functools.partial(fit_masked, step=compiled),
        "scikit-learn, gt after gt": published,
    }
    print(f"| gts per image | {' | '.join(f'{name}, ms' for name in ways)} | times faster than scikit-learn |")
    print("|---:|" + "---:|" * (len(ways) + 1))
    for gts in GTS:
        cost, count = pooled(gts)
        assert_same(cost, count, compiled)
        seconds = alternate({name: functools.partial(fit, cost, count) for name, fit in ways.items()}, given.rounds)
        medians = " | ".join(f"{1000 * statistics.median(one):.1f}" for one in seconds.values())
        ours, theirs = (seconds[name] for name in (next(iter(ways)), "scikit-learn, gt after gt"))
        print(f"| {gts} | {medians} | {median_ratio(theirs, ours):.0f} |", flush=True)


if __name__ == "__main__":
    main()
