"""SimOTA (YOLOX): each gt takes a dynamic number of its candidates of lowest transport cost."""

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from lad.assigners.base import Assigner, AssignmentContext, register_assigner
from lad.assigners.candidates import Candidates
from lad.assigners.center_candidates import CENTER_RADIUS, is_within_and_near, resolve_conflicts, within_or_near_gts
from lad.assigners.cost import predicted_iou
from lad.assigners.indexing import rank_in_group
from lad.geometry import Anchors
from lad.structures import HeadOutputs, Targets
from lad.utils.options import OPTIONS

TOPK_IOUS = 10  # highest IoUs whose sum is a gt's number of positives
IOU_WEIGHT = 3.0
OUTSIDE_COST = 1e5


@register_assigner("simota")
@dataclass(frozen=True, config=OPTIONS)
class SimOTA(Assigner):
    """Simplified optimal transport assignment.

    Attributes:
        topk_ious: Highest IoUs of a gt whose sum is its number of positives.
        iou_weight: Weight of −log IoU in the transport cost.
        center_radius: Distance from a gt's center, in strides and per axis, within which an anchor is near it.
        class_weight: Weight of the class term in the transport cost; 0 scores candidates by their boxes alone.

    Source: YOLOX (Ge et al., 2021).
    """

    title: ClassVar[str] = "SimOTA"
    topk_ious: int = Field(default=TOPK_IOUS, ge=1, le=1000)
    iou_weight: float = Field(default=IOU_WEIGHT, ge=0, le=100)
    center_radius: float = Field(default=CENTER_RADIUS, gt=0, le=100)
    class_weight: float = Field(default=1.0, ge=0, le=100)

    def find_candidates(self, anchors: Anchors, targets: Targets) -> Candidates:
        """Return the anchors whose centers lie within a gt or near its center."""
        return within_or_near_gts(anchors, targets, self.center_radius)

    def score(self, outputs: HeadOutputs, context: AssignmentContext) -> Tensor:
        """Return `simota_cost`, [M, 2]."""
        return simota_cost(outputs, context, self.iou_weight, self.center_radius, self.class_weight)

    def assign(self, candidate_scores: Tensor, context: AssignmentContext) -> Tensor:
        """Return the assignment gt_index [N, A] of `assign_simota`."""
        return assign_simota(candidate_scores, context, self.topk_ious)


@torch.no_grad()
def simota_cost(
    outputs: HeadOutputs,
    context: AssignmentContext,
    iou_weight: float = IOU_WEIGHT,
    center_radius: float = CENTER_RADIUS,
    class_weight: float = 1.0,
) -> Tensor:
    """Return the transport cost of each candidate and the IoU of its predicted box with the gt, [M, 2].

    The cost is class_weight · the binary cross-entropy of the class scores − iou_weight · log IoU, + 1e5 where the
    center does not lie both within the gt and near its center. With class_weight 0, the class logits are not read.

    Source: SimOTA (YOLOX, Ge et al., 2021); the score is PAA's, sqrt(σ(cls) · σ(iou)).
    """
    candidates, targets = context.candidates, context.targets
    iou = predicted_iou(outputs, candidates, context.anchors, targets)
    outside = ~is_within_and_near(context, center_radius)
    cost = OUTSIDE_COST * outside - iou_weight * (iou + 1e-8).log()
    if class_weight:
        cost = cost + class_weight * _class_cost(outputs, candidates, targets)
    return torch.stack([cost, iou], dim=1)


def _class_cost(outputs: HeadOutputs, candidates: Candidates, targets: Targets) -> Tensor:
    """Return the binary cross-entropy [M] of each candidate's class scores, summed over the classes."""
    probability = outputs.cls_logits[candidates.image, candidates.anchor].float().sigmoid()  # [M, C]
    if outputs.iou_logits is not None:
        quality = outputs.iou_logits[candidates.image, candidates.anchor].float().sigmoid()
        probability = (probability * quality[:, None]).sqrt()
    one_hot = F.one_hot(targets.labels[candidates.gt], probability.shape[1]).float()
    return F.binary_cross_entropy(probability, one_hot, reduction="none").sum(dim=1)


@torch.no_grad()
def assign_simota(candidate_scores: Tensor, context: AssignmentContext, topk_ious: int = TOPK_IOUS) -> Tensor:
    """Assign to each gt its k candidates of lowest cost, k the sum of its highest IoUs, rounded down, at least 1.

    An anchor that several gts select goes to the gt with the lowest cost.

    Args:
        candidate_scores: [M, 2], of `simota_cost`.
        context: Candidates, anchors and gts of the batch.
        topk_ious: Number of a gt's highest IoUs that are summed.

    Returns:
        gt_index [N, A].
    """
    cost, iou = candidate_scores.unbind(dim=1)
    gt, num_gts = context.candidates.gt, context.num_gts
    is_high = rank_in_group(-iou, gt, num_gts) < topk_ious
    number = iou.new_zeros(num_gts).scatter_add(0, gt, iou * is_high).long().clamp(min=1)
    is_selected = rank_in_group(cost, gt, num_gts) < number[gt]
    return resolve_conflicts(is_selected, -cost, context)
