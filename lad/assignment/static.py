"""Assigners that ask no network: what is positive follows from the boxes alone. No teacher can change it."""

import torch
from torch import Tensor

from lad.assignment.candidates import Candidates, group_sizes, match_candidates
from lad.assignment.pairs import settle
from lad.data.batch import IGNORED, Targets
from lad.geometry import Anchors, box_iou

POSITIVE_IOU, BACKGROUND_IOU = 0.5, 0.4


@torch.no_grad()
def assign_adaptively(candidates: Candidates, _evidence: Tensor, anchors: Anchors, targets: Targets) -> Tensor:
    """ATSS: of the closest anchors of a gt those are positive whose IoU with it reaches the mean plus the standard
    deviation of all of them and whose centre lies in it; an anchor of several gts goes to the one of highest IoU.

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
    return settle(candidates, is_positive, iou, anchors, targets)


@torch.no_grad()
def assign_by_iou(candidates: Candidates, _evidence: Tensor, anchors: Anchors, targets: Targets) -> Tensor:
    """Fixed IoU: positive from .5 on, background below .4, ignored between; each gt's best anchors are positive anyway.

    Source: RetinaNet (Lin et al., ICCV 2017), as in OpenMMLab's MaxIoUAssigner.
    """
    positive = match_candidates(anchors, targets, POSITIVE_IOU)
    wanted = torch.ones_like(positive.gt, dtype=torch.bool)
    gt_index = settle(positive, wanted, wanted.float(), anchors, targets)
    between = match_candidates(anchors, targets, BACKGROUND_IOU)
    location = between.image * gt_index.shape[1] + between.anchor
    flat = gt_index.flatten()
    flat[location] = torch.where(flat[location] >= 0, flat[location], IGNORED)
    return flat.view_as(gt_index)
