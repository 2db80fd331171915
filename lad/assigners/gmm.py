"""A two-component Gaussian mixture per gt, all gts at once: scikit-learn's GaussianMixture, batched in PyTorch.

Step 4 of the PAA assignment. The published code fits gt after gt on the CPU; here one EM runs over padded rows.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

MAX_ITERATIONS = 100
TOLERANCE = 1e-3
VARIANCE_FLOOR = 1e-6
MAX_COST = 1e100  # beyond any float32; the square of a larger cost, divided by the smallest variance, overflows float64
MIN_SPREAD = 1e-12  # added to the spread of the costs that are normalized
LOG_2PI = math.log(2 * math.pi)
# On an accelerator, checking whether every row has converged causes a device synchronization, so it is done once, after
# this many iterations: most batches have converged by then.
ITERATIONS_BEFORE_CHECK = 24


@dataclass(frozen=True)
class Mixture:
    """Fitted mixtures of G rows of K costs, float64. Component 0 started at the lowest cost, 1 at the highest.

    Attributes:
        component: [G, K] int64, each sample's more probable component; undefined beyond a row's count.
        log_density: [G, K], of the whole mixture; undefined beyond a row's count.
        weight: [G, 2].
        mean: [G, 2].
        variance: [G, 2].
        iterations: [G] int64, number of EM iterations.
    """

    component: Tensor
    log_density: Tensor
    weight: Tensor
    mean: Tensor
    variance: Tensor
    iterations: Tensor


@torch.no_grad()
def fit_mixture(cost: Tensor, count: Tensor) -> Mixture:
    """Fit a two-component mixture to each row of costs by EM.

    Starts from weights ½ ½, means (min, max), precisions 1; variance floor 1e-6; stops when the mean log-likelihood
    changes by less than 1e-3, after 100 iterations at most, each row on its own. Computes in float64: float32 loses
    the variance of large costs. Costs beyond ±1e100 count as ±1e100, so that every fit is finite.

    Args:
        cost: [G, K], rows ascending; entries beyond a row's count may be anything, NaN included.
        count: [G], number of valid entries of each row.

    Source: scikit-learn's GaussianMixture, as used by OpenMMLab's PAAHead.
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
        running = running & ((new_likelihood - likelihood).abs() >= TOLERANCE)
        likelihood = new_likelihood
        if (not x.is_cuda or iteration == ITERATIONS_BEFORE_CHECK) and not running.any():
            break

    component_density, log_density = log_densities(x, parameters)
    component = (component_density[1] > component_density[0]).long()
    weight, mean, variance = parameters
    return Mixture(component, log_density, weight.T, mean.T, variance.T, iterations)


def fit_normalized_mixture(cost: Tensor, count: Tensor) -> Mixture:
    """Fit a mixture to each row of costs scaled to 0 … 1, and return it in the units of the costs.

    EM's initial precisions of 1, its variance floor and its tolerance then mean the same for costs of any size.
    Arguments are those of `fit_mixture`.

    Source: `norm_loss` of StandardizedPAAHead in the LAD authors' code, there in float32.
    """
    last = (count - 1).clamp(min=0)[:, None]
    bounded = cost.double().clamp(-MAX_COST, MAX_COST)
    lowest = torch.where(count > 0, bounded[:, 0], 0.0)[:, None]  # [G, 1]
    spread = torch.where(count[:, None] > 0, bounded.gather(1, last), 0.0) - lowest + MIN_SPREAD
    mixture = fit_mixture((bounded - lowest) / spread, count)
    return replace(
        mixture,
        log_density=mixture.log_density - spread.log(),
        mean=lowest + spread * mixture.mean,
        variance=spread.square() * mixture.variance,
    )


def em_step(x: Tensor, mask: Tensor, number: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Run one EM iteration of every row.

    Args:
        x: [G, K].
        mask: [G, K], 1 where a sample is valid, else 0.
        number: [G], of valid samples.
        parameters: [weight mean variance, 2, G].

    Returns:
        The new parameters, and each row's mean log-likelihood [G] under the old ones.
    """
    component_density, log_density = log_densities(x, parameters)
    responsibility = (component_density - log_density).exp() * mask  # [2, G, K]
    mass = responsibility.sum(dim=-1) + 10 * torch.finfo(x.dtype).eps  # [2, G]
    mean = (responsibility * x).sum(dim=-1) / mass
    squared_distance = (x - mean[..., None]).square()
    variance = (responsibility * squared_distance).sum(dim=-1) / mass + VARIANCE_FLOOR
    return torch.stack([mass / mass.sum(dim=0), mean, variance]), (log_density * mask).sum(dim=-1) / number


def log_densities(x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted log-density of each component [2, G, K] and of the mixture [G, K]."""
    weight, mean, variance = parameters[..., None]
    normalizer = weight.log() - 0.5 * (variance.log() + LOG_2PI)
    component_density = torch.addcdiv(normalizer, (x - mean).square(), variance, value=-0.5)
    return component_density, torch.logaddexp(component_density[0], component_density[1])
