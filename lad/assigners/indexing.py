"""Ranks within groups and scatters whose shapes do not depend on values, so that the host never waits for a device."""

import torch
from torch import Tensor


def group_sizes(group: Tensor, num_groups: int) -> Tensor:
    """Return how often each of the numbers 0 … num_groups − 1 occurs in `group` [M] int64.

    Unlike torch.bincount, it causes no device synchronization.
    """
    return torch.zeros(num_groups, dtype=group.dtype, device=group.device).scatter_add(0, group, torch.ones_like(group))


def index_in_group(group: Tensor, sizes: Tensor) -> Tensor:
    """Return the position [M] of each element within its group, for `group` [M] ascending and the groups' `sizes`."""
    start = sizes.cumsum(0) - sizes
    return torch.arange(len(group), device=group.device) - start[group]


def rank_in_group(cost: Tensor, group: Tensor, num_groups: int) -> Tensor:
    """Return the rank [M] of each element by ascending cost within its group, from 0; ties keep their order.

    Args:
        cost: [M].
        group: [M] int64, in any order.
        num_groups: Groups are numbered 0 … num_groups − 1.
    """
    by_cost = cost.argsort(stable=True)
    order = by_cost[group[by_cost].argsort(stable=True)]  # by group, then cost
    rank = index_in_group(group[order], group_sizes(group, num_groups))
    return torch.empty_like(rank).scatter(0, order, rank)


def scatter_selected(base: Tensor, index: Tensor, values: Tensor, selected: Tensor) -> Tensor:
    """Return a copy of `base` [K] in which base[index] = values wherever `selected` is true.

    All other values are scattered into one dummy slot at the end, so that shapes stay static and no device
    synchronization is needed.

    Args:
        base: [K].
        index: [M] int64, 0 … K − 1 where selected, anything elsewhere; selected indices are distinct.
        values: [M], of the dtype of `base`.
        selected: [M] bool.
    """
    padded = torch.cat([base, base.new_zeros(1)])
    return padded.scatter(0, torch.where(selected, index, len(base)), values)[:-1]
