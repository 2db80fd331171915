"""The exponential moving average (EMA) of a network's weights."""

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def start_average(network: Network) -> Network:
    """Return a copy of the network, without gradients, that `update_average` turns into its average."""
    return copy.deepcopy(network).requires_grad_(False).eval()


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the network, in place: average ← d · average + (1 − d) · network.

    d is min(decay, (1 + step) / (10 + step)), so that the initial weights are soon forgotten. BatchNorm's running
    statistics are averaged like weights; integers, such as its number of batches, are copied.

    Source: the warm-up is that of TensorFlow's ExponentialMovingAverage.

    Args:
        average: A network of `start_average`.
        network: The network in training, after the update of this step.
        decay: Share of the average that a late step keeps.
        step: Number of steps before this one, over all epochs.
    """
    decay = min(decay, (1 + step) / (10 + step))
    averaged, current = list(average.state_dict().values()), list(network.state_dict().values())
    is_float = [value.is_floating_point() for value in averaged]
    torch._foreach_lerp_(
        [value for value, floating in zip(averaged, is_float, strict=True) if floating],
        [value for value, floating in zip(current, is_float, strict=True) if floating],
        1 - decay,
    )
    for own, value, floating in zip(averaged, current, is_float, strict=True):
        if not floating:
            own.copy_(value)
