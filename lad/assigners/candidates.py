"""Candidates: which anchors may become positives of which gt, from geometry alone (step 1 of the PAA assignment)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lad.assigners.sparse_iou import sparse_iou_pairs
from lad.geometry import Anchors, box_iou
from lad.structures import Targets, to_device

MIN_IOU = 0.1


@dataclass(frozen=True)
class Candidates:
    """M candidate pairs of an anchor and a gt.

    Those of `match_candidates` are ordered by image, then anchor, and contain an anchor at most once.

    Attributes:
        image: [M] int64, row of the batch's images.
        anchor: [M] int64, row of the batch's anchors.
        gt: [M] int64, row of the batch's gts.
        level: [M] int64, 0 for P3 … 4 for P7.
    """

    image: Tensor
    anchor: Tensor
    gt: Tensor
    level: Tensor

    def to(self, device: torch.device | str) -> "Candidates":
        """Return the candidates on a device."""
        fields = (self.image, self.anchor, self.gt, self.level)
        return Candidates(*(to_device(field, device) for field in fields))


def match_candidates(
    anchors: Anchors,
    targets: Targets,
    min_iou: float = MIN_IOU,
    iou_pairs: Callable[[Anchors, Targets, float], tuple[Tensor, Tensor]] = sparse_iou_pairs,
) -> Candidates:
    """Match every anchor to the gt of its image with the highest IoU, then every gt to its own best anchors.

    The anchor's match needs an IoU of at least `min_iou`. Then every gt claims the anchors of its highest IoU, even
    those matched to another gt; if several gts claim an anchor, the last one gets it. Anchors in the padding are
    excluded. Call it on the host: on a device, reading the number of candidates would cause a synchronization.

    Args:
        anchors: The A anchors of the batch.
        targets: The T gts of the batch.
        min_iou: Lowest IoU of an anchor's match.
        iou_pairs: Returns the pairs that can be matched; `lad.assigners.sparse_iou.dense_iou_pairs` is the reference.

    Source: PAA (Kim and Lee, ECCV 2020), with the thresholds and tie rules of OpenMMLab's MaxIoUAssigner.
    """
    num_images, num_anchors, num_gts = len(targets.image_hw), len(anchors.boxes), len(targets.boxes)
    gt, anchor = iou_pairs(anchors, targets, min_iou)  # [P], all pairs that can be matched
    iou = box_iou(targets.boxes[gt], anchors.boxes[anchor])
    location = targets.image[gt] * num_anchors + anchor

    # The anchor's match: its best gt, the first one of a tie.
    best_iou = iou.new_full((num_images * num_anchors,), -1).scatter_reduce(0, location, iou, "amax")
    is_best = (iou == best_iou[location]) & (iou >= min_iou)
    unmatched = torch.full_like(best_iou, num_gts, dtype=torch.int64)
    matched = unmatched.scatter_reduce(0, location, torch.where(is_best, gt, num_gts), "amin")

    # The gt's claim. Differs from OpenMMLab: it needs IoU > 0; there, a gt that overlaps nothing claims every anchor.
    highest = iou.new_zeros(num_gts).scatter_reduce(0, gt, iou, "amax")
    claims = (iou == highest[gt]) & (iou > 0)
    claimed = torch.full_like(unmatched, -1).scatter_reduce(0, location, torch.where(claims, gt, -1), "amax")

    gt_of = torch.where(claimed >= 0, claimed, torch.where(matched < num_gts, matched, -1))  # [N · A]
    candidate = (gt_of >= 0).nonzero().squeeze(1)
    image = torch.div(candidate, num_anchors, rounding_mode="floor")
    anchor = candidate - image * num_anchors
    return Candidates(image, anchor, gt_of[candidate], anchors.level[anchor])
