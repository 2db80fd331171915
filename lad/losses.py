"""The detection losses of any assignment, and the focal terms that the assignment's cost shares with them."""

from typing import Literal

import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from lad.data.batch import IGNORED, Targets
from lad.geometry import Anchors, box_giou_loss, box_iou, decode_deltas
from lad.models.outputs import HeadOutputs

ALPHA = 0.25  # of the focal loss, whose γ is 2
BOX_WEIGHT = 1.3
IOU_WEIGHT = 0.5

BoxWeighting = Literal["iou", "none"]


def background_focal(logits: Tensor) -> Tensor:
    """Focal loss of logits whose target is 0, elementwise: (1 − α) p² · −log(1 − p)."""
    return (1 - ALPHA) * logits.sigmoid() ** 2 * F.softplus(logits)


def foreground_focal(logits: Tensor) -> Tensor:
    """Focal loss of logits whose target is 1, elementwise: α (1 − p)² · −log p."""
    return ALPHA * (-logits).sigmoid() ** 2 * F.softplus(-logits)


def detection_loss(
    outputs: HeadOutputs, gt_index: Tensor, anchors: Anchors, targets: Targets, box_weighting: BoxWeighting
) -> dict[str, Tensor]:
    """Losses {"cls", "box", "iou"} of an assignment gt_index [N, A]; scalars, weighted, ready to sum.

    cls: focal loss over all anchors that are not ignored / max(n⁺, N). box: 1.3 · GIoU loss of the positives,
    weighted by their IoU with the gt ("iou": plain PAA) or not ("none": LAD, SoLAD and CoLAD). iou: ½ · binary
    cross-entropy of the positives' iou logit against that IoU; absent when the head has no such branch. Computed in
    float32. With several devices n⁺ and Σ IoU are averaged over them. Without a positive, box and iou are zero but
    still reach every output, as distributed training needs.
    Source: PAA section 3.3; LAD section 3.1.
    """
    cls_logits, box_deltas = outputs.cls_logits.float(), outputs.box_deltas.float()
    image, anchor = (gt_index >= 0).nonzero(as_tuple=True)
    gt = gt_index[image, anchor]
    gt_boxes, gt_labels = targets.boxes[gt], targets.labels[gt]
    num_positive = _mean_over_ranks(cls_logits.new_tensor(float(len(gt))))

    # Every entry as background, then the positives' own class put right: no one-hot map is made.
    everywhere = (background_focal(cls_logits).sum(dim=-1) * (gt_index != IGNORED)).sum()
    positive_logits = cls_logits[image, anchor, gt_labels]
    correction = (foreground_focal(positive_logits) - background_focal(positive_logits)).sum()
    losses = {"cls": (everywhere + correction) / num_positive.clamp(min=len(gt_index))}

    boxes = decode_deltas(anchors.boxes[anchor], box_deltas[image, anchor])
    iou = box_iou(boxes.detach(), gt_boxes)
    box_loss = box_giou_loss(boxes, gt_boxes)
    if box_weighting == "iou":
        box_loss, box_norm = box_loss * iou, _mean_over_ranks(iou.sum())
    else:
        box_norm = num_positive
    losses["box"] = BOX_WEIGHT * box_loss.sum() / box_norm.clamp(min=1e-6) + 0 * box_deltas.sum()

    if outputs.iou_logits is not None:
        iou_logits = outputs.iou_logits.float()
        iou_loss = F.binary_cross_entropy_with_logits(iou_logits[image, anchor], iou, reduction="sum")
        losses["iou"] = IOU_WEIGHT * iou_loss / num_positive.clamp(min=1e-6) + 0 * iou_logits.sum()
    return losses


def _mean_over_ranks(value: Tensor) -> Tensor:
    if not (dist.is_available() and dist.is_initialized()):
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value / dist.get_world_size()
