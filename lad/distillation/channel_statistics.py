"""Mean and standard deviation of each channel of features, over the images and positions of all processes."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lad.losses import world_size

EPS = 1e-6  # of the published PKD and CrossKD


def channel_statistics(levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Compute mean and unbiased standard deviation of each channel and level.

    Differs from the published code, which takes the statistics of each process by themselves: with those of all
    processes, several devices get the gradients of one. Gradients pass through the statistics.

    Args:
        levels: L features, each [N, C, h, w].

    Returns:
        mean [L, C]; std [L, C], 0 where a level has a single value.
    """
    sums = torch.stack([level.sum(dim=(0, 2, 3)) for level in levels])  # [L, C]
    # Filled on the device: copying numbers from the host would cause a synchronization.
    count = torch.stack([sums.new_full((), level.numel() / level.shape[1]) for level in levels])
    total = _sum_over_ranks(torch.cat([sums, count[:, None]], dim=1))
    count = total[:, -1].detach()
    mean = total[:, :-1] / count[:, None]
    squares = torch.stack(
        [(level - own[:, None, None]).square().sum(dim=(0, 2, 3)) for level, own in zip(levels, mean, strict=True)]
    )
    variance = _sum_over_ranks(squares) / (count - 1).clamp(min=1)[:, None]
    is_constant = variance == 0  # its square root has no gradient
    return mean, variance.masked_fill(is_constant, 1).sqrt().masked_fill(is_constant, 0)


def standardize(levels: Sequence[Tensor], mean: Tensor, std: Tensor) -> list[Tensor]:
    """Return (x − mean) / (std + 1e-6) of L features [N, C, h, w], for statistics [L, C]."""
    return [
        (level - own_mean[:, None, None]) / (own_std[:, None, None] + EPS)
        for level, own_mean, own_std in zip(levels, mean, std, strict=True)
    ]


def _sum_over_ranks(value: Tensor) -> Tensor:
    """Sum a value over all processes; the gradient of each process's value is the sum of theirs."""
    return _Sum.apply(value) if world_size() > 1 else value


class _Sum(torch.autograd.Function):
    """A sum over all processes, and of its gradient in the backward pass."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient.contiguous())
