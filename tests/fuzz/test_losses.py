"""The losses of every method on batches of every shape."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import ABSURD, FUZZ, Scenario, head_outputs, scenes
from torch.nn import functional as F

from lad import losses
from lad.assigners.base import ASSIGNERS, own_assignment
from lad.distillation.methods import LEARN_ASSIGNMENT, METHODS, find_method
from lad.geometry import box_giou_loss, box_iou, decode_deltas
from lad.losses import detection_loss
from lad.structures import IGNORED, HeadOutputs

PAIRS = [
    (method, assigner)
    for method in METHODS
    for assigner in ASSIGNERS
    if not (method in LEARN_ASSIGNMENT and ASSIGNERS[assigner].is_static)
]


@st.composite
def pairs(draw: st.DrawFn, *magnitudes, **shapes) -> tuple[Scenario, HeadOutputs]:
    """A scene with a student's outputs, and a teacher's that has the IoU branch if the student does."""
    scene = draw(scenes(*magnitudes, **shapes))
    teacher = draw(head_outputs(scene.padded_hw, scene.targets, *magnitudes))
    if (teacher.iou_logits is None) != (scene.outputs.iou_logits is None):
        teacher = teacher._replace(iou_logits=scene.outputs.iou_logits)
    return scene, teacher


def learnable(outputs: HeadOutputs) -> HeadOutputs:
    return HeadOutputs(*(None if field is None else field.clone().requires_grad_() for field in outputs))


@pytest.mark.parametrize(("method", "assigner"), PAIRS)
@FUZZ
@given(pairs())
def test_losses_and_gradients_are_finite_and_reach_every_output(method, assigner, pair):
    """With and without gts: every parameter needs a gradient in distributed training."""
    scene, teacher = pair
    student, teacher = learnable(scene.outputs), learnable(teacher) if method == "colad" else teacher
    candidates = ASSIGNERS[assigner].find_candidates(scene.anchors, scene.targets)
    learned = find_method(method, assigner)(student, teacher, candidates, scene.anchors, scene.targets)
    assert all(term.isfinite() and term >= -1e-4 for term in learned.terms.values())
    sum(learned.terms.values()).backward()
    for outputs in (student, teacher) if method == "colad" else (student,):
        assert all(field is None or field.grad.isfinite().all() for field in outputs)


@pytest.mark.parametrize("method", METHODS)
@FUZZ
@given(pairs(ABSURD))
def test_no_loss_of_absurd_outputs_is_nan(method, pair):
    scene, teacher = pair
    candidates = ASSIGNERS["paa"].find_candidates(scene.anchors, scene.targets)
    learned = find_method(method)(scene.outputs, teacher, candidates, scene.anchors, scene.targets)
    assert not any(term.isnan() for term in learned.terms.values())


@pytest.mark.parametrize("method", METHODS)
@FUZZ
@given(pairs(), st.sampled_from([0.0, 1e-3, 0.5, 1000.0]))
def test_losses_are_finite_whatever_the_other_ranks_have(method, pair, factor):
    """Whose sums are averaged with this rank's; factor: by how much this changes its own. None of all is among them."""
    scene, teacher = pair
    student = learnable(scene.outputs)
    candidates = ASSIGNERS["paa"].find_candidates(scene.anchors, scene.targets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "mean_over_ranks", lambda value: value * factor)
        learned = find_method(method)(student, teacher, candidates, scene.anchors, scene.targets)
    sum(learned.terms.values()).backward()
    assert all(term.isfinite() for term in learned.terms.values())
    assert all(field is None or field.grad.isfinite().all() for field in student)


@pytest.mark.parametrize("weighting", ["iou", "none"])
@FUZZ
@given(scenes())
def test_the_detection_loss_is_that_of_a_sum_over_positives_and_negatives(weighting, scene):
    """As plain sums over the anchors that the assignment picks, in float64 but for what is decoded."""
    anchors, gts, outputs = scene.anchors, scene.targets, scene.outputs
    gt_index = own_assignment(ASSIGNERS["paa"], outputs, anchors, gts)
    ours = detection_loss(outputs, gt_index, anchors, gts, weighting)
    image, anchor = (gt_index >= 0).nonzero(as_tuple=True)
    gt = gt_index[image, anchor]
    wanted = torch.zeros_like(outputs.cls_logits, dtype=torch.float64)
    wanted[image, anchor, gts.labels[gt]] = 1
    logits = outputs.cls_logits.double()
    probability = logits.sigmoid()
    missed = torch.where(wanted == 1, 1 - probability, probability)
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    focal = torch.where(wanted == 1, 0.25, 0.75) * missed**2 * entropy
    expected = focal[gt_index != IGNORED].sum() / max(len(gt), len(gt_index))
    torch.testing.assert_close(ours["cls"].double(), expected, rtol=1e-3, atol=1e-5)
    boxes = decode_deltas(anchors.boxes[anchor], outputs.box_deltas[image, anchor])
    iou = box_iou(boxes, gts.boxes[gt])
    weight, norm = (iou, iou.sum()) if weighting == "iou" else (torch.ones_like(iou), torch.tensor(float(len(gt))))
    box = (weight * box_giou_loss(boxes, gts.boxes[gt])).sum() / norm.clamp(min=1e-6)
    torch.testing.assert_close(ours["box"], 1.3 * box, rtol=1e-3, atol=1e-5)
    if outputs.iou_logits is not None:
        entropy = F.binary_cross_entropy_with_logits(outputs.iou_logits[image, anchor], iou, reduction="sum")
        torch.testing.assert_close(ours["iou"], 0.5 * entropy / max(1, len(gt)), rtol=1e-3, atol=1e-5)
