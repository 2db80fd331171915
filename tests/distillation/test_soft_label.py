"""Soft-label distillation against the published heads."""

import pytest
import torch

from lad.assigners.candidates import match_candidates
from lad.distillation.methods import METHODS
from lad.distillation.soft_label import focal_kl, soft_label_loss
from lad.geometry import make_anchors
from lad.structures import HeadOutputs, Targets

NAMES = ("cls_logits", "box_deltas", "iou_logits")


@pytest.fixture
def scene(golden):
    """Images 0 and 1 of the reference batch: student, teacher, anchors, targets."""
    case, lad_case = golden("paa_assignment"), golden("lad")
    student = HeadOutputs(*(case[name][:2].clone().requires_grad_() for name in NAMES))
    teacher = HeadOutputs(*(lad_case[f"teacher_{name}"][:2] for name in NAMES))
    here = case.gt_image < 2
    targets = Targets(case.gt_boxes[here], case.gt_labels[here], case.gt_image[here], case.image_hw[:2])
    return student, teacher, make_anchors(tuple(case.padded_hw.tolist())), targets


def test_focal_kl_is_the_references(golden):
    case = golden("soft_label")
    torch.testing.assert_close(focal_kl(case.fkl_pred, case.fkl_target), case.fkl_none, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        focal_kl(case.fkl_pred, case.fkl_target, 2).mean(), case.fkl_mean_gamma2, rtol=1e-4, atol=0
    )


def test_focal_kl_is_zero_where_student_and_teacher_agree_and_finite_at_the_ends():
    logits = torch.tensor([-200.0, -3, 0, 3, 200])
    torch.testing.assert_close(focal_kl(logits, logits.sigmoid()), torch.zeros(5), atol=1e-6, rtol=0)
    assert focal_kl(logits, torch.tensor([1.0, 0, 1, 0, 0])).isfinite().all()


@pytest.mark.parametrize(
    ("name", "cls_weight", "iou_weight", "box_weight", "min_iou"),
    [("softlabel", 10, 10, 1.3, 0.1), ("solad", 2, 10, 1.3, 0.5)],
)
def test_reference_terms_and_gradients(golden, scene, name, cls_weight, iou_weight, box_weight, min_iou):
    expected, (student, *rest) = golden("soft_label"), scene
    losses = soft_label_loss(student, *rest, cls_weight, iou_weight, box_weight, min_iou)
    for term, reference in (("soft_cls", "cls"), ("soft_box", "bbox"), ("soft_iou", "centerness")):
        torch.testing.assert_close(losses[term].detach(), expected[f"{name}_loss_kd_{reference}"], rtol=1e-4, atol=0)
    sum(losses.values()).backward()
    for tensor, reference in ((student.cls_logits, "cls"), (student.box_deltas, "box"), (student.iou_logits, "iou")):
        gradient = expected[f"{name}_grad_{reference}"][:2]
        assert (tensor.grad - gradient).norm() < 1e-4 * gradient.norm()


def test_an_image_without_gts_contributes_its_classes_only(golden, scene):
    """The published code fails on such an image."""
    case, lad_case, (student, teacher, anchors, targets) = golden("paa_assignment"), golden("lad"), scene
    whole = Targets(targets.boxes, targets.labels, targets.image, case.image_hw)
    student3 = HeadOutputs(*(case[name] for name in NAMES))
    teacher3 = HeadOutputs(*(lad_case[f"teacher_{name}"] for name in NAMES))
    two = soft_label_loss(student, teacher, anchors, targets, 10, 10, 1.3, 0.1)
    three = soft_label_loss(student3, teacher3, anchors, whole, 10, 10, 1.3, 0.1)
    torch.testing.assert_close(two["soft_box"], three["soft_box"])
    torch.testing.assert_close(two["soft_iou"], three["soft_iou"])
    assert three["soft_cls"] > two["soft_cls"]


def test_a_batch_without_gts_is_finite_and_reaches_every_output(scene):
    student, teacher, anchors, targets = scene
    none = torch.zeros(0, dtype=torch.int64)
    empty = Targets(torch.zeros(0, 4), none, none, targets.image_hw)
    losses = soft_label_loss(student, teacher, anchors, empty, 10, 10, 1.3, 0.1)
    sum(losses.values()).backward()
    assert losses["soft_box"] == 0 and losses["soft_iou"] == 0 and losses["soft_cls"].isfinite()
    assert all(tensor.grad is not None for tensor in student)


@pytest.mark.parametrize(
    ("method", "terms"),
    [
        ("soft_label", {"soft_cls", "soft_box", "soft_iou"}),
        ("solad", {"cls", "box", "iou", "soft_cls", "soft_box", "soft_iou"}),
    ],
)
def test_methods_sum_what_the_paper_says_over_the_teachers_assignment(scene, method, terms):
    student, teacher, anchors, targets = scene
    candidates = match_candidates(anchors, targets)
    learned = METHODS[method](student, teacher, candidates, anchors, targets)
    assert set(learned.terms) == terms
    assert torch.equal(learned.gt_index, METHODS["lad"](student, teacher, candidates, anchors, targets).gt_index)
