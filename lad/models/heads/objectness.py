"""PAA heads with an auxiliary prediction of objectness, which changes the class probabilities: COP and IOP."""

import functools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lad.models.heads.paa import OPENMMLAB_RULES, PAAHead
from lad.models.heads.registry import HeadEntry, register_head

OBJECTNESS_BIAS = 1e-4  # σ of the bias map before training
MIN_LOG = -100.0  # of a probability, as in PyTorch's binary cross-entropy


class ConditionalObjectness(nn.Module):
    """COP: class probability = mean over the 3x3 neighborhood of σ(class logit) · σ(coefficient).

    Each location predicts nine coefficients, one per neighbor. A neighbor outside the map has class logit 0.

    Source: Nguyen et al., WACV 2022, and the paper's PAA_COP_Head.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficients = nn.Conv2d(channels, 9, 3, padding=1)

    def reset_biases(self) -> None:
        """Set every coefficient to ½ before training."""
        nn.init.zeros_(self.coefficients.bias)  # type: ignore[arg-type]

    def forward(self, cls_logits: Tensor, reg_feature: Tensor) -> Tensor:
        """Compute logits [N, C, h, w] of the class probabilities.

        Args:
            cls_logits: [N, C, h, w].
            reg_feature: The regression tower's output [N, channels, h, w].
        """
        return to_logits(conditional_probability(cls_logits.float(), self.coefficients(reg_feature).float()))


class ImplicitObjectness(nn.Module):
    """IOP: class probability = relu(σ(class logit) − σ(bias)) · σ(objectness), both predicted at each location.

    Source: Nguyen et al., WACV 2022, and the paper's PAAIOHead.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.objectness = nn.Conv2d(channels, 1, 3, padding=1)
        self.bias = nn.Conv2d(channels, 1, 3, padding=1)

    def reset_biases(self) -> None:
        """Set σ(bias) to almost 0 before training, so that it reduces no class probability yet."""
        nn.init.constant_(self.bias.bias, math.log(OBJECTNESS_BIAS / (1 - OBJECTNESS_BIAS)))  # type: ignore[arg-type]

    def forward(self, cls_logits: Tensor, reg_feature: Tensor) -> Tensor:
        """Compute logits [N, C, h, w] of the class probabilities.

        Args:
            cls_logits: [N, C, h, w].
            reg_feature: The regression tower's output [N, channels, h, w].
        """
        objectness, bias = self.objectness(reg_feature).float(), self.bias(reg_feature).float()
        return to_logits(implicit_probability(cls_logits.float(), objectness, bias))


def conditional_probability(cls_logits: Tensor, coefficients: Tensor) -> Tensor:
    """Compute COP's class probabilities.

    Args:
        cls_logits: [N, C, h, w].
        coefficients: Logits [N, 9, h, w] of the coefficients of the 3x3 neighborhood, row by row.

    Returns:
        Probabilities [N, C, h, w].
    """
    rows, columns = cls_logits.shape[-2:]
    padded = F.pad(cls_logits.sigmoid(), (1, 1, 1, 1), value=0.5)
    weight = coefficients.sigmoid()
    taps = (
        padded[..., tap // 3 : tap // 3 + rows, tap % 3 : tap % 3 + columns] * weight[:, tap, None] for tap in range(9)
    )
    return torch.stack(list(taps)).mean(dim=0)


def implicit_probability(cls_logits: Tensor, objectness: Tensor, bias: Tensor) -> Tensor:
    """Compute IOP's class probabilities.

    Args:
        cls_logits: [N, C, h, w].
        objectness: Logits [N, 1, h, w].
        bias: Logits [N, 1, h, w].

    Returns:
        Probabilities [N, C, h, w].
    """
    return F.relu(cls_logits.sigmoid() - bias.sigmoid()) * objectness.sigmoid()


def to_logits(probability: Tensor) -> Tensor:
    """Compute log p − log(1 − p), so that losses and costs on logits also work on probabilities.

    Probability 0 becomes −100 without a gradient, as in PyTorch's binary cross-entropy.
    """
    is_zero = probability <= 0
    log_p = torch.where(is_zero, MIN_LOG, probability.masked_fill(is_zero, 1.0).log().clamp(min=MIN_LOG))
    return log_p - torch.log1p(-probability.clamp(max=1 - 2**-24))


register_head(
    "cop",
    HeadEntry(
        "PAA + COP",
        functools.partial(PAAHead, auxiliary=ConditionalObjectness),
        (*OPENMMLAB_RULES, (r"auxiliary\.coefficients\.(.+)", r"coeff_conv.\1")),
        openmmlab_key="coeff_conv.weight",
        openmmlab_unused=("objectness.",),
    ),
)
register_head(
    "iop",
    HeadEntry(
        "PAA + IOP",
        functools.partial(PAAHead, auxiliary=ImplicitObjectness),
        (
            *OPENMMLAB_RULES,
            (r"auxiliary\.objectness\.(.+)", r"objectness.\1"),
            (r"auxiliary\.bias\.(.+)", r"obj_bias.\1"),
        ),
        openmmlab_key="obj_bias.weight",
    ),
)
