"""Ways to fit the mixtures of a batch: as `lad` does, compiled, with a shortcut, and by scikit-learn.

    python benchmarks/mixture.py [--rounds 15]

Pooled costs of two images of 800 x 1344 with an untrained network's outputs, as in `assignment.py`. All ways find the
same components, and EM stops at the same iteration; that is checked before anything is timed.
"""

import argparse
import functools
import math
import statistics
import time
import unittest.mock

import numpy as np
import torch
from assignment import scene
from measure import alternate, machine, median_ratio
from published import fit_published
from torch import Tensor

from lad.assigners import gmm as mixture
from lad.assigners.candidates import match_candidates
from lad.assigners.cost import anchor_cost
from lad.assigners.gmm import MAX_ITERATIONS, TOLERANCE, Mixture, em_step, fit_mixture, log_densities
from lad.assigners.paa import topk_per_level

GTS = (2, 8, 32, 100, 500)  # per image
HW = (800, 1344)
COMPILED = torch.compile(em_step, dynamic=True)


def fit_narrowing(cost: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """The same EM, which leaves out rows as they converge. Returns components [G, K] and iterations [G]."""
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
        left = running.nonzero().squeeze(1)
        if 2 * len(left) <= len(row):  # worth going on with these alone
            fitted[..., row], taken[row] = now, iterations
            row, samples, mask, number = row[left], samples[left], mask[left], number[left]
            now, running, likelihood, iterations = now[..., left], running[left], likelihood[left], iterations[left]
        if not len(left):
            break
    fitted[..., row], taken[row] = now, iterations
    first, second = log_densities(x, fitted)[0]
    return (second > first).long(), taken


def fit_compiled(cost: Tensor, count: Tensor) -> Mixture:
    """`fit_mixture` with its iteration compiled."""
    with unittest.mock.patch.object(mixture, "em_step", COMPILED):
        return fit_mixture(cost, count)


def pooled(gts: int) -> tuple[Tensor, Tensor]:
    outputs, anchors, targets = scene(gts, HW)
    candidates = match_candidates(anchors, targets)
    cost = anchor_cost(outputs, candidates, anchors, targets)
    cost, _, count = topk_per_level(candidates, cost, len(targets.boxes))
    return cost, count


def assert_same(cost: Tensor, count: Tensor) -> None:
    ours, compiled = fit_mixture(cost, count), fit_compiled(cost, count)
    valid = torch.arange(cost.shape[1]) < count[:, None]
    others = ((compiled.component, compiled.iterations), fit_narrowing(cost, count))
    for component, iterations in others:
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
    started = time.perf_counter()
    fit_compiled(*pooled(GTS[0]))
    print(f"{machine()}; medians of {given.rounds} rounds. Compiling took {time.perf_counter() - started:.0f} s.\n")
    ways = {
        "all rows, masked (lad)": fit_mixture,
        "the same, compiled": fit_compiled,
        "rows left out as they converge": fit_narrowing,
        "scikit-learn, gt after gt": published,
    }
    print(f"| gts per image | {' | '.join(f'{name}, ms' for name in ways)} | times faster than scikit-learn |")
    print("|---:|" + "---:|" * (len(ways) + 1))
    for gts in GTS:
        cost, count = pooled(gts)
        assert_same(cost, count)
        seconds = alternate({name: functools.partial(fit, cost, count) for name, fit in ways.items()}, given.rounds)
        medians = " | ".join(f"{1000 * statistics.median(one):.1f}" for one in seconds.values())
        ours, theirs = (seconds[name] for name in (next(iter(ways)), "scikit-learn, gt after gt"))
        print(f"| {gts} | {medians} | {median_ratio(theirs, ours):.0f} |", flush=True)


if __name__ == "__main__":
    main()
