"""TAL and SimOTA: dynamic assigners that, like PAA, rank anchors by what a network says of them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lad.assigners.candidates import Candidates, rank_by_cost
from lad.assigners.center_candidates import resolve_conflicts
from lad.assigners.cost import predicted_iou
from lad.geometry import Anchors
from lad.structures import HeadOutputs, Targets

ALIGNED = 13  # positives per gt at most
IOU_POWER = 6  # of the alignment s · u⁶


@torch.no_grad()
def alignment_metric(outputs: HeadOutputs, candidates: Candidates, anchors: Anchors, targets: Targets) -> Tensor:
    """Task alignment of each candidate: [M, 2], −log(s · u⁶) and u, with s the probability of the gt's class and u the
    IoU of the predicted box with the gt.

    Source: TOOD (Feng et al., ICCV 2021), α 1, β 6.
    """
    iou = predicted_iou(outputs, candidates, anchors, targets)
    labels = targets.labels[candidates.gt]
    logit = outputs.cls_logits[candidates.image, candidates.anchor, labels].float()
    return torch.stack([-F.logsigmoid(logit) - IOU_POWER * iou.clamp(min=1e-6).log(), iou], dim=1)


@torch.no_grad()
def assign_tal(candidates: Candidates, candidate_scores: Tensor, anchors: Anchors, targets: Targets) -> Tensor:
    """TAL: the 13 best aligned candidates of each gt, as far as their box overlaps it at all; an anchor that several
    gts want goes to the one that its box overlaps most.

    Differs from OpenMMLab: only anchors within the gt compete for the 13 places, as in later implementations.
    """
    cost, iou = candidate_scores.unbind(dim=1)
    is_wanted = (rank_by_cost(candidates, cost, len(targets.boxes)) < ALIGNED) & (iou > 0)
    return resolve_conflicts(candidates, is_wanted, iou, anchors, targets)
