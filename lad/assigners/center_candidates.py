"""Candidates by the position of an anchor's center, and the choice between gts that select the same anchor."""

import torch
from torch import Tensor

from lad.assigners.base import AssignmentContext
from lad.assigners.candidates import Candidates
from lad.assigners.indexing import scatter_selected
from lad.geometry import STRIDES, Anchors, inside_images
from lad.structures import BACKGROUND, IGNORED, Targets

TOPK_CLOSEST_PER_LEVEL = 9
CENTER_RADIUS = 2.5  # strides


def within_gts(anchors: Anchors, targets: Targets) -> Candidates:
    """Return the anchors whose center lies within a gt's box, once for every gt that contains it."""
    return _pairs(_is_within(anchors.center, targets.boxes[:, None]), anchors, targets)


def within_or_near_gts(anchors: Anchors, targets: Targets, radius: float = CENTER_RADIUS) -> Candidates:
    """Return the anchors whose center lies within a gt's box or, per axis, within `radius` strides of its center."""
    gt_boxes = targets.boxes[:, None]
    is_near = _is_near(anchors.center, gt_boxes, anchors.stride, radius)
    return _pairs(_is_within(anchors.center, gt_boxes) | is_near, anchors, targets)


def closest_to_gts(anchors: Anchors, targets: Targets, topk: int = TOPK_CLOSEST_PER_LEVEL) -> Candidates:
    """Return on each level the topk anchors whose centers are closest to a gt's center; the first ones of a tie."""
    gt_center = (targets.boxes[:, :2] + targets.boxes[:, 2:]) / 2
    distance = (anchors.center - gt_center[:, None]).square().sum(dim=-1)  # [T, A]
    distance = distance.masked_fill(~inside_images(anchors, targets.image_hw)[targets.image], torch.inf)
    is_close = torch.zeros_like(distance, dtype=torch.bool)
    for level in range(len(STRIDES)):
        on_level = (anchors.level == level).nonzero().squeeze(1)
        nearest = distance[:, on_level].argsort(dim=1, stable=True)[:, :topk]
        is_close.scatter_(1, on_level[nearest], True)
    return _pairs(is_close & distance.isfinite(), anchors, targets)


def is_within_and_near(context: AssignmentContext, radius: float = CENTER_RADIUS) -> Tensor:
    """Return which candidates [M] have their center within the gt's box and within `radius` strides of its center."""
    candidates = context.candidates
    center, box = context.anchors.center[candidates.anchor], context.targets.boxes[candidates.gt]
    return _is_within(center, box) & _is_near(center, box, context.anchors.stride[candidates.anchor], radius)


def resolve_conflicts(is_selected: Tensor, priority: Tensor, context: AssignmentContext) -> Tensor:
    """Assign each anchor to the gt of its selected candidate of highest priority, the first one of a tie.

    Args:
        is_selected: [M] bool, whether the candidate's gt selects it.
        priority: [M].
        context: Candidates, anchors and gts of the batch.

    Returns:
        gt_index [N, A]; anchors that no gt selects are background, those in the padding ignored.
    """
    candidates = context.candidates
    inside = inside_images(context.anchors, context.targets.image_hw)
    gt_index = torch.where(inside, BACKGROUND, IGNORED).flatten()
    location = candidates.image * inside.shape[1] + candidates.anchor
    order = priority.argsort(descending=True, stable=True)
    rank = torch.empty_like(order).scatter(0, order, torch.arange(len(order), 0, -1, device=order.device))
    rank = rank * is_selected
    highest = torch.zeros_like(gt_index).scatter_reduce(0, location, rank, "amax")
    wins = is_selected & (rank == highest[location])
    return scatter_selected(gt_index, location, candidates.gt, wins).view_as(inside)


def _is_within(center: Tensor, boxes: Tensor) -> Tensor:
    """Return whether points [..., 2] lie in boxes [..., 4]; shapes broadcast."""
    return ((center > boxes[..., :2]) & (center < boxes[..., 2:])).all(dim=-1)


def _is_near(center: Tensor, boxes: Tensor, stride: Tensor, radius: float) -> Tensor:
    """Return whether points [..., 2] lie, per axis, within `radius` strides [...] of the boxes' centers."""
    offset = (center - (boxes[..., :2] + boxes[..., 2:]) / 2).abs().amax(dim=-1)
    return offset < radius * stride


def _pairs(is_pair: Tensor, anchors: Anchors, targets: Targets) -> Candidates:
    """Return the pairs of is_pair [T, A] by gt, then anchor, without those in the padding."""
    gt, anchor = (is_pair & inside_images(anchors, targets.image_hw)[targets.image]).nonzero(as_tuple=True)
    return Candidates(targets.image[gt], anchor, gt, anchors.level[anchor])
