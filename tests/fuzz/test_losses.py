"""The losses of every method on batches of every shape."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import ABSURD, FUZZ, Scenario, head_outputs, scenes
from torch.nn import functional as F

from lad.assigners import ASSIGNERS, PAA, assign_by_predictions, build_assigner
from lad.distillation.methods import METHODS, build_method
from lad.geometry import box_giou_loss, box_iou, decode_deltas
from lad.losses import detection_loss
from lad.structures import IGNORED, HeadOutputs

PAIRS = [
    (method, assigner)
    for method in METHODS
    for assigner in ASSIGNERS
    if ASSIGNERS[assigner].uses_predictions or not METHODS[method].learns_assignment
]


@st.composite
def pairs(draw: st.DrawFn, *magnitudes, **shapes) -> tuple[Scenario, HeadOutputs]:
    """Draw a student's outputs on a batch, and a teacher's; both have the IoU branch or neither has it."""
    scene = draw(scenes(*magnitudes, **shapes))
    teacher = draw(head_outputs(scene.padded_hw, scene.targets, *magnitudes))
    if (teacher.iou_logits is None) != (scene.outputs.iou_logits is None):
        teacher = teacher._replace(iou_logits=scene.outputs.iou_logits)
    return scene, teacher


def with_gradients(outputs: HeadOutputs) -> HeadOutputs:
    return HeadOutputs(*(None if field is None else field.clone().requires_grad_() for field in outputs))


@pytest.mark.parametrize(("method", "assigner"), PAIRS)
@FUZZ
@given(pairs())
def test_losses_and_gradients_are_finite_and_reach_every_output(method, assigner, pair):
    """With and without gts, as distributed training needs a gradient of every parameter."""
    scene, teacher = pair
    trains_teacher, rule = METHODS[method].trains_teacher, build_assigner(assigner)
    student = with_gradients(scene.outputs)
    teacher = with_gradients(teacher) if trains_teacher else teacher
    loss = build_method(method, rule)(student, teacher, scene.context(rule))
    assert all(term.isfinite() and term >= -1e-4 for term in loss.terms.values())
    sum(loss.terms.values()).backward()
    for outputs in (student, teacher) if trains_teacher else (student,):
        assert all(field is None or field.grad.isfinite().all() for field in outputs)


@pytest.mark.parametrize("method", METHODS)
@FUZZ
@given(pairs(ABSURD))
def test_no_loss_of_absurd_outputs_is_nan(method, pair):
    scene, teacher = pair
    loss = build_method(method, PAA())(scene.outputs, teacher, scene.context(PAA()))
    assert not any(term.isnan() for term in loss.terms.values())


@pytest.mark.parametrize("method", METHODS)
@FUZZ
@given(pairs(), st.sampled_from([0.0, 1e-3, 0.5, 1000.0]))
def test_losses_are_finite_for_any_sums_of_the_other_ranks(method, pair, factor):
    """The sums are averaged over ranks, which multiplies this rank's own by some factor, 0 among them."""
    scene, teacher = pair
    student = with_gradients(scene.outputs)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("lad.losses", "lad.distillation.soft_label"):
            patch.setattr(f"{module}.mean_over_ranks", lambda value: value * factor)
        loss = build_method(method, PAA())(student, teacher, scene.context(PAA()))
    sum(loss.terms.values()).backward()
    assert all(term.isfinite() for term in loss.terms.values())
    assert all(field is None or field.grad.isfinite().all() for field in student)


@pytest.mark.parametrize("weighting", ["iou", "none"])
@FUZZ
@given(scenes())
def test_the_detection_loss_is_a_sum_over_positives_and_background(weighting, scene):
    """The reference sums over the assigned anchors in float64, except for decoded boxes."""
    anchors, gts, outputs = scene.anchors, scene.targets, scene.outputs
    gt_index = assign_by_predictions(PAA(), outputs, anchors, gts)
    losses = detection_loss(outputs, gt_index, anchors, gts, weighting)
    image, anchor = (gt_index >= 0).nonzero(as_tuple=True)
    gt = gt_index[image, anchor]
    one_hot = torch.zeros_like(outputs.cls_logits, dtype=torch.float64)
    one_hot[image, anchor, gts.labels[gt]] = 1
    logits = outputs.cls_logits.double()
    probability = logits.sigmoid()
    missed = torch.where(one_hot == 1, 1 - probability, probability)
    entropy = F.binary_cross_entropy_with_logits(logits, one_hot, reduction="none")
    focal = torch.where(one_hot == 1, 0.25, 0.75) * missed**2 * entropy
    expected = focal[gt_index != IGNORED].sum() / max(len(gt), len(gt_index))
    torch.testing.assert_close(losses["cls"].double(), expected, rtol=1e-3, atol=1e-5)
    boxes = decode_deltas(anchors.boxes[anchor], outputs.box_deltas[image, anchor])
    iou = box_iou(boxes, gts.boxes[gt])
    weight, norm = (iou, iou.sum()) if weighting == "iou" else (torch.ones_like(iou), torch.tensor(float(len(gt))))
    box = (weight * box_giou_loss(boxes, gts.boxes[gt])).sum() / norm.clamp(min=1e-6)
    torch.testing.assert_close(losses["box"], 1.3 * box, rtol=1e-3, atol=1e-5)
    if outputs.iou_logits is not None:
        entropy = F.binary_cross_entropy_with_logits(outputs.iou_logits[image, anchor], iou, reduction="sum")
        torch.testing.assert_close(losses["iou"], 0.5 * entropy / max(1, len(gt)), rtol=1e-3, atol=1e-5)
