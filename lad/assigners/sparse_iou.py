"""Which anchors can matter to a gt, without looking at all of them: they are squares on grids, so the few are known."""

import torch
from torch import Tensor

from lad.geometry import ANCHOR_SCALE, STRIDES, Anchors, valid_grid
from lad.structures import Targets

SLACK = 0.01  # grid steps by which a range is widened, far beyond rounding: too many are cheap, one too few is wrong
EQUAL = 1 - 1e-5  # overlaps closer than this might round to equal IoUs


def sparse_iou_pairs(anchors: Anchors, targets: Targets, min_iou: float) -> tuple[Tensor, Tensor]:
    """Pairs (gt [P], anchor [P]), ordered by gt, among which are all with IoU ≥ `min_iou` > 0 and, of every gt that
    overlaps anything, all of its best; anchors in the padding take no part.

    Along an axis the overlap of a gt and an anchor is a trapezoid in the anchor's place: the anchors that overlap it by
    at least some length are a range of columns. On level l the IoU is at least t where the two overlaps' product is at
    least t / (1 + t) · (area of gt + area of anchor), which asks of each axis that product over the most that the
    other can give. So every gt and level has a rectangle of the grid, a few hundred anchors instead of all.
    """
    low, high = targets.boxes[:, None, :2].double(), targets.boxes[:, None, 2:].double()  # [T, 1, 2] (x, y)
    stride = torch.tensor(STRIDES, dtype=torch.float64, device=low.device)[:, None]  # [L, 1]
    grid_wh = valid_grid(anchors, targets.image_hw)[targets.image].flip(-1)  # [T, L, 2] columns and rows
    half = stride * ANCHOR_SCALE / 2

    # The most any anchor overlaps the gt along each axis: the one whose center is nearest to the gt's.
    nearest = ((low + high) / 2 / stride).floor()  # [T, L, 2], this or the next
    places = torch.stack([nearest, nearest + 1]).clamp(min=0).minimum(grid_wh - 1.0) * stride
    most = (torch.minimum(high, places + half) - torch.maximum(low, places - half)).amax(dim=0).clamp(min=0)
    intersection = most.prod(dim=-1)  # [T, L]
    areas = (high - low).prod(dim=-1) + (2 * half).square().squeeze(-1)
    iou = intersection / (areas - intersection)

    needed = min_iou / (1 + min_iou) * areas
    reaches = intersection >= needed * EQUAL
    is_best = (iou > 0) & (iou >= iou.amax(dim=1, keepdim=True) * EQUAL)
    to_reach = torch.where(reaches[..., None], needed[..., None] / most.flip(-1), torch.inf)
    to_be_best = torch.where(is_best[..., None], most * EQUAL, torch.inf)
    least = torch.minimum(to_reach, to_be_best)  # [T, L, 2], that an anchor must overlap the gt along each axis
    first = ((low + least - half) / stride - SLACK).ceil().clamp(min=0)
    last = ((high - least + half) / stride + SLACK).floor().minimum(grid_wh - 1.0)
    is_in_reach = (reaches | is_best)[..., None]
    size_wh = torch.where(is_in_reach, last - first + 1, 0).clamp(min=0).long()  # [T, L, 2]

    # The rectangles' anchors, one after the other; of a rectangle: its first anchor, its columns, its level's columns.
    level_width = anchors.level_hw[:, 1]
    level_start = anchors.level_hw.prod(dim=1).cumsum(0) - anchors.level_hw.prod(dim=1)
    corner = torch.where(is_in_reach, first, 0).long()
    start = level_start + corner[..., 1] * level_width + corner[..., 0]  # [T, L]
    counts = size_wh.prod(dim=-1).flatten()
    rectangle = torch.repeat_interleave(counts)  # [P], row of [T, L]
    place = torch.arange(len(rectangle), device=counts.device) - (counts.cumsum(0) - counts)[rectangle]
    columns = size_wh[..., 0].flatten()[rectangle]
    row = torch.div(place, columns, rounding_mode="floor")
    gt = torch.div(rectangle, len(STRIDES), rounding_mode="floor")
    anchor = start.flatten()[rectangle] + row * (level_width[rectangle % len(STRIDES)] - columns) + place
    return gt, anchor
