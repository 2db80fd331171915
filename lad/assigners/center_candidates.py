"""Pairs of an anchor and a gt from geometry, and how an anchor that several gts want goes to one of them."""

import torch
from torch import Tensor

from lad.assigners.candidates import Candidates
from lad.geometry import STRIDES, Anchors, inside_images
from lad.structures import BACKGROUND, IGNORED, Targets

TOPK_CLOSEST_PER_LEVEL = 9
CENTER_RADIUS = 2.5  # strides


def within_gts(anchors: Anchors, targets: Targets) -> Candidates:
    """Anchors whose center lies in the gt's box. An anchor stands in as many pairs as gts contain it."""
    return _pairs(_is_within(anchors.center, targets.boxes[:, None]), anchors, targets)


def within_or_near_gts(anchors: Anchors, targets: Targets) -> Candidates:
    """Anchors whose center lies in the gt's box or, per axis, within 2.5 strides of its center."""
    gt_boxes = targets.boxes[:, None]
    is_near = _is_near(anchors.center, gt_boxes, anchors.stride)
    return _pairs(_is_within(anchors.center, gt_boxes) | is_near, anchors, targets)


def closest_to_gts(anchors: Anchors, targets: Targets) -> Candidates:
    """On each level the 9 anchors whose centers are closest to the gt's, the first of equals."""
    gt_center = (targets.boxes[:, :2] + targets.boxes[:, 2:]) / 2
    distance = (anchors.center - gt_center[:, None]).square().sum(dim=-1)  # [T, A]
    distance = distance.masked_fill(~inside_images(anchors, targets.image_hw)[targets.image], torch.inf)
    is_close = torch.zeros_like(distance, dtype=torch.bool)
    for level in range(len(STRIDES)):
        on_level = (anchors.level == level).nonzero().squeeze(1)
        nearest = distance[:, on_level].argsort(dim=1, stable=True)[:, :TOPK_CLOSEST_PER_LEVEL]
        is_close.scatter_(1, on_level[nearest], True)
    return _pairs(is_close & distance.isfinite(), anchors, targets)


def is_within_and_near(candidates: Candidates, anchors: Anchors, targets: Targets) -> Tensor:
    """Which pairs [M] have the anchor's center both in the gt's box and within 2.5 strides of its center."""
    center, box = anchors.center[candidates.anchor], targets.boxes[candidates.gt]
    return _is_within(center, box) & _is_near(center, box, anchors.stride[candidates.anchor])


def resolve_conflicts(
    candidates: Candidates, is_wanted: Tensor, priority: Tensor, anchors: Anchors, targets: Targets
) -> Tensor:
    """The assignment gt_index [N, A]: an anchor of several wanted pairs goes to that of the highest priority, the first
    of equals; the rest is background, padding ignored. is_wanted, priority: [M]."""
    inside = inside_images(anchors, targets.image_hw)
    gt_index = torch.where(inside, BACKGROUND, IGNORED).flatten()
    location = candidates.image * inside.shape[1] + candidates.anchor
    order = priority.argsort(descending=True, stable=True)
    rank = torch.empty_like(order).scatter(0, order, torch.arange(len(order), 0, -1, device=order.device))
    rank = rank * is_wanted
    highest = torch.zeros_like(gt_index).scatter_reduce(0, location, rank, "amax")
    wins = is_wanted & (rank == highest[location])
    # Losers write to one place too many, so that nothing waits for the host.
    padded = torch.cat([gt_index, gt_index.new_zeros(1)])
    return padded.scatter(0, torch.where(wins, location, len(gt_index)), candidates.gt)[:-1].view_as(inside)


def _is_within(center: Tensor, boxes: Tensor) -> Tensor:
    """Whether points [..., 2] lie in boxes [..., 4]; shapes broadcast."""
    return ((center > boxes[..., :2]) & (center < boxes[..., 2:])).all(dim=-1)


def _is_near(center: Tensor, boxes: Tensor, stride: Tensor) -> Tensor:
    """Whether points [..., 2] lie, per axis, within 2.5 strides [...] of the boxes' centers."""
    offset = (center - (boxes[..., :2] + boxes[..., 2:]) / 2).abs().amax(dim=-1)
    return offset < CENTER_RADIUS * stride


def _pairs(is_pair: Tensor, anchors: Anchors, targets: Targets) -> Candidates:
    """is_pair [T, A] → pairs by gt, then anchor; the padding takes no part."""
    gt, anchor = (is_pair & inside_images(anchors, targets.image_hw)[targets.image]).nonzero(as_tuple=True)
    return Candidates(targets.image[gt], anchor, gt, anchors.level[anchor])
