"""Losses and their gradients against the reference, and against torchvision's focal loss."""

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from lad.assigners.candidates import match_candidates
from lad.assigners.cost import anchor_cost
from lad.assigners.paa import assign
from lad.geometry import make_anchors
from lad.losses import background_focal, detection_loss, foreground_focal
from lad.structures import BACKGROUND, IGNORED, HeadOutputs, Targets


def student_of(case) -> HeadOutputs:
    return HeadOutputs(*(case[name].clone().requires_grad_() for name in ("cls_logits", "box_deltas", "iou_logits")))


@pytest.mark.parametrize(("method", "box_weighting"), [("paa_assignment", "iou"), ("lad", "none")])
def test_reference_losses_and_gradients(golden, method, box_weighting):
    case, expected = golden("paa_assignment"), golden(method)
    anchors = make_anchors(tuple(case.padded_hw.tolist()))
    targets = Targets(case.gt_boxes, case.gt_labels, case.gt_image, case.image_hw)
    student = student_of(case)
    assigner = student
    if method == "lad":
        assigner = HeadOutputs(*(expected[f"teacher_{n}"] for n in ("cls_logits", "box_deltas", "iou_logits")))
    candidates = match_candidates(anchors, targets)
    gt_index = assign(candidates, anchor_cost(assigner, candidates, anchors, targets), anchors, targets)
    losses = detection_loss(student, gt_index, anchors, targets, box_weighting)
    sum(losses.values()).backward()

    for name, reference in (("cls", "loss_cls"), ("box", "loss_bbox"), ("iou", "loss_iou")):
        torch.testing.assert_close(losses[name].detach(), expected[reference], rtol=1e-4, atol=0)
    for tensor, reference in (
        (student.cls_logits, "grad_cls"),
        (student.box_deltas, "grad_box"),
        (student.iou_logits, "grad_iou"),
    ):
        error = (tensor.grad - expected[reference]).norm() / expected[reference].norm()
        assert error < 1e-4


def test_focal_terms_are_torchvisions_focal_loss():
    logits = torch.linspace(-30, 30, 121)
    for target, ours in ((0.0, background_focal), (1.0, foreground_focal)):
        reference = sigmoid_focal_loss(logits, torch.full_like(logits, target), alpha=0.25, gamma=2)
        torch.testing.assert_close(ours(logits), reference, rtol=1e-4, atol=1e-7)


def test_without_a_positive_every_output_still_gets_a_gradient():
    """As distributed training needs; and the classification loss is over the number of images, not zero positives."""
    anchors = make_anchors((64, 64))
    shape = (2, len(anchors.boxes))
    student = HeadOutputs(*(torch.zeros(*shape, *tail).requires_grad_() for tail in ((3,), (4,), ())))
    targets = Targets(torch.zeros((0, 4)), *(torch.zeros(0, dtype=torch.int64),) * 2, torch.tensor([[64, 64]] * 2))
    losses = detection_loss(student, torch.full(shape, BACKGROUND), anchors, targets, "iou")
    sum(losses.values()).backward()
    assert losses["box"] == 0 and losses["iou"] == 0
    torch.testing.assert_close(losses["cls"].detach(), background_focal(torch.zeros(())) * 3 * shape[1])
    assert all(t.grad is not None for t in (student.cls_logits, student.box_deltas, student.iou_logits))


def test_ignored_anchors_are_not_learned_from():
    anchors = make_anchors((64, 64))
    shape = (1, len(anchors.boxes))
    student = HeadOutputs(*(torch.zeros(*shape, *tail).requires_grad_() for tail in ((3,), (4,), ())))
    targets = Targets(torch.zeros((0, 4)), *(torch.zeros(0, dtype=torch.int64),) * 2, torch.tensor([[64, 64]]))
    gt_index = torch.full(shape, BACKGROUND)
    gt_index[0, 5:] = IGNORED
    detection_loss(student, gt_index, anchors, targets, "none")["cls"].backward()
    assert (student.cls_logits.grad[0, :5] != 0).all() and (student.cls_logits.grad[0, 5:] == 0).all()


def test_a_head_without_the_iou_branch_has_no_iou_loss():
    anchors = make_anchors((64, 64))
    shape = (1, len(anchors.boxes))
    student = HeadOutputs(torch.zeros(*shape, 3), torch.zeros(*shape, 4), None)
    targets = Targets(
        torch.tensor([[0.0, 0, 30, 30]]), *(torch.zeros(1, dtype=torch.int64),) * 2, torch.tensor([[64, 64]])
    )
    gt_index = torch.full(shape, BACKGROUND)
    gt_index[0, 0] = 0
    assert set(detection_loss(student, gt_index, anchors, targets, "none")) == {"cls", "box"}
