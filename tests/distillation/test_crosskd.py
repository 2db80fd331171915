"""CrossKD against the published code."""

from dataclasses import replace

import torch
from reference import reference_head

from lad.assigners.base import AssignmentContext
from lad.distillation.crosskd import cross_outputs, crosskd_term
from lad.distillation.terms import TermInputs, TermOptions
from lad.geometry import make_anchors
from lad.models.detector import build_detector
from lad.structures import BACKGROUND, HeadOutputs


def test_the_cross_outputs_are_those_of_the_published_code(golden, term_inputs):
    case, inputs = golden("distillation"), term_inputs()
    cross = cross_outputs(inputs.student, inputs.teacher, inputs.teacher_head)
    of_networks = {"student": inputs.student.outputs, "teacher": inputs.teacher.outputs, "cross": cross}
    for network, outputs in of_networks.items():
        for name in HeadOutputs._fields:
            torch.testing.assert_close(getattr(outputs, name).detach(), case[f"{network}_{name}"], rtol=0, atol=1e-4)


def test_the_losses_and_gradients_are_those_of_the_published_code(golden, term_inputs):
    case, head = golden("distillation"), reference_head("")
    inputs = term_inputs(head)
    losses = crosskd_term(inputs, TermOptions())
    assert losses.keys() == {"crosskd_cls", "crosskd_box", "crosskd_iou"}
    for name, loss in losses.items():
        torch.testing.assert_close(loss.detach(), case[name], rtol=1e-4, atol=0)
    sum(losses.values()).backward()
    gradients = {f"p{level}": feature.grad for level, feature in enumerate(inputs.student.pyramid, start=3)}
    gradients["cls_convs.0.conv.weight"] = head.cls_tower[0].weight.grad
    gradients["reg_convs.2.conv.weight"] = head.reg_tower[6].weight.grad
    for name, gradient in gradients.items():
        expected = case[f"crosskd_grad_{name}"]
        assert (gradient - expected).norm() < 1e-3 * expected.norm(), name


def test_the_students_layers_behind_the_crossing_and_the_teacher_get_no_gradient(golden, term_inputs):
    head = reference_head("")
    inputs = term_inputs(head)
    sum(crosskd_term(inputs, TermOptions()).values()).backward()
    assert not golden("distillation")["crosskd_grad_cls_convs.3.conv.weight"].any()
    assert head.cls_tower[9].weight.grad is None and head.cls.weight.grad is None
    assert all(weight.grad is None for weight in inputs.teacher_head.parameters())


def test_a_student_with_the_teachers_features_has_only_the_entropy_of_the_iou(term_inputs):
    inputs = term_inputs()
    losses = crosskd_term(replace(inputs, student=inputs.teacher), TermOptions())
    assert losses["crosskd_cls"] < 1e-4 and losses["crosskd_box"] < 1e-4 and losses["crosskd_iou"] > 0


def test_a_level_of_one_position_and_one_image_counts_nothing():
    """The published code gives NaN: one value has no standard deviation."""
    torch.manual_seed(0)
    student, teacher = (build_detector("r18", 3, 0.25, channels=64).eval() for _ in range(2))
    images = torch.randn(1, 3, 128, 128)  # P7 is 1×1
    with torch.no_grad():
        taught = teacher.requires_grad_(False)(images, with_features=True)
    features = student(images, with_features=True)
    anchors = make_anchors((128, 128))
    gt_index = torch.full((1, len(anchors.boxes)), BACKGROUND)
    gt_index[:, anchors.level == 4] = 0  # a positive where nothing counts
    inputs = TermInputs(features, taught, teacher.head, gt_index, AssignmentContext(None, anchors, None))
    losses = crosskd_term(inputs, TermOptions())
    assert losses["crosskd_iou"] == 0 and losses["crosskd_cls"].isfinite() and losses["crosskd_box"] > 0
    sum(losses.values()).backward()
    gradients = [weight.grad for weight in student.parameters() if weight.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
