"""SimOTA (YOLOX): each gt takes a dynamic number of its candidates of lowest transport cost."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lad.assigners.candidates import Candidates, rank_by_cost
from lad.assigners.center_candidates import is_within_and_near, resolve_conflicts
from lad.assigners.cost import predicted_iou
from lad.geometry import Anchors
from lad.structures import HeadOutputs, Targets

MAX_DYNAMIC_POSITIVES = 10  # IoUs that are summed up to the number of positives

IOU_COST = 3.0

OUTSIDE_COST = 1e5


@torch.no_grad()
def simota_cost(outputs: HeadOutputs, candidates: Candidates, anchors: Anchors, targets: Targets) -> Tensor:
    """Transport cost of each candidate: [M, 2], binary cross-entropy of the class scores − 3 · log IoU + 1e5 where the
    center does not lie both in the gt and near its center; and the IoU of the predicted box with the gt.

    Source: SimOTA (YOLOX, Ge et al., 2021); the score is PAA's, sqrt(σ(cls) · σ(iou)).
    """
    iou = predicted_iou(outputs, candidates, anchors, targets)
    probability = outputs.cls_logits[candidates.image, candidates.anchor].float().sigmoid()  # [M, C]
    if outputs.iou_logits is not None:
        quality = outputs.iou_logits[candidates.image, candidates.anchor].float().sigmoid()
        probability = (probability * quality[:, None]).sqrt()
    wanted = F.one_hot(targets.labels[candidates.gt], probability.shape[1]).float()
    cls_cost = F.binary_cross_entropy(probability, wanted, reduction="none").sum(dim=1)
    outside = ~is_within_and_near(candidates, anchors, targets)
    return torch.stack([cls_cost - IOU_COST * (iou + 1e-8).log() + OUTSIDE_COST * outside, iou], dim=1)


@torch.no_grad()
def assign_simota(candidates: Candidates, candidate_scores: Tensor, anchors: Anchors, targets: Targets) -> Tensor:
    """SimOTA: each gt takes as many of its cheapest candidates as the ten highest IoUs among them add up to, at least
    one; an anchor that several gts take goes to the one it is cheapest for."""
    cost, iou = candidate_scores.unbind(dim=1)
    num_gts = len(targets.boxes)
    is_high = rank_by_cost(candidates, -iou, num_gts) < MAX_DYNAMIC_POSITIVES
    total = iou.new_zeros(num_gts).scatter_add(0, candidates.gt, iou * is_high)
    number = total.long().clamp(min=1)
    is_taken = rank_by_cost(candidates, cost, num_gts) < number[candidates.gt]
    return resolve_conflicts(candidates, is_taken, -cost, anchors, targets)
