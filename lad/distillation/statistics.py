"""What an assignment looks like while it is learned: a few numbers per step, which stay on the device."""

import torch
from torch import Tensor

from lad.assigners.base import PAA, Assigner, own_assignment
from lad.assigners.candidates import Candidates
from lad.distillation.methods import MethodLoss
from lad.geometry import Anchors
from lad.structures import HeadOutputs, Targets


@torch.no_grad()
def assignment_statistics(
    learned: MethodLoss,
    student: HeadOutputs,
    candidates: Candidates,
    anchors: Anchors,
    targets: Targets,
    assigner: Assigner = PAA,
) -> dict[str, Tensor]:
    """Of one batch: agreement, the Jaccard index of the assignment that is learned and the student's own; cost_mean and
    cost_std over the candidates, where there are costs; in co-learning teacher_chosen, the share of candidates with the
    teacher's cost."""
    own = own_assignment(assigner, student, anchors, targets, candidates)
    seen = {"agreement": jaccard(own, learned.gt_index)}
    if learned.cost is not None:
        cost = learned.cost if len(learned.cost) else learned.cost.new_zeros(1)
        seen |= {"cost_mean": cost.mean(), "cost_std": cost.std(correction=0)}
    if learned.from_teacher is not None:
        seen["teacher_chosen"] = learned.from_teacher.float().sum() / max(len(learned.from_teacher), 1)
    return seen


def jaccard(first: Tensor, second: Tensor) -> Tensor:
    """Positives that two assignments of one shape give to the same gt / positives of either; 0 without any."""
    either = (first >= 0) | (second >= 0)
    same = (first >= 0) & (first == second)
    return same.sum() / either.sum().clamp(min=1)
