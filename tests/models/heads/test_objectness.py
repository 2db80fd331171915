"""The auxiliary predictions against the paper's own heads."""

import pytest
import torch

from lad.assigners.candidates import match_candidates
from lad.distillation.methods import METHODS
from lad.geometry import make_anchors
from lad.losses import background_focal, detection_loss, foreground_focal
from lad.models.detector import build_detector
from lad.models.heads.objectness import conditional_probability, implicit_probability, to_logits
from lad.models.heads.paa import HEADS


def test_reference_probabilities(golden):
    case = golden("auxiliary_heads")
    cop = conditional_probability(case.cls_logits, case.cop_coefficients)
    torch.testing.assert_close(cop, case.cop_probability, atol=1e-5, rtol=0)
    iop = implicit_probability(case.cls_logits, case.objectness_logits, case.objectness_bias_logits)
    torch.testing.assert_close(iop, case.iop_probability, atol=1e-5, rtol=0)
    for probability in (cop, iop):
        torch.testing.assert_close(to_logits(probability).sigmoid(), probability, atol=1e-6, rtol=0)


def focal(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of logits [K, C]; label C is background."""
    is_class = labels[:, None] == torch.arange(logits.shape[1])
    return torch.where(is_class, foreground_focal(logits), background_focal(logits)).sum()


def focal_of_probability(probability: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The published ProbFocalLoss, from its definition."""
    target = (labels[:, None] == torch.arange(probability.shape[1])).float()
    wrong = (1 - probability) * target + probability * (1 - target)
    weight = (0.25 * target + 0.75 * (1 - target)) * wrong**2
    return (torch.nn.functional.binary_cross_entropy(probability, target, reduction="none") * weight).sum()


def test_reference_focal_loss_and_gradient_on_a_probability(golden):
    """On logits of the probability, ours equals the published loss on the probability itself."""
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
        ours, theirs = focal(to_logits(probability), labels), focal_of_probability(probability, labels)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        (gradient,) = torch.autograd.grad(ours, probability)
        assert gradient.isfinite().all()


def test_a_single_location_trusts_its_outside_neighbors_half():
    """On a 1x1 map eight of nine neighbors have logit 0: whatever it says, no class falls below .22 (8/9 · ¼)."""
    probability = conditional_probability(torch.full((1, 3, 1, 1), -50.0), torch.zeros(1, 9, 1, 1))
    torch.testing.assert_close(probability, torch.full((1, 3, 1, 1), 8 / 9 / 4))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("iou_branch", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_every_head_learns_by_every_method(head, iou_branch, method, targets):
    """Teacher and student with the same head; every parameter but what is frozen gets a finite gradient."""
    torch.manual_seed(0)
    make = {"num_classes": 4, "width": 0.25, "channels": 64, "head": head, "iou_branch": iou_branch}
    student, teacher = build_detector("r18", **make).train(), build_detector("r18", **make).eval()
    images, anchors = torch.randn(2, 3, 96, 128), make_anchors((96, 128))
    with torch.no_grad():
        taught = teacher(images)
    outputs = student(images)
    assert (outputs.iou_logits is None) == (not iou_branch)
    terms = METHODS[method](outputs, taught, match_candidates(anchors, targets), anchors, targets).terms
    assert any("iou" in name for name in terms) == iou_branch
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in student.parameters())
    assert all(p.grad.any() for p in student.head.auxiliary.parameters()) if head != "paa" else True


def test_heads_without_the_iou_branch_do_not_weight_boxes(targets):
    """As in the published code: GIoU loss over n⁺, not weighted by IoU."""
    torch.manual_seed(0)
    detector = build_detector("r18", 4, 0.25, channels=64, iou_branch=False)
    outputs, anchors = detector(torch.randn(2, 3, 96, 128)), make_anchors((96, 128))
    learned = METHODS["baseline"](outputs, None, match_candidates(anchors, targets), anchors, targets)
    expected = detection_loss(outputs, learned.gt_index, anchors, targets, box_weighting="none")
    assert torch.equal(learned.terms["box"], expected["box"]) and "iou" not in learned.terms
