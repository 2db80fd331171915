"""The methods of Nguyen et al. (WACV 2022): whose outputs make the assignment that the student learns?

A method is a function (student outputs, teacher outputs or None, anchors, targets) → `MethodLoss`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lad.assignment import anchor_cost, assign, match_candidates
from lad.data.batch import Targets
from lad.geometry import Anchors
from lad.losses import BoxWeighting, detection_loss, soft_label_loss
from lad.models.outputs import HeadOutputs


@dataclass(frozen=True)
class MethodLoss:
    """terms: named scalar losses, ready to sum. gt_index: [N, A], the assignment that was learned."""

    terms: dict[str, Tensor]
    gt_index: Tensor


Method = Callable[[HeadOutputs, HeadOutputs | None, Anchors, Targets], MethodLoss]


def baseline(student: HeadOutputs, teacher: HeadOutputs | None, anchors: Anchors, targets: Targets) -> MethodLoss:
    """Plain PAA: the student's own outputs make the assignment. The teacher is not looked at. Boxes are weighted by
    their IoU, but not for a head without the IoU branch, as in the published code."""
    candidates = match_candidates(anchors, targets)
    cost = anchor_cost(student, candidates, anchors, targets)
    gt_index = assign(candidates, cost, anchors, targets)
    weighting: BoxWeighting = "none" if student.iou_logits is None else "iou"
    return MethodLoss(detection_loss(student, gt_index, anchors, targets, weighting), gt_index)


def lad(student: HeadOutputs, teacher: HeadOutputs | None, anchors: Anchors, targets: Targets) -> MethodLoss:
    """Label assignment distillation: the teacher's outputs make the assignment; nothing else passes on."""
    teacher = _needed(teacher, "lad")
    candidates = match_candidates(anchors, targets)
    cost = anchor_cost(teacher, candidates, anchors, targets)
    gt_index = assign(candidates, cost, anchors, targets)
    return MethodLoss(detection_loss(student, gt_index, anchors, targets, box_weighting="none"), gt_index)


def soft_label(student: HeadOutputs, teacher: HeadOutputs | None, anchors: Anchors, targets: Targets) -> MethodLoss:
    """Classical distillation: the student imitates the teacher's outputs; no assignment is learned, and the one that is
    returned, for the statistics, is the teacher's."""
    teacher = _needed(teacher, "soft_label")
    terms = soft_label_loss(
        student, teacher, anchors, targets, cls_weight=10, iou_weight=10, box_weight=1.3, min_iou=0.1
    )
    return MethodLoss(terms, lad(student, teacher, anchors, targets).gt_index)


def solad(student: HeadOutputs, teacher: HeadOutputs | None, anchors: Anchors, targets: Targets) -> MethodLoss:
    """SoLAD: the teacher's assignment and its soft labels, too."""
    teacher = _needed(teacher, "solad")
    assigned = lad(student, teacher, anchors, targets)
    soft = soft_label_loss(student, teacher, anchors, targets, cls_weight=2, iou_weight=10, box_weight=1.3, min_iou=0.5)
    return MethodLoss(assigned.terms | soft, assigned.gt_index)


def _needed(teacher: HeadOutputs | None, method: str) -> HeadOutputs:
    if teacher is None:
        raise ValueError(f"method '{method}' needs a teacher's outputs")
    return teacher


METHODS: dict[str, Method] = {"baseline": baseline, "lad": lad, "soft_label": soft_label, "solad": solad}
METHODS_WITH_TEACHER = ("lad", "soft_label", "solad")
TITLES = {"baseline": "plain", "lad": "LAD", "soft_label": "soft-label", "solad": "SoLAD"}  # for tables and figures
