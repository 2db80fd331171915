"""Pairs of a gt and an anchor that can be matched, without computing the IoU of all pairs.

Anchors are squares on regular grids, so the few that overlap a gt enough follow from its coordinates.
"""

import torch
from torch import Tensor

from lad.assigners.indexing import index_in_group
from lad.geometry import ANCHOR_SCALE, STRIDES, Anchors, box_iou, inside_images, valid_grid
from lad.structures import Targets

SLACK = 0.01  # grid steps by which a range is widened, far beyond rounding: an extra anchor is harmless
EQUAL = 1 - 1e-5  # overlaps closer than this might round to equal IoUs


def dense_iou_pairs(anchors: Anchors, targets: Targets, min_iou: float) -> tuple[Tensor, Tensor]:
    """Return the pairs (gt [P], anchor [P]) with IoU ≥ `min_iou` or the gt's highest IoU, from the IoU of all pairs.

    The reference for `sparse_iou_pairs`, which returns these pairs and a few more.
    """
    iou = box_iou(targets.boxes[:, None], anchors.boxes)  # [T, A]
    iou = iou * inside_images(anchors, targets.image_hw)[targets.image]
    is_best = (iou > 0) & (iou == iou.amax(dim=1, keepdim=True))
    gt, anchor = ((iou >= min_iou) | is_best).nonzero(as_tuple=True)
    return gt, anchor


def sparse_iou_pairs(anchors: Anchors, targets: Targets, min_iou: float) -> tuple[Tensor, Tensor]:
    """Return pairs (gt [P], anchor [P]), ordered by gt, that contain all of `dense_iou_pairs`.

    Along an axis, the overlap of a gt and an anchor is a trapezoid in the anchor's position, so the anchors that
    overlap the gt by at least some length are a range of columns (or rows). On a level, the IoU is at least t where the
    product of the two overlaps is at least t / (1 + t) · (area of gt + area of anchor). The overlap along one axis must
    therefore be at least this product divided by the largest overlap along the other axis. So the anchors of each gt
    and level lie in a rectangle of the grid: a few hundred anchors, not all.

    Args:
        anchors: The A anchors of the batch; those in the padding are excluded.
        targets: The T gts of the batch.
        min_iou: IoU > 0 from which a pair is needed; a gt's best anchors are needed at any IoU > 0.
    """
    low, high = targets.boxes[:, None, :2].double(), targets.boxes[:, None, 2:].double()  # [T, 1, 2] (x, y)
    stride = torch.tensor(STRIDES, dtype=torch.float64, device=low.device)[:, None]  # [L, 1]
    grid_wh = valid_grid(anchors, targets.image_hw)[targets.image].flip(-1)  # [T, L, 2] columns and rows
    half = stride * ANCHOR_SCALE / 2

    # The largest overlap of any anchor along each axis is that of the anchor whose center is nearest to the gt's.
    nearest = ((low + high) / 2 / stride).floor()  # [T, L, 2], this column or the next
    near = torch.stack([nearest, nearest + 1]).clamp(min=0).minimum(grid_wh - 1.0) * stride
    max_overlap = (torch.minimum(high, near + half) - torch.maximum(low, near - half)).amax(dim=0).clamp(min=0)
    intersection = max_overlap.prod(dim=-1)  # [T, L]
    areas = (high - low).prod(dim=-1) + (2 * half).square().squeeze(-1)
    iou = intersection / (areas - intersection)

    needed = min_iou / (1 + min_iou) * areas
    reaches = intersection >= needed * EQUAL
    is_best = (iou > 0) & (iou >= iou.amax(dim=1, keepdim=True) * EQUAL)
    for_min_iou = torch.where(reaches[..., None], needed[..., None] / max_overlap.flip(-1), torch.inf)
    for_best = torch.where(is_best[..., None], max_overlap * EQUAL, torch.inf)
    min_overlap = torch.minimum(for_min_iou, for_best)  # [T, L, 2], of anchor and gt along each axis
    first = ((low + min_overlap - half) / stride - SLACK).ceil().clamp(min=0)
    last = ((high - min_overlap + half) / stride + SLACK).floor().minimum(grid_wh - 1.0)
    is_needed = (reaches | is_best)[..., None]
    size_wh = torch.where(is_needed, last - first + 1, 0).clamp(min=0).long()  # [T, L, 2]

    # The anchors of all rectangles, row by row; from one row to the next, the index grows by the level's width.
    level_width = anchors.level_hw[:, 1]
    level_start = anchors.level_hw.prod(dim=1).cumsum(0) - anchors.level_hw.prod(dim=1)
    corner = torch.where(is_needed, first, 0).long()
    start = level_start + corner[..., 1] * level_width + corner[..., 0]  # [T, L]
    counts = size_wh.prod(dim=-1).flatten()
    rectangle = torch.repeat_interleave(counts)  # [P], row of [T, L]
    position = index_in_group(rectangle, counts)
    columns = size_wh[..., 0].flatten()[rectangle]
    row = torch.div(position, columns, rounding_mode="floor")
    gt = torch.div(rectangle, len(STRIDES), rounding_mode="floor")
    anchor = start.flatten()[rectangle] + row * (level_width[rectangle % len(STRIDES)] - columns) + position
    return gt, anchor
