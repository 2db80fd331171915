"""PAA's head: the layout of its outputs, its initialization, and training with every method and head."""

import pytest
import torch

from lad.assigners.base import AssignmentContext
from lad.assigners.candidates import match_candidates
from lad.distillation.methods import METHODS, baseline_loss
from lad.geometry import level_sizes, make_anchors
from lad.losses import detection_loss
from lad.models.detector import build_detector
from lad.models.heads.registry import HEADS


def test_outputs_are_flat_row_major_levels():
    """Changing a single location of a level changes the output of its anchor."""
    detector = build_detector("r18", num_classes=2, width=0.25, channels=64).eval()
    levels = [torch.zeros(1, 64, rows, columns) for rows, columns in level_sizes((64, 96))]
    with torch.no_grad():
        original = detector.head(levels).cls_logits
        levels[1][0, :, 1, 2] = 100.0  # P4, row 1, column 2
        changed_logits = detector.head(levels).cls_logits
    anchors = make_anchors((64, 96))
    changed = ((changed_logits - original).abs().sum(dim=-1)[0] > 0) & (anchors.level == 1)
    location = ((anchors.level == 1) & (anchors.center == torch.tensor([2 * 16.0, 16.0])).all(dim=1)).nonzero().item()
    assert changed[location] and changed.sum() > 1  # GroupNorm sees the whole map
    assert not (((changed_logits - original).abs().sum(dim=-1)[0] > 0) & (anchors.level != 1)).any()


def test_every_class_has_a_low_prior_probability_before_training():
    outputs = build_detector("r18", num_classes=3, width=0.25, channels=64).eval()(torch.zeros(1, 3, 64, 64))
    torch.testing.assert_close(outputs.cls_logits.sigmoid().mean(), torch.tensor(0.01), atol=5e-3, rtol=0)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("iou_branch", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_every_head_trains_with_every_method(head, iou_branch, method, targets):
    """With the same head for teacher and student, every parameter gets a finite gradient."""
    torch.manual_seed(0)
    arguments = {"num_classes": 4, "width": 0.25, "channels": 64, "head": head, "iou_branch": iou_branch}
    student, teacher = build_detector("r18", **arguments).train(), build_detector("r18", **arguments).eval()
    images, anchors = torch.randn(2, 3, 96, 128), make_anchors((96, 128))
    with torch.no_grad():
        teacher_outputs = teacher(images)
    outputs = student(images)
    assert (outputs.iou_logits is None) == (not iou_branch)
    context = AssignmentContext(match_candidates(anchors, targets), anchors, targets)
    terms = METHODS[method].loss(outputs, teacher_outputs, context).terms
    assert any("iou" in name for name in terms) == iou_branch
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in student.parameters())
    assert (student.head.auxiliary is None) == (head == "paa")
    assert head == "paa" or all(p.grad.any() for p in student.head.auxiliary.parameters())


def test_heads_without_the_iou_branch_do_not_weight_boxes(targets):
    """As in the published code, the GIoU loss is averaged over positives, not weighted by IoU."""
    torch.manual_seed(0)
    detector = build_detector("r18", 4, 0.25, channels=64, iou_branch=False)
    outputs, anchors = detector(torch.randn(2, 3, 96, 128)), make_anchors((96, 128))
    result = baseline_loss(outputs, None, AssignmentContext(match_candidates(anchors, targets), anchors, targets))
    expected = detection_loss(outputs, result.gt_index, anchors, targets, box_weighting="none")
    assert torch.equal(result.terms["box"], expected["box"]) and "iou" not in result.terms
