"""Auxiliary predictions of objectness, which change a location's class probabilities (LAD's appendix)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

OBJECTNESS_BIAS = 1e-4  # σ of the bias map before training
MIN_LOG = -100.0  # of a probability, as in PyTorch's binary cross-entropy


class ConditionalObjectness(nn.Module):
    """COP: each location predicts how far it trusts itself and its eight neighbors; its class probability is the mean
    over them of σ(class logit there) · σ(coefficient). A neighbor outside the map has logit 0.

    Source: Nguyen et al., WACV 2022, and the paper's PAA_COP_Head.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficients = nn.Conv2d(channels, 9, 3, padding=1)

    def forward(self, cls_logits: Tensor, reg_feature: Tensor) -> Tensor:
        """[N, C, h, w] class logits and the regression tower's [N, channels, h, w] → logits of the probabilities."""
        return to_logits(conditional_probability(cls_logits.float(), self.coefficients(reg_feature).float()))


class ImplicitObjectness(nn.Module):
    """IOP: class probability = relu(σ(class logit) − σ(bias)) · σ(objectness), bias and objectness of the location.

    Source: Nguyen et al., WACV 2022, and the paper's PAAIOHead.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.objectness = nn.Conv2d(channels, 1, 3, padding=1)
        self.bias = nn.Conv2d(channels, 1, 3, padding=1)

    def reset_bias(self) -> None:
        """Hardly anything is taken off before training."""
        nn.init.constant_(self.bias.bias, math.log(OBJECTNESS_BIAS / (1 - OBJECTNESS_BIAS)))  # type: ignore[arg-type]

    def forward(self, cls_logits: Tensor, reg_feature: Tensor) -> Tensor:
        """[N, C, h, w] class logits and the regression tower's [N, channels, h, w] → logits of the probabilities."""
        objectness, bias = self.objectness(reg_feature).float(), self.bias(reg_feature).float()
        return to_logits(implicit_probability(cls_logits.float(), objectness, bias))


def conditional_probability(cls_logits: Tensor, coefficients: Tensor) -> Tensor:
    """Class probabilities [N, C, h, w] from class logits [N, C, h, w] and the 3x3 neighborhood's coefficients
    [N, 9, h, w], row by row."""
    rows, columns = cls_logits.shape[-2:]
    padded = F.pad(cls_logits.sigmoid(), (1, 1, 1, 1), value=0.5)
    trust = coefficients.sigmoid()
    taps = (
        padded[..., tap // 3 : tap // 3 + rows, tap % 3 : tap % 3 + columns] * trust[:, tap, None] for tap in range(9)
    )
    return torch.stack(list(taps)).mean(dim=0)


def implicit_probability(cls_logits: Tensor, objectness: Tensor, bias: Tensor) -> Tensor:
    """Class probabilities [N, C, h, w] from class logits [N, C, h, w] and logits of objectness and bias, [N, 1, h, w]
    each."""
    return F.relu(cls_logits.sigmoid() - bias.sigmoid()) * objectness.sigmoid()


def to_logits(probability: Tensor) -> Tensor:
    """log p − log(1 − p): a loss of these logits is the loss of the probabilities, so that every loss and cost takes
    either. Probability 0 becomes −100 and passes no gradient on, as in PyTorch's binary cross-entropy."""
    is_zero = probability <= 0
    log_p = torch.where(is_zero, MIN_LOG, probability.masked_fill(is_zero, 1.0).log().clamp(min=MIN_LOG))
    return log_p - torch.log1p(-probability.clamp(max=1 - 2**-24))
