"""TAL (TOOD): the candidates of a gt that are best aligned in class score and IoU are positive."""

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from lad.assigners.base import Assigner, AssignmentContext, register_assigner
from lad.assigners.candidates import Candidates
from lad.assigners.center_candidates import resolve_conflicts, within_gts
from lad.assigners.cost import predicted_iou
from lad.assigners.indexing import rank_in_group
from lad.geometry import Anchors
from lad.structures import HeadOutputs, Targets
from lad.utils.options import OPTIONS

TOPK = 13
IOU_POWER = 6.0


@register_assigner("tal")
@dataclass(frozen=True, config=OPTIONS)
class TAL(Assigner):
    """Task-aligned assignment.

    Attributes:
        topk: Positives per gt at most.
        iou_power: β of the alignment s^α · u^β.
        class_weight: α; 0 scores candidates by their boxes alone.

    Source: TOOD (Feng et al., ICCV 2021), α 1.
    """

    title: ClassVar[str] = "TAL"
    topk: int = Field(default=TOPK, ge=1, le=1000)
    iou_power: float = Field(default=IOU_POWER, ge=0, le=100)
    class_weight: float = Field(default=1.0, ge=0, le=100)

    def find_candidates(self, anchors: Anchors, targets: Targets) -> Candidates:
        """Return the anchors whose centers lie within a gt."""
        return within_gts(anchors, targets)

    def score(self, outputs: HeadOutputs, context: AssignmentContext) -> Tensor:
        """Return `alignment_metric`, [M, 2]."""
        return alignment_metric(outputs, context, self.iou_power, self.class_weight)

    def assign(self, candidate_scores: Tensor, context: AssignmentContext) -> Tensor:
        """Return the assignment gt_index [N, A] of `assign_tal`."""
        return assign_tal(candidate_scores, context, self.topk)


@torch.no_grad()
def alignment_metric(
    outputs: HeadOutputs, context: AssignmentContext, iou_power: float = IOU_POWER, class_weight: float = 1.0
) -> Tensor:
    """Return the task alignment of each candidate, [M, 2]: −log(s^α · u^β) and u.

    s is the probability of the gt's class, u the IoU of the predicted box with the gt, α `class_weight`, β `iou_power`.
    With α 0, the class logits are not read.

    Source: TOOD (Feng et al., ICCV 2021), α 1, β 6.
    """
    candidates = context.candidates
    iou = predicted_iou(outputs, candidates, context.anchors, context.targets)
    cost = -iou_power * iou.clamp(min=1e-6).log()
    if class_weight:
        labels = context.targets.labels[candidates.gt]
        logit = outputs.cls_logits[candidates.image, candidates.anchor, labels].float()
        cost = cost - class_weight * F.logsigmoid(logit)
    return torch.stack([cost, iou], dim=1)


@torch.no_grad()
def assign_tal(candidate_scores: Tensor, context: AssignmentContext, topk: int = TOPK) -> Tensor:
    """Assign the topk best aligned candidates of each gt whose box overlaps it at all.

    An anchor that several gts select goes to the gt that its predicted box overlaps most.
    Differs from OpenMMLab: only anchors within the gt can be among the topk, as in later implementations.

    Args:
        candidate_scores: [M, 2], of `alignment_metric`.
        context: Candidates, anchors and gts of the batch.
        topk: Positives per gt at most.

    Returns:
        gt_index [N, A].
    """
    cost, iou = candidate_scores.unbind(dim=1)
    is_selected = (rank_in_group(cost, context.candidates.gt, context.num_gts) < topk) & (iou > 0)
    return resolve_conflicts(is_selected, iou, context)
