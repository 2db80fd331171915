"""TAL and SimOTA: dynamic assigners that, like PAA, rank anchors by what a network says of them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lad.assignment.candidates import Candidates, group_sizes
from lad.assignment.pairs import is_within_and_near, settle
from lad.data.batch import Targets
from lad.geometry import Anchors, box_iou, decode_deltas
from lad.models.outputs import HeadOutputs

ALIGNED = 13  # positives per gt at most
IOU_POWER = 6  # of the alignment s · u⁶
MOST_TRANSPORTED = 10  # IoUs that are summed up to the number of positives
IOU_COST = 3.0
OUTSIDE_COST = 1e5


@torch.no_grad()
def align(outputs: HeadOutputs, candidates: Candidates, anchors: Anchors, targets: Targets) -> Tensor:
    """Task alignment of each candidate: [M, 2], −log(s · u⁶) and u, with s the probability of the gt's class and u the
    IoU of the predicted box with the gt.

    Source: TOOD (Feng et al., ICCV 2021), α 1, β 6.
    """
    iou = _predicted_iou(outputs, candidates, anchors, targets)
    labels = targets.labels[candidates.gt]
    logit = outputs.cls_logits[candidates.image, candidates.anchor, labels].float()
    return torch.stack([-F.logsigmoid(logit) - IOU_POWER * iou.clamp(min=1e-6).log(), iou], dim=1)


@torch.no_grad()
def assign_aligned(candidates: Candidates, evidence: Tensor, anchors: Anchors, targets: Targets) -> Tensor:
    """TAL: the 13 best aligned candidates of each gt, as far as their box overlaps it at all; an anchor that several
    gts want goes to the one that its box overlaps most.

    Differs from OpenMMLab: only anchors within the gt compete for the 13 places, as in later implementations.
    """
    cost, iou = evidence.unbind(dim=1)
    is_wanted = (_rank_by_cost(candidates, cost, len(targets.boxes)) < ALIGNED) & (iou > 0)
    return settle(candidates, is_wanted, iou, anchors, targets)


@torch.no_grad()
def transport_cost(outputs: HeadOutputs, candidates: Candidates, anchors: Anchors, targets: Targets) -> Tensor:
    """Transport cost of each candidate: [M, 2], binary cross-entropy of the class scores − 3 · log IoU + 1e5 where the
    centre does not lie both in the gt and near its centre; and the IoU of the predicted box with the gt.

    Source: SimOTA (YOLOX, Ge et al., 2021); the score is PAA's, sqrt(σ(cls) · σ(iou)).
    """
    iou = _predicted_iou(outputs, candidates, anchors, targets)
    probability = outputs.cls_logits[candidates.image, candidates.anchor].float().sigmoid()  # [M, C]
    if outputs.iou_logits is not None:
        quality = outputs.iou_logits[candidates.image, candidates.anchor].float().sigmoid()
        probability = (probability * quality[:, None]).sqrt()
    wanted = F.one_hot(targets.labels[candidates.gt], probability.shape[1]).float()
    cls_cost = F.binary_cross_entropy(probability, wanted, reduction="none").sum(dim=1)
    outside = ~is_within_and_near(candidates, anchors, targets)
    return torch.stack([cls_cost - IOU_COST * (iou + 1e-8).log() + OUTSIDE_COST * outside, iou], dim=1)


@torch.no_grad()
def assign_transported(candidates: Candidates, evidence: Tensor, anchors: Anchors, targets: Targets) -> Tensor:
    """SimOTA: each gt takes as many of its cheapest candidates as the ten highest IoUs among them add up to, at least
    one; an anchor that several gts take goes to the one it is cheapest for."""
    cost, iou = evidence.unbind(dim=1)
    num_gts = len(targets.boxes)
    is_high = _rank_by_cost(candidates, -iou, num_gts) < MOST_TRANSPORTED
    total = iou.new_zeros(num_gts).scatter_add(0, candidates.gt, iou * is_high)
    number = total.long().clamp(min=1)
    is_taken = _rank_by_cost(candidates, cost, num_gts) < number[candidates.gt]
    return settle(candidates, is_taken, -cost, anchors, targets)


def _predicted_iou(outputs: HeadOutputs, candidates: Candidates, anchors: Anchors, targets: Targets) -> Tensor:
    deltas = outputs.box_deltas[candidates.image, candidates.anchor].float()
    return box_iou(decode_deltas(anchors.boxes[candidates.anchor], deltas), targets.boxes[candidates.gt])


def _rank_by_cost(candidates: Candidates, cost: Tensor, num_gts: int) -> Tensor:
    """Place [M] of each candidate among those of its gt, the cheapest first; candidates are ordered by gt."""
    by_cost = cost.argsort(stable=True)
    order = by_cost[candidates.gt[by_cost].argsort(stable=True)]  # by gt, then cost
    size = group_sizes(candidates.gt, num_gts)
    start = (size.cumsum(0) - size)[candidates.gt[order]]
    place = torch.arange(len(order), device=order.device) - start
    return torch.empty_like(place).scatter(0, order, place)
