"""Detection losses of any assignment, and the focal terms that they share with the assignment's cost."""

from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from lad.geometry import Anchors, box_giou_loss, box_iou, decode_deltas
from lad.structures import IGNORED, HeadOutputs, Targets

ALPHA = 0.25  # of the focal loss, whose γ is 2
BOX_WEIGHT = 1.3
IOU_WEIGHT = 0.5

BoxWeighting = Literal["iou", "none"]


def background_focal(logits: Tensor) -> Tensor:
    """Compute the focal loss of logits whose target is 0, elementwise: (1 − α) p² · −log(1 − p)."""
    return (1 - ALPHA) * logits.sigmoid() ** 2 * F.softplus(logits)


def foreground_focal(logits: Tensor) -> Tensor:
    """Compute the focal loss of logits whose target is 1, elementwise: α (1 − p)² · −log p."""
    return ALPHA * (-logits).sigmoid() ** 2 * F.softplus(-logits)


def detection_loss(
    outputs: HeadOutputs, gt_index: Tensor, anchors: Anchors, targets: Targets, box_weighting: BoxWeighting
) -> dict[str, Tensor]:
    """Compute the detection losses of an assignment, in float32.

    With several devices n⁺ and Σ IoU are averaged over them. Without a positive, box and iou are zero but still reach
    every output, as distributed training needs.

    Args:
        outputs: Outputs of the network.
        gt_index: [N, A], the assignment.
        anchors: The A anchors of the batch.
        targets: The T gts of the batch.
        box_weighting: "iou" weights a positive's box loss by its IoU with the gt (plain PAA); "none" does not (LAD,
            SoLAD and CoLAD).

    Returns:
        Weighted scalars, ready to sum. "cls": focal loss over all anchors that are not ignored / max(n⁺, N). "box":
        1.3 · GIoU loss of the positives. "iou": ½ · binary cross-entropy of the positives' IoU logit against the IoU
        of their box with the gt; absent for a head without that branch.

    Source: PAA (Kim and Lee, ECCV 2020) and LAD (Nguyen et al., WACV 2022), reductions as in the published code.
    """
    cls_logits = outputs.cls_logits.float()
    is_positive = gt_index >= 0  # [N, A]
    gt_boxes, gt_labels = _gts_of(gt_index, targets)  # [N, A, 4], [N, A]
    num_positive = mean_over_ranks(is_positive.sum().float())

    # Every entry counts as background, then the positives' own class is corrected: no one-hot map is built.
    everywhere = (background_focal(cls_logits).sum(dim=-1) * (gt_index != IGNORED)).sum()
    own_logit = cls_logits.gather(2, gt_labels[..., None]).squeeze(2)
    correction = ((foreground_focal(own_logit) - background_focal(own_logit)) * is_positive).sum()
    losses = {"cls": (everywhere + correction) / num_positive.clamp(min=len(gt_index))}

    # Computed for all anchors, though only positives need it: selecting them would cause a device synchronization.
    deltas = outputs.box_deltas.float().masked_fill(~is_positive[..., None], 0)
    boxes = decode_deltas(anchors.boxes, deltas)  # [N, A, 4]
    iou = box_iou(boxes.detach(), gt_boxes) * is_positive
    box_loss = box_giou_loss(boxes, gt_boxes) * is_positive
    if box_weighting == "iou":
        box_loss, box_norm = box_loss * iou, mean_over_ranks(iou.sum())
    else:
        box_norm = num_positive
    losses["box"] = BOX_WEIGHT * box_loss.sum() / box_norm.clamp(min=1e-6)

    if outputs.iou_logits is not None:
        iou_loss = F.binary_cross_entropy_with_logits(outputs.iou_logits.float(), iou, reduction="none") * is_positive
        losses["iou"] = IOU_WEIGHT * iou_loss.sum() / num_positive.clamp(min=1e-6)
    return losses


def _gts_of(gt_index: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Return box [N, A, 4] and label [N, A] of each positive's gt; an empty box and label 0 for all other anchors."""
    row = torch.where(gt_index >= 0, gt_index, len(targets.boxes))  # the row behind the last is empty
    return F.pad(targets.boxes, (0, 0, 0, 1))[row], F.pad(targets.labels, (0, 1))[row]


def mean_over_ranks(value: Tensor) -> Tensor:
    """Average a value over all processes of distributed training."""
    if world_size() == 1:
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value / world_size()


def world_size() -> int:
    """Return the number of processes of distributed training, 1 outside it."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
