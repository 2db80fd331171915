"""ATSS: an adaptive IoU threshold for each gt; the assignment follows from the boxes alone."""

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from lad.assigners.base import Assigner, AssignmentContext, register_assigner
from lad.assigners.candidates import Candidates
from lad.assigners.center_candidates import TOPK_CLOSEST_PER_LEVEL, closest_to_gts, resolve_conflicts
from lad.assigners.cost import anchor_cost
from lad.assigners.indexing import group_sizes
from lad.geometry import Anchors, box_iou
from lad.structures import HeadOutputs, Targets
from lad.utils.options import OPTIONS


@register_assigner("atss")
@dataclass(frozen=True, config=OPTIONS)
class ATSS(Assigner):
    """Adaptive training sample selection.

    Attributes:
        topk: Anchors closest to a gt that are its candidates on each level.

    Source: ATSS (Zhang et al., CVPR 2020), as in OpenMMLab's ATSSAssigner.
    """

    title: ClassVar[str] = "ATSS"
    uses_predictions: ClassVar[bool] = False
    topk: int = Field(default=TOPK_CLOSEST_PER_LEVEL, ge=1, le=1000)

    def find_candidates(self, anchors: Anchors, targets: Targets) -> Candidates:
        """Return the anchors closest to each gt."""
        return closest_to_gts(anchors, targets, self.topk)

    def score(self, outputs: HeadOutputs, context: AssignmentContext) -> Tensor:
        """Return PAA's costs of the candidates, [M, 1], which only the statistics use."""
        return anchor_cost(outputs, context.candidates, context.anchors, context.targets)[:, None]

    def assign(self, candidate_scores: Tensor, context: AssignmentContext) -> Tensor:
        """Return the assignment gt_index [N, A] of `assign_atss`; the scores are not used."""
        return assign_atss(context)


@torch.no_grad()
def assign_atss(context: AssignmentContext) -> Tensor:
    """Assign to each gt its candidates whose IoU is at least the mean + standard deviation of their IoUs.

    The anchor's center must lie within the gt; an anchor that several gts select goes to the one of highest IoU.

    Returns:
        gt_index [N, A].

    Source: ATSS (Zhang et al., CVPR 2020), as in OpenMMLab's ATSSAssigner.
    """
    candidates, anchors, targets = context.candidates, context.anchors, context.targets
    iou = box_iou(targets.boxes[candidates.gt], anchors.boxes[candidates.anchor])
    zeros, size = iou.new_zeros(context.num_gts), group_sizes(candidates.gt, context.num_gts)
    mean = zeros.scatter_add(0, candidates.gt, iou) / size.clamp(min=1)
    squares = zeros.scatter_add(0, candidates.gt, (iou - mean[candidates.gt]) ** 2)
    threshold = mean + (squares / (size - 1).clamp(min=1)).sqrt()
    center, box = anchors.center[candidates.anchor], targets.boxes[candidates.gt]
    is_within = torch.minimum(center - box[:, :2], box[:, 2:] - center).amin(dim=1) > 0.01
    is_positive = (iou >= threshold[candidates.gt]) & is_within
    return resolve_conflicts(is_positive, iou, context)
