"""The paper's methods. Each answers one question: whose outputs make the assignment that the student learns?

A method is a function (student outputs, teacher outputs or None, anchors, targets) → `MethodLoss`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lad.assignment import anchor_cost, assign, match_candidates
from lad.data.batch import Targets
from lad.geometry import Anchors
from lad.losses import detection_loss
from lad.models.outputs import HeadOutputs


@dataclass(frozen=True)
class MethodLoss:
    """terms: named scalar losses, ready to sum. gt_index: [N, A], the assignment that was learned."""

    terms: dict[str, Tensor]
    gt_index: Tensor


Method = Callable[[HeadOutputs, HeadOutputs | None, Anchors, Targets], MethodLoss]


def baseline(student: HeadOutputs, teacher: HeadOutputs | None, anchors: Anchors, targets: Targets) -> MethodLoss:
    """Plain PAA: the student's own outputs make the assignment. The teacher is not looked at."""
    candidates = match_candidates(anchors, targets)
    cost = anchor_cost(student, candidates, anchors, targets)
    gt_index = assign(candidates, cost, anchors, targets)
    return MethodLoss(detection_loss(student, gt_index, anchors, targets, box_weighting="iou"), gt_index)


def lad(student: HeadOutputs, teacher: HeadOutputs | None, anchors: Anchors, targets: Targets) -> MethodLoss:
    """Label assignment distillation: the teacher's outputs make the assignment; nothing else passes on (LAD, 3.1)."""
    if teacher is None:
        raise ValueError("method 'lad' needs a teacher's outputs")
    candidates = match_candidates(anchors, targets)
    cost = anchor_cost(teacher, candidates, anchors, targets)
    gt_index = assign(candidates, cost, anchors, targets)
    return MethodLoss(detection_loss(student, gt_index, anchors, targets, box_weighting="none"), gt_index)


METHODS: dict[str, Method] = {"baseline": baseline, "lad": lad}
METHODS_WITH_TEACHER = ("lad",)
TITLES = {"baseline": "plain", "lad": "LAD"}  # for tables and figures
