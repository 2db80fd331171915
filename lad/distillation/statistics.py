"""Statistics of the learned assignment: a few numbers per training step, which stay on the device."""

import torch
from torch import Tensor

from lad.assigners import Assigner, AssignmentContext
from lad.assigners.paa import DEFAULT_ASSIGNER
from lad.distillation.methods import MethodLoss
from lad.structures import HeadOutputs


@torch.no_grad()
def assignment_statistics(
    loss: MethodLoss, student: HeadOutputs, context: AssignmentContext, assigner: Assigner = DEFAULT_ASSIGNER
) -> dict[str, Tensor]:
    """Compute statistics of the assignment of one batch.

    Args:
        loss: Losses of the batch and the learned assignment.
        student: The student's outputs.
        context: Candidates, anchors and gts of the batch.
        assigner: The rule that makes the student's own assignment, for comparison.

    Returns:
        agreement: Jaccard index of the learned assignment and the student's own. cost_mean, cost_std: over the
        candidates, where there are costs. teacher_chosen: in co-learning, the share of candidates with the teacher's
        cost.
    """
    own = assigner.assign(assigner.score(student, context), context)
    statistics = {"agreement": jaccard(own, loss.gt_index)}
    if loss.cost is not None:
        cost = loss.cost if len(loss.cost) else loss.cost.new_zeros(1)
        statistics |= {"cost_mean": cost.mean(), "cost_std": cost.std(correction=0)}
    if loss.from_teacher is not None:
        statistics["teacher_chosen"] = loss.from_teacher.float().sum() / max(len(loss.from_teacher), 1)
    return statistics


def jaccard(first: Tensor, second: Tensor) -> Tensor:
    """Compute the Jaccard index of two assignments of one shape: shared positives / positives of either.

    A positive is shared if both assign it to the same gt. The index is 0 if neither has a positive.
    """
    either = (first >= 0) | (second >= 0)
    same = (first >= 0) & (first == second)
    return same.sum() / either.sum().clamp(min=1)
