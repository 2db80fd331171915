"""Assigners that ask no network: what is positive follows from the boxes alone. No teacher can change it."""

import torch
from torch import Tensor

from lad.assigners.candidates import Candidates, group_sizes
from lad.assigners.center_candidates import resolve_conflicts
from lad.geometry import Anchors, box_iou
from lad.structures import Targets


@torch.no_grad()
def assign_atss(candidates: Candidates, _evidence: Tensor, anchors: Anchors, targets: Targets) -> Tensor:
    """ATSS: of the closest anchors of a gt those are positive whose IoU with it reaches the mean plus the standard
    deviation of all of them and whose center lies in it; an anchor of several gts goes to the one of highest IoU.

    Source: ATSS (Zhang et al., CVPR 2020), as in OpenMMLab's ATSSAssigner.
    """
    iou = box_iou(targets.boxes[candidates.gt], anchors.boxes[candidates.anchor])
    zeros, size = iou.new_zeros(len(targets.boxes)), group_sizes(candidates.gt, len(targets.boxes))
    mean = zeros.scatter_add(0, candidates.gt, iou) / size.clamp(min=1)
    squares = zeros.scatter_add(0, candidates.gt, (iou - mean[candidates.gt]) ** 2)
    threshold = mean + (squares / (size - 1).clamp(min=1)).sqrt()
    center, box = anchors.center[candidates.anchor], targets.boxes[candidates.gt]
    is_within = torch.minimum(center - box[:, :2], box[:, 2:] - center).amin(dim=1) > 0.01
    is_positive = (iou >= threshold[candidates.gt]) & is_within
    return resolve_conflicts(candidates, is_positive, iou, anchors, targets)
