"""Which anchors may become positives of which gt: geometry alone, no network (step 1 of the PAA assignment)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lad.data.batch import Targets
from lad.geometry import Anchors, box_iou, inside_images

MIN_IOU = 0.1


@dataclass(frozen=True)
class Candidates:
    """M candidate pairs of an anchor and a gt. Those of `match_candidates` are ordered by image, then anchor, and an
    anchor stands in one of them at most.

    image: [M], anchor: [M], gt: [M] (row of the batch's gts), level: [M] (0 for P3 … 4 for P7); all int64.
    """

    image: Tensor
    anchor: Tensor
    gt: Tensor
    level: Tensor


def match_candidates(anchors: Anchors, targets: Targets, min_iou: float = MIN_IOU) -> Candidates:
    """Every anchor goes to the gt of its image that it overlaps most, if the IoU is at least `min_iou`; then every gt
    claims the anchor(s) that overlap it most, whoever had them; a later gt wins a tie. Anchors in the padding take no
    part.

    Source: PAA (Kim and Lee, ECCV 2020), with the thresholds and tie rules of OpenMMLab's MaxIoUAssigner.
    """
    num_images, num_anchors = targets.image_hw.shape[0], anchors.boxes.shape[0]
    num_gts = targets.boxes.shape[0]
    inside = inside_images(anchors, targets.image_hw)  # [N, A]
    iou = box_iou(targets.boxes[:, None], anchors.boxes)  # [T, A]
    iou = iou.masked_fill(~inside[targets.image], -1)
    row = torch.arange(num_gts, device=iou.device)[:, None]
    image = targets.image[:, None].expand(-1, num_anchors)

    # The anchor's choice: its best gt, the first of equals. Rows of other images do not meet: scatter goes by image.
    best_iou = iou.new_full((num_images, num_anchors), -1).scatter_reduce(0, image, iou, "amax")
    is_best = (iou == best_iou[targets.image]) & (iou >= min_iou)
    nobody = torch.full((num_images, num_anchors), num_gts, device=iou.device)
    chosen = nobody.scatter_reduce(0, image, torch.where(is_best, row, num_gts), "amin")

    # The gt's claim. Differs from OpenMMLab: it needs IoU > 0; there, a gt that overlaps nothing claims every anchor.
    claims = (iou == iou.amax(dim=1, keepdim=True)) & (iou > 0)
    claimed = torch.full_like(nobody, -1).scatter_reduce(0, image, torch.where(claims, row, -1), "amax")

    gt_of = torch.where(claimed >= 0, claimed, torch.where(chosen < num_gts, chosen, -1))  # [N, A]
    image_index, anchor = (gt_of >= 0).nonzero(as_tuple=True)
    return Candidates(image_index, anchor, gt_of[image_index, anchor], anchors.level[anchor])
