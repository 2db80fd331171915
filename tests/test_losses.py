"""Losses and their gradients against the published code, and against torchvision's focal loss."""

import pytest
import torch
from reference import reference_context, reference_outputs
from torchvision.ops import sigmoid_focal_loss

from lad.assigners import PAA
from lad.geometry import make_anchors
from lad.losses import background_focal, detection_loss, foreground_focal
from lad.structures import BACKGROUND, IGNORED, HeadOutputs, Targets

HW = (64, 64)


def targets_without_gts(images: int) -> Targets:
    no_gts = torch.zeros(0, dtype=torch.int64)
    return Targets(torch.zeros((0, 4)), no_gts, no_gts, torch.tensor([HW] * images))


def zero_outputs(images: int) -> HeadOutputs:
    shape = (images, len(make_anchors(HW).boxes))
    return HeadOutputs(*(torch.zeros(*shape, *tail).requires_grad_() for tail in ((3,), (4,), ())))


@pytest.mark.parametrize(("method", "box_weighting"), [("paa_assignment", "iou"), ("lad", "none")])
def test_losses_and_gradients_are_those_of_the_published_code(golden, method, box_weighting):
    case, expected = golden("paa_assignment"), golden(method)
    context, assigner = reference_context(case), PAA()
    student = reference_outputs(case, requires_grad=True)
    assigning = reference_outputs(expected, "teacher_") if method == "lad" else student
    gt_index = assigner.assign(assigner.score(assigning, context), context)
    losses = detection_loss(student, gt_index, context.anchors, context.targets, box_weighting)
    sum(losses.values()).backward()

    for name, reference in (("cls", "loss_cls"), ("box", "loss_bbox"), ("iou", "loss_iou")):
        torch.testing.assert_close(losses[name].detach(), expected[reference], rtol=1e-4, atol=0)
    for field, reference in zip(student, ("grad_cls", "grad_box", "grad_iou"), strict=True):
        error = (field.grad - expected[reference]).norm() / expected[reference].norm()
        assert error < 1e-4


def test_the_focal_terms_are_torchvisions_focal_loss():
    logits = torch.linspace(-30, 30, 121)
    for target, focal_term in ((0.0, background_focal), (1.0, foreground_focal)):
        reference = sigmoid_focal_loss(logits, torch.full_like(logits, target), alpha=0.25, gamma=2)
        torch.testing.assert_close(focal_term(logits), reference, rtol=1e-4, atol=1e-7)


def test_without_a_positive_every_output_still_gets_a_gradient():
    """Distributed training needs it. The classification loss is divided by the number of images, not by 0 positives."""
    anchors, student = make_anchors(HW), zero_outputs(images=2)
    gt_index = torch.full(student.iou_logits.shape, BACKGROUND)
    losses = detection_loss(student, gt_index, anchors, targets_without_gts(2), "iou")
    sum(losses.values()).backward()
    assert losses["box"] == 0 and losses["iou"] == 0
    torch.testing.assert_close(losses["cls"].detach(), background_focal(torch.zeros(())) * 3 * len(anchors.boxes))
    assert all(field.grad is not None for field in student)


def test_ignored_anchors_have_no_gradient():
    anchors, student = make_anchors(HW), zero_outputs(images=1)
    gt_index = torch.full(student.iou_logits.shape, BACKGROUND)
    gt_index[0, 5:] = IGNORED
    detection_loss(student, gt_index, anchors, targets_without_gts(1), "none")["cls"].backward()
    assert (student.cls_logits.grad[0, :5] != 0).all() and (student.cls_logits.grad[0, 5:] == 0).all()


def test_a_head_without_the_iou_branch_has_no_iou_loss():
    anchors, student = make_anchors(HW), zero_outputs(images=1)._replace(iou_logits=None)
    label = torch.zeros(1, dtype=torch.int64)
    targets = Targets(torch.tensor([[0.0, 0, 30, 30]]), label, label, torch.tensor([HW]))
    gt_index = torch.full(student.cls_logits.shape[:2], BACKGROUND)
    gt_index[0, 0] = 0
    assert set(detection_loss(student, gt_index, anchors, targets, "none")) == {"cls", "box"}
