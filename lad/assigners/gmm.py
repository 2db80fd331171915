"""A two-component Gaussian mixture per gt, all gts at once: scikit-learn's GaussianMixture, batched in PyTorch.

Step 4 of the PAA assignment. The published code fits gt after gt on the CPU; here one EM runs over padded rows.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_ITERATIONS = 100
TOLERANCE = 1e-3
VARIANCE_FLOOR = 1e-6
MAX_COST = 1e100  # no float32 is as large; squares of larger ones, over the smallest variance, are no float64
LOG_2PI = math.log(2 * math.pi)
# On an accelerator, asking whether every row has converged makes the host wait, so it is asked once, after this many
# iterations: most batches are done by then.
ITERATIONS_BEFORE_ASKING = 24


@dataclass(frozen=True)
class Mixture:
    """Fitted mixtures of G rows of K costs; float64. Component 0 started at the lowest cost, 1 at the highest.

    component: [G, K] int64, each sample's more probable component. log_density: [G, K], of the whole mixture.
    weight, mean, variance: [G, 2]. iterations: [G] int64. Entries beyond a row's count mean nothing.
    """

    component: Tensor
    log_density: Tensor
    weight: Tensor
    mean: Tensor
    variance: Tensor
    iterations: Tensor


@torch.no_grad()
def fit_mixture(cost: Tensor, count: Tensor) -> Mixture:
    """Fit by EM: weights ½ ½, means (min, max), precisions 1, variance floor 1e-6, until the mean log-likelihood
    changes by less than 1e-3, at most 100 iterations; each row stops on its own.

    cost: [G, K], rows ascending, the first `count` [G] entries valid (the rest may be anything, NaN included).
    Computes in float64: float32 loses the variance of large costs. Costs beyond ±1e100 count as ±1e100, so that what is
    fitted to valid entries is finite, whatever their magnitude.
    """
    valid = torch.arange(cost.shape[1], device=cost.device) < count[:, None]  # [G, K]
    x = torch.where(valid, cost.double().clamp(-MAX_COST, MAX_COST), 0.0)
    mask, number = valid.double(), count.clamp(min=1).double()
    highest = x.gather(1, (count - 1).clamp(min=0)[:, None]).squeeze(1)
    mean = torch.stack([x[:, 0], highest])
    parameters = torch.stack([torch.full_like(mean, 0.5), mean, torch.ones_like(mean)])  # [weight mean variance, 2, G]

    running = count > 0
    likelihood = x.new_full((len(x),), -math.inf)
    iterations = torch.zeros_like(count)
    for iteration in range(MAX_ITERATIONS):
        new_parameters, new_likelihood = em_step(x, mask, number, parameters)
        parameters = torch.where(running, new_parameters, parameters)
        iterations = iterations + running
        running = running & ~((new_likelihood - likelihood).abs() < TOLERANCE)
        likelihood = new_likelihood
        if (not x.is_cuda or iteration == ITERATIONS_BEFORE_ASKING) and not running.any():
            break

    component_density, log_density = log_densities(x, parameters)
    component = (component_density[1] > component_density[0]).long()
    weight, mean, variance = parameters
    return Mixture(component, log_density, weight.T, mean.T, variance.T, iterations)


def em_step(x: Tensor, mask: Tensor, number: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """One iteration: new parameters [weight mean variance, 2, G] and each row's mean log-likelihood [G] under the old.

    x: [G, K]. mask: [G, K], 1 where a sample is valid, else 0. number: [G] of valid samples.
    """
    component_density, log_density = log_densities(x, parameters)
    responsibility = (component_density - log_density).exp() * mask  # [2, G, K]
    mass = responsibility.sum(dim=-1) + 10 * torch.finfo(x.dtype).eps  # [2, G]
    mean = (responsibility * x).sum(dim=-1) / mass
    squared_distance = (x - mean[..., None]).square()
    variance = (responsibility * squared_distance).sum(dim=-1) / mass + VARIANCE_FLOOR
    return torch.stack([mass / mass.sum(dim=0), mean, variance]), (log_density * mask).sum(dim=-1) / number


def log_densities(x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted log-density of each component [2, G, K] and of the mixture [G, K]."""
    weight, mean, variance = parameters[..., None]
    normalizer = weight.log() - 0.5 * (variance.log() + LOG_2PI)
    component_density = normalizer - 0.5 * (x - mean).square() / variance
    return component_density, torch.logaddexp(component_density[0], component_density[1])
