"""Soft-label distillation against the published heads."""

import pytest
import torch
from reference import reference_context, reference_outputs

from lad.distillation.soft_label import focal_kl, soft_label_loss
from lad.geometry import Anchors
from lad.structures import HeadOutputs, Targets


@pytest.fixture
def scene(golden) -> tuple[HeadOutputs, HeadOutputs, Anchors, Targets]:
    """Images 0 and 1 of the reference batch: student, teacher, anchors, targets."""
    context = reference_context(golden("paa_assignment"))
    student, teacher = reference_outputs(golden("paa_assignment")), reference_outputs(golden("lad"), "teacher_")
    student = HeadOutputs(*(field[:2].clone().requires_grad_() for field in student))
    teacher = HeadOutputs(*(field[:2] for field in teacher))
    boxes, labels, image = context.targets.boxes, context.targets.labels, context.targets.image
    is_kept = image < 2
    targets = Targets(boxes[is_kept], labels[is_kept], image[is_kept], context.targets.image_hw[:2])
    return student, teacher, context.anchors, targets


def test_focal_kl_is_that_of_the_published_code(golden):
    case = golden("soft_label")
    torch.testing.assert_close(focal_kl(case.fkl_pred, case.fkl_target), case.fkl_none, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        focal_kl(case.fkl_pred, case.fkl_target, 2).mean(), case.fkl_mean_gamma2, rtol=1e-4, atol=0
    )


def test_focal_kl_is_zero_where_student_and_teacher_agree_and_finite_at_the_extremes():
    logits = torch.tensor([-200.0, -3, 0, 3, 200])
    torch.testing.assert_close(focal_kl(logits, logits.sigmoid()), torch.zeros(5), atol=1e-6, rtol=0)
    assert focal_kl(logits, torch.tensor([1.0, 0, 1, 0, 0])).isfinite().all()


@pytest.mark.parametrize(
    ("name", "weights_and_min_iou"), [("softlabel", (10, 10, 1.3, 0.1)), ("solad", (2, 10, 1.3, 0.5))]
)
def test_terms_and_gradients_are_those_of_the_published_code(golden, scene, name, weights_and_min_iou):
    expected, (student, *rest) = golden("soft_label"), scene
    losses = soft_label_loss(student, *rest, *weights_and_min_iou)
    for term, reference in (("soft_cls", "cls"), ("soft_box", "bbox"), ("soft_iou", "centerness")):
        torch.testing.assert_close(losses[term].detach(), expected[f"{name}_loss_kd_{reference}"], rtol=1e-4, atol=0)
    sum(losses.values()).backward()
    for field, reference in zip(student, ("cls", "box", "iou"), strict=True):
        gradient = expected[f"{name}_grad_{reference}"][:2]
        assert (field.grad - gradient).norm() < 1e-4 * gradient.norm()


def test_an_image_without_gts_contributes_to_the_class_term_only(golden, scene):
    """The published code fails on such an image."""
    student, teacher, anchors, targets = scene
    case, teacher_case = golden("paa_assignment"), golden("lad")
    with_third_image = Targets(targets.boxes, targets.labels, targets.image, case.image_hw)
    two = soft_label_loss(student, teacher, anchors, targets, 10, 10, 1.3, 0.1)
    three = soft_label_loss(
        reference_outputs(case),
        reference_outputs(teacher_case, "teacher_"),
        anchors,
        with_third_image,
        10,
        10,
        1.3,
        0.1,
    )
    torch.testing.assert_close(two["soft_box"], three["soft_box"])
    torch.testing.assert_close(two["soft_iou"], three["soft_iou"])
    assert three["soft_cls"] > two["soft_cls"]


def test_a_batch_without_gts_is_finite_and_reaches_every_output(scene):
    student, teacher, anchors, targets = scene
    no_gts = torch.zeros(0, dtype=torch.int64)
    empty = Targets(torch.zeros(0, 4), no_gts, no_gts, targets.image_hw)
    losses = soft_label_loss(student, teacher, anchors, empty, 10, 10, 1.3, 0.1)
    sum(losses.values()).backward()
    assert losses["soft_box"] == 0 and losses["soft_iou"] == 0 and losses["soft_cls"].isfinite()
    assert all(tensor.grad is not None for tensor in student)
