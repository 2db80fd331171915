"""The cost of a candidate under a network: classification loss plus box loss (step 2 of the PAA assignment)."""

import torch
from torch import Tensor

from lad.assigners.candidates import Candidates
from lad.geometry import Anchors, box_giou_loss, box_iou, decode_deltas
from lad.losses import BOX_WEIGHT, background_focal, foreground_focal
from lad.structures import HeadOutputs, Targets


@torch.no_grad()
def anchor_cost(
    outputs: HeadOutputs,
    candidates: Candidates,
    anchors: Anchors,
    targets: Targets,
    box_weight: float = BOX_WEIGHT,
    class_weight: float = 1.0,
) -> Tensor:
    """Return the cost [M] of each candidate: focal loss over all classes + `box_weight` · GIoU loss of the decoded box.

    With `class_weight` 0, the class logits are not read: the network may know other classes than the gts'.

    Source: PAA (Kim and Lee, ECCV 2020), with OpenMMLab's weight on the box term.
    """
    cls_cost, box_cost = cost_terms(outputs, candidates, anchors, targets, box_weight, class_weight)
    return cls_cost + box_cost


@torch.no_grad()
def cost_terms(
    outputs: HeadOutputs,
    candidates: Candidates,
    anchors: Anchors,
    targets: Targets,
    box_weight: float = BOX_WEIGHT,
    class_weight: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Return the two weighted terms of `anchor_cost`, [M] each: the class term and the box term."""
    boxes = targets.boxes[candidates.gt]  # [M, 4]
    deltas = outputs.box_deltas[candidates.image, candidates.anchor].float()  # [M, 4]
    box_cost = box_weight * box_giou_loss(decode_deltas(anchors.boxes[candidates.anchor], deltas), boxes)
    if class_weight == 0:
        return torch.zeros_like(box_cost), box_cost

    labels = targets.labels[candidates.gt]  # [M]
    logits = outputs.cls_logits[candidates.image, candidates.anchor].float()  # [M, C]
    gt_logit = logits.gather(1, labels[:, None]).squeeze(1)
    cls_cost = background_focal(logits).sum(dim=1) - background_focal(gt_logit) + foreground_focal(gt_logit)
    return class_weight * cls_cost, box_cost


def predicted_iou(outputs: HeadOutputs, candidates: Candidates, anchors: Anchors, targets: Targets) -> Tensor:
    """Return the IoU [M] of each candidate's predicted box with its gt."""
    deltas = outputs.box_deltas[candidates.image, candidates.anchor].float()
    return box_iou(decode_deltas(anchors.boxes[candidates.anchor], deltas), targets.boxes[candidates.gt])
