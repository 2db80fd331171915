"""The methods of Nguyen et al. (WACV 2022): whose outputs make the assignment that the student learns?

A method is a function (student outputs, teacher outputs or None, candidates, anchors, targets[, assigner]) →
`MethodLoss`. The candidates are what the assigner's `match` found, from geometry alone.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lad.assigners.base import ASSIGNERS, PAA, Assigner
from lad.assigners.candidates import Candidates
from lad.distillation.cost_selection import COST_SELECTIONS, Choice, choose_cost_std_mean
from lad.distillation.soft_label import soft_label_loss
from lad.geometry import Anchors
from lad.losses import BoxWeighting, detection_loss
from lad.structures import HeadOutputs, Targets


@dataclass(frozen=True)
class MethodLoss:
    """terms: named scalar losses, ready to sum; those of a second network start with teacher_. gt_index: [N, A], the
    assignment that was learned. cost: [M] of the candidates it was made from, None if it was remembered. from_teacher:
    [M] bool, in co-learning: whose cost was chosen."""

    terms: dict[str, Tensor]
    gt_index: Tensor
    cost: Tensor | None = None
    from_teacher: Tensor | None = None


Method = Callable[..., MethodLoss]


def baseline(
    student: HeadOutputs,
    teacher: HeadOutputs | None,
    candidates: Candidates,
    anchors: Anchors,
    targets: Targets,
    assigner: Assigner = PAA,
) -> MethodLoss:
    """Plain training: the student's own outputs make the assignment. The teacher is not looked at. Boxes are weighted
    by their IoU, but not for a head without the IoU branch, as in the published code."""
    candidate_scores = assigner.score(student, candidates, anchors, targets)
    gt_index = assigner.assign(candidates, candidate_scores, anchors, targets)
    weighting: BoxWeighting = "none" if student.iou_logits is None else "iou"
    return MethodLoss(detection_loss(student, gt_index, anchors, targets, weighting), gt_index, candidate_scores[:, 0])


def lad(
    student: HeadOutputs,
    teacher: HeadOutputs | None,
    candidates: Candidates,
    anchors: Anchors,
    targets: Targets,
    assigner: Assigner = PAA,
) -> MethodLoss:
    """Label assignment distillation: the teacher's outputs make the assignment; nothing else passes on."""
    candidate_scores = assigner.score(_needed(teacher, "lad"), candidates, anchors, targets)
    gt_index = assigner.assign(candidates, candidate_scores, anchors, targets)
    return MethodLoss(learn_assignment(student, gt_index, anchors, targets), gt_index, candidate_scores[:, 0])


def learn_assignment(student: HeadOutputs, gt_index: Tensor, anchors: Anchors, targets: Targets) -> dict[str, Tensor]:
    """The losses of a student on an assignment gt_index [N, A] that it was given."""
    return detection_loss(student, gt_index, anchors, targets, box_weighting="none")


def soft_label(
    student: HeadOutputs,
    teacher: HeadOutputs | None,
    candidates: Candidates,
    anchors: Anchors,
    targets: Targets,
    assigner: Assigner = PAA,
) -> MethodLoss:
    """Classical distillation: the student imitates the teacher's outputs; no assignment is learned, and the one that is
    returned, for the statistics, is the teacher's."""
    teacher = _needed(teacher, "soft_label")
    terms = soft_label_loss(
        student, teacher, anchors, targets, cls_weight=10, iou_weight=10, box_weight=1.3, min_iou=0.1
    )
    candidate_scores = assigner.score(teacher, candidates, anchors, targets)
    return MethodLoss(terms, assigner.assign(candidates, candidate_scores, anchors, targets), candidate_scores[:, 0])


def solad(
    student: HeadOutputs,
    teacher: HeadOutputs | None,
    candidates: Candidates,
    anchors: Anchors,
    targets: Targets,
    assigner: Assigner = PAA,
) -> MethodLoss:
    """SoLAD: the teacher's assignment and its soft labels, too."""
    teacher = _needed(teacher, "solad")
    assigned = lad(student, teacher, candidates, anchors, targets, assigner)
    soft = soft_label_loss(student, teacher, anchors, targets, cls_weight=2, iou_weight=10, box_weight=1.3, min_iou=0.5)
    return MethodLoss(assigned.terms | soft, assigned.gt_index, assigned.cost)


def colad(
    student: HeadOutputs,
    teacher: HeadOutputs | None,
    candidates: Candidates,
    anchors: Anchors,
    targets: Targets,
    assigner: Assigner = PAA,
    choose: Choice = choose_cost_std_mean,
) -> MethodLoss:
    """Co-learning LAD: two networks train; for each gt the one that `choose` prefers supplies the costs, and both learn
    the one assignment. The total is the sum of both networks' losses."""
    teacher = _needed(teacher, "colad")
    own, other = (assigner.score(one, candidates, anchors, targets) for one in (student, teacher))
    cost, from_teacher = choose(own[:, 0], other[:, 0], candidates, targets)
    gt_index = assigner.assign(candidates, torch.where(from_teacher[:, None], other, own), anchors, targets)
    terms = learn_assignment(student, gt_index, anchors, targets)
    both = learn_assignment(teacher, gt_index, anchors, targets)
    return MethodLoss(terms | {f"teacher_{name}": term for name, term in both.items()}, gt_index, cost, from_teacher)


def find_method(name: str, assigner: str = "paa", cost_selection: str = "std_mean") -> Method:
    """The method of this name with this assigner; cost_selection: of co-learning."""
    if name in CO_LEARNING:
        return functools.partial(colad, assigner=ASSIGNERS[assigner], choose=COST_SELECTIONS[cost_selection])
    return functools.partial(METHODS[name], assigner=ASSIGNERS[assigner])


def _needed(teacher: HeadOutputs | None, method: str) -> HeadOutputs:
    if teacher is None:
        raise ValueError(f"method '{method}' needs a teacher's outputs")
    return teacher


METHODS: dict[str, Method] = {
    "baseline": baseline, "lad": lad, "soft_label": soft_label, "solad": solad, "colad": colad,
}  # fmt: skip
METHODS_WITH_TEACHER = ("lad", "soft_label", "solad", "colad")
LEARN_ASSIGNMENT = ("lad", "solad", "colad")  # from a teacher
CO_LEARNING = ("colad",)  # their teacher trains, too; the others' is a run of its own
TITLES = {
    "baseline": "plain", "lad": "LAD", "soft_label": "soft-label", "solad": "SoLAD", "colad": "CoLAD",
}  # for tables and figures  # fmt: skip
