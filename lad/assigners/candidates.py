"""Which anchors may become positives of which gt: geometry alone, no network (step 1 of the PAA assignment)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lad.assigners.sparse_iou import sparse_iou_pairs
from lad.geometry import Anchors, box_iou
from lad.structures import Targets, send

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

    def to(self, device: torch.device | str) -> "Candidates":
        fields = (self.image, self.anchor, self.gt, self.level)
        return Candidates(*(send(field, device) for field in fields))


def match_candidates(anchors: Anchors, targets: Targets, min_iou: float = MIN_IOU) -> Candidates:
    """Every anchor goes to the gt of its image that it overlaps most, if the IoU is at least `min_iou`; then every gt
    claims the anchor(s) that overlap it most, whoever had them; a later gt wins a tie. Anchors in the padding take no
    part. To be called on the host, where gts come from: it would have to wait for a device's count of candidates.

    Source: PAA (Kim and Lee, ECCV 2020), with the thresholds and tie rules of OpenMMLab's MaxIoUAssigner.
    """
    num_images, num_anchors, num_gts = len(targets.image_hw), len(anchors.boxes), len(targets.boxes)
    gt, anchor = sparse_iou_pairs(anchors, targets, min_iou)  # [P], all pairs that can matter
    iou = box_iou(targets.boxes[gt], anchors.boxes[anchor])
    location = targets.image[gt] * num_anchors + anchor

    # The anchor's choice: its best gt, the first of equals.
    best_iou = iou.new_full((num_images * num_anchors,), -1).scatter_reduce(0, location, iou, "amax")
    is_best = (iou == best_iou[location]) & (iou >= min_iou)
    nobody = torch.full_like(best_iou, num_gts, dtype=torch.int64)
    chosen = nobody.scatter_reduce(0, location, torch.where(is_best, gt, num_gts), "amin")

    # The gt's claim. Differs from OpenMMLab: it needs IoU > 0; there, a gt that overlaps nothing claims every anchor.
    highest = iou.new_zeros(num_gts).scatter_reduce(0, gt, iou, "amax")
    claims = (iou == highest[gt]) & (iou > 0)
    claimed = torch.full_like(nobody, -1).scatter_reduce(0, location, torch.where(claims, gt, -1), "amax")

    gt_of = torch.where(claimed >= 0, claimed, torch.where(chosen < num_gts, chosen, -1))  # [N · A]
    candidate = (gt_of >= 0).nonzero().squeeze(1)
    image = torch.div(candidate, num_anchors, rounding_mode="floor")
    anchor = candidate - image * num_anchors
    return Candidates(image, anchor, gt_of[candidate], anchors.level[anchor])


def group_sizes(group: Tensor, num_groups: int) -> Tensor:
    """How often each of the numbers 0 … num_groups − 1 stands in `group` [M] int64. Unlike torch.bincount, it does not
    make the host wait for the device."""
    return torch.zeros(num_groups, dtype=group.dtype, device=group.device).scatter_add(0, group, torch.ones_like(group))


def rank_by_cost(candidates: Candidates, cost: Tensor, num_gts: int) -> Tensor:
    """Progress [M] of each candidate among those of its gt, the cheapest first; candidates are ordered by gt."""
    by_cost = cost.argsort(stable=True)
    order = by_cost[candidates.gt[by_cost].argsort(stable=True)]  # by gt, then cost
    size = group_sizes(candidates.gt, num_gts)
    start = (size.cumsum(0) - size)[candidates.gt[order]]
    place = torch.arange(len(order), device=order.device) - start
    return torch.empty_like(place).scatter(0, order, place)
