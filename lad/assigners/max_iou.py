"""Fixed IoU thresholds (RetinaNet): the assignment follows from the boxes alone."""

import torch
from torch import Tensor

from lad.assigners.candidates import Candidates, match_candidates
from lad.assigners.center_candidates import resolve_conflicts
from lad.geometry import Anchors
from lad.structures import IGNORED, Targets

POSITIVE_IOU, BACKGROUND_IOU = 0.5, 0.4


@torch.no_grad()
def assign_max_iou(candidates: Candidates, _evidence: Tensor, anchors: Anchors, targets: Targets) -> Tensor:
    """Fixed IoU: positive from .5 on, background below .4, ignored between; each gt's best anchors are positive anyway.

    Source: RetinaNet (Lin et al., ICCV 2017), as in OpenMMLab's MaxIoUAssigner.
    """
    positive = match_candidates(anchors, targets, POSITIVE_IOU)
    wanted = torch.ones_like(positive.gt, dtype=torch.bool)
    gt_index = resolve_conflicts(positive, wanted, wanted.float(), anchors, targets)
    between = match_candidates(anchors, targets, BACKGROUND_IOU)
    location = between.image * gt_index.shape[1] + between.anchor
    flat = gt_index.flatten()
    flat[location] = torch.where(flat[location] >= 0, flat[location], IGNORED)
    return flat.view_as(gt_index)
