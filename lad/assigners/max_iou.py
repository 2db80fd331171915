"""Fixed IoU thresholds (RetinaNet): the assignment follows from the boxes alone."""

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from lad.assigners.base import Assigner, AssignmentContext, register_assigner
from lad.assigners.candidates import Candidates, match_candidates
from lad.assigners.center_candidates import resolve_conflicts
from lad.assigners.cost import anchor_cost
from lad.geometry import Anchors
from lad.structures import IGNORED, HeadOutputs, Targets
from lad.utils.options import OPTIONS

POSITIVE_IOU, BACKGROUND_IOU = 0.5, 0.4


@register_assigner("fixed_iou")
@dataclass(frozen=True, config=OPTIONS)
class MaxIoU(Assigner):
    """Assignment by the IoU of anchors and gts.

    Attributes:
        positive_iou: IoU from which an anchor is positive.
        background_iou: IoU below which an anchor is background; between the two it is ignored.

    Source: RetinaNet (Lin et al., ICCV 2017), as in OpenMMLab's MaxIoUAssigner.
    """

    title: ClassVar[str] = "fixed IoU"
    uses_predictions: ClassVar[bool] = False
    positive_iou: float = Field(default=POSITIVE_IOU, gt=0, lt=1)
    background_iou: float = Field(default=BACKGROUND_IOU, gt=0, lt=1)

    def __post_init__(self) -> None:
        if self.background_iou > self.positive_iou:
            raise ValueError(
                f"background_iou = {self.background_iou} must not be more than positive_iou = {self.positive_iou}"
            )

    def find_candidates(self, anchors: Anchors, targets: Targets) -> Candidates:
        """Return PAA's candidates, which only the statistics use."""
        return match_candidates(anchors, targets)

    def score(self, outputs: HeadOutputs, context: AssignmentContext) -> Tensor:
        """Return PAA's costs of the candidates, [M, 1], which only the statistics use."""
        return anchor_cost(outputs, context.candidates, context.anchors, context.targets)[:, None]

    def assign(self, candidate_scores: Tensor, context: AssignmentContext) -> Tensor:
        """Return the assignment gt_index [N, A] of `assign_max_iou`; the scores are not used."""
        return assign_max_iou(context.anchors, context.targets, self.positive_iou, self.background_iou)


@torch.no_grad()
def assign_max_iou(
    anchors: Anchors,
    targets: Targets,
    positive_iou: float = POSITIVE_IOU,
    background_iou: float = BACKGROUND_IOU,
) -> Tensor:
    """Assign anchors by fixed IoU thresholds; each gt's best anchors are positive whatever their IoU.

    Returns:
        gt_index [N, A]; anchors between the two thresholds are ignored.

    Source: RetinaNet (Lin et al., ICCV 2017), as in OpenMMLab's MaxIoUAssigner.
    """
    positive = match_candidates(anchors, targets, positive_iou)
    everything = torch.ones_like(positive.gt, dtype=torch.bool)
    gt_index = resolve_conflicts(everything, everything.float(), AssignmentContext(positive, anchors, targets))
    above_background = match_candidates(anchors, targets, background_iou)
    location = above_background.image * gt_index.shape[1] + above_background.anchor
    flat = gt_index.flatten()
    flat[location] = torch.where(flat[location] >= 0, flat[location], IGNORED)
    return flat.view_as(gt_index)
