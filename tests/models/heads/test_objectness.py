"""The auxiliary predictions COP and IOP equal those of the paper's own heads."""

import pytest
import torch

from lad.losses import background_focal, foreground_focal
from lad.models.heads.objectness import conditional_probability, implicit_probability, to_logits


def test_probabilities_equal_the_published_heads(golden):
    case = golden("auxiliary_heads")
    cop = conditional_probability(case.cls_logits, case.cop_coefficients)
    torch.testing.assert_close(cop, case.cop_probability, atol=1e-5, rtol=0)
    iop = implicit_probability(case.cls_logits, case.objectness_logits, case.objectness_bias_logits)
    torch.testing.assert_close(iop, case.iop_probability, atol=1e-5, rtol=0)
    for probability in (cop, iop):
        torch.testing.assert_close(to_logits(probability).sigmoid(), probability, atol=1e-6, rtol=0)


def focal(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the focal loss of logits [K, C]; label C is background."""
    is_class = labels[:, None] == torch.arange(logits.shape[1])
    return torch.where(is_class, foreground_focal(logits), background_focal(logits)).sum()


def focal_of_probability(probability: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Compute the published ProbFocalLoss from its definition."""
    target = (labels[:, None] == torch.arange(probability.shape[1])).float()
    wrong = (1 - probability) * target + probability * (1 - target)
    weight = (0.25 * target + 0.75 * (1 - target)) * wrong**2
    return (torch.nn.functional.binary_cross_entropy(probability, target, reduction="none") * weight).sum()


def test_focal_loss_and_gradient_on_a_probability_equal_the_published(golden):
    """The focal loss of the probability's logits equals the published loss of the probability itself."""
    case = golden("auxiliary_heads")
    probability = case.cop_probability.permute(0, 2, 3, 1).reshape(-1, 7).clone().requires_grad_()
    loss = focal(to_logits(probability), case.focal_labels) / 10
    torch.testing.assert_close(loss, case.focal_on_cop_avg10, atol=1e-5, rtol=1e-5)
    (gradient,) = torch.autograd.grad(loss, probability)
    torch.testing.assert_close(gradient, case.focal_on_cop_grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("low", [0.0, 1e-30, 1e-12, 1e-6, 0.3, 0.999, 1 - 1e-6])
def test_losses_of_probabilities_and_logits_agree_at_the_extremes(low):
    probability = torch.tensor([[low, 0.4]], dtype=torch.float32, requires_grad=True)
    for label in (0, 1, 2):
        labels = torch.tensor([label])
        loss, expected = focal(to_logits(probability), labels), focal_of_probability(probability, labels)
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
        (gradient,) = torch.autograd.grad(loss, probability)
        assert gradient.isfinite().all()


def test_neighbors_outside_the_map_have_class_logit_0():
    """On a 1x1 map these are eight of nine, so that no class probability is below 8/9 · ¼."""
    probability = conditional_probability(torch.full((1, 3, 1, 1), -50.0), torch.zeros(1, 9, 1, 1))
    torch.testing.assert_close(probability, torch.full((1, 3, 1, 1), 8 / 9 / 4))
