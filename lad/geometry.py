"""Anchors, box deltas and overlaps of boxes.

Boxes are xyxy in pixels of the resized image. The conventions (anchor centers at multiples of the stride, widths
without +1 pixel) are OpenMMLab's, so that its checkpoints give the same boxes here.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

STRIDES = (8, 16, 32, 64, 128)  # P3 … P7
ANCHOR_SCALE = 8  # side of an anchor in strides
CENTER_STD, SIZE_STD = 0.1, 0.2  # normalization of the deltas (dx, dy) and (dw, dh)
MAX_LOG_RATIO = abs(math.log(16 / 1000))


@dataclass(frozen=True)
class Anchors:
    """One square anchor per location, levels P3 … P7 one after the other, each row-major.

    Attributes:
        boxes: [A, 4] xyxy pixels.
        level: [A] int64, 0 for P3 … 4 for P7.
        stride: [A] pixels.
        center: [A, 2] (x, y) pixels.
        level_hw: [5, 2] int64, rows and columns of each level's grid.
        level_counts: Number of anchors on each level.
    """

    boxes: Tensor
    level: Tensor
    stride: Tensor
    center: Tensor
    level_hw: Tensor
    level_counts: tuple[int, ...]

    def to(self, device: torch.device | str) -> "Anchors":
        """Return a copy on `device`."""
        fields = (self.boxes, self.level, self.stride, self.center, self.level_hw)
        boxes, level, stride, center, level_hw = (field.to(device) for field in fields)
        return Anchors(boxes, level, stride, center, level_hw, self.level_counts)


def level_sizes(padded_hw: tuple[int, int]) -> list[tuple[int, int]]:
    """Return (rows, columns) of the feature maps P3 … P7 of an image of padded size (height, width)."""
    height, width = padded_hw
    return [(math.ceil(height / stride), math.ceil(width / stride)) for stride in STRIDES]


@lru_cache(maxsize=512)  # multi-scale training on COCO meets about 300 sizes, on host and device
def make_anchors(padded_hw: tuple[int, int], device: torch.device | str = "cpu") -> Anchors:
    """Return the anchors of images of padded size (height, width); see `Anchors` for their order.

    The result is cached and shared between calls: do not modify it in place.
    """
    centers, levels, strides = [], [], []
    for level, ((rows, columns), level_stride) in enumerate(zip(level_sizes(padded_hw), STRIDES, strict=True)):
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centers.append(torch.stack([x, y], dim=-1).reshape(-1, 2).float() * level_stride)
        levels.append(torch.full((rows * columns,), level))
        strides.append(torch.full((rows * columns,), float(level_stride)))
    center, stride = torch.cat(centers), torch.cat(strides)
    half_side = stride[:, None] * ANCHOR_SCALE / 2
    boxes = torch.cat([center - half_side, center + half_side], dim=1)
    level_hw = torch.tensor(level_sizes(padded_hw))
    return Anchors(boxes, torch.cat(levels), stride, center, level_hw, tuple(map(len, levels))).to(device)


def inside_images(anchors: Anchors, image_hw: Tensor) -> Tensor:
    """Return which anchors are centered in each image's own area, rounded up to 32 pixels; the rest is padding.

    Args:
        anchors: A anchors of the padded size.
        image_hw: [N, 2] unpadded (height, width).

    Returns:
        [N, A] bool.
    """
    rounded_wh = (image_hw.flip(-1) + 31) // 32 * 32  # [N, 2]
    stride = anchors.stride[:, None]
    limit = torch.ceil(rounded_wh[:, None] / stride) * stride  # [N, A, 2], first location outside
    return (anchors.center < limit).all(dim=-1)


def valid_grid(anchors: Anchors, image_hw: Tensor) -> Tensor:
    """Return the rows and columns [N, 5, 2] of each level's grid in each image's own area; see `inside_images`."""
    rounded_hw = (image_hw[:, None] + 31) // 32 * 32
    stride = torch.tensor(STRIDES, device=image_hw.device)[:, None]
    return torch.minimum((rounded_hw + stride - 1) // stride, anchors.level_hw)


def encode_deltas(anchors: Tensor, boxes: Tensor) -> Tensor:
    """Return the deltas (dx, dy, dw, dh) / (.1, .1, .2, .2) that transform anchors into boxes.

    Args:
        anchors: [..., 4] xyxy pixels.
        boxes: [..., 4] xyxy pixels; a box without area has no finite deltas.

    Returns:
        [..., 4] deltas.
    """
    anchor_center, anchor_wh = _center_size(anchors)
    center, wh = _center_size(boxes)
    dxy, dwh = (center - anchor_center) / anchor_wh, torch.log(wh / anchor_wh)
    return torch.cat([dxy / CENTER_STD, dwh / SIZE_STD], dim=-1)


def decode_deltas(anchors: Tensor, deltas: Tensor, clip_hw: Tensor | tuple[int, int] | None = None) -> Tensor:
    """Return the boxes that deltas describe, the inverse of `encode_deltas`.

    Args:
        anchors: [..., 4] xyxy pixels.
        deltas: [..., 4]; dw and dh are clamped to ±|log(16/1000)|.
        clip_hw: (height, width) of the image to clip the boxes to, a pair or a tensor that broadcasts as [..., 2];
            None does not clip.

    Returns:
        [..., 4] xyxy pixels.
    """
    dxy, dwh = deltas.split(2, dim=-1)
    anchor_center, anchor_wh = _center_size(anchors)
    center = anchor_center + dxy * CENTER_STD * anchor_wh
    half_wh = anchor_wh * (dwh * SIZE_STD).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp() / 2
    boxes = torch.cat([center - half_wh, center + half_wh], dim=-1)
    return boxes if clip_hw is None else clip_boxes(boxes, clip_hw)


def clip_boxes(boxes: Tensor, hw: Tensor | tuple[int, int]) -> Tensor:
    """Clip boxes [..., 4] to images of (height, width) `hw`, a pair or a tensor that broadcasts as [..., 2]."""
    limit = torch.as_tensor(hw, device=boxes.device).to(boxes.dtype).flip(-1)
    return torch.minimum(boxes.clamp(min=0), torch.cat([limit, limit], dim=-1))


def box_area(boxes: Tensor) -> Tensor:
    """Return the area [...] of boxes [..., 4], in square pixels."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the IoU of boxes [..., 4] and others [..., 4] that broadcast: pairwise with `boxes[:, None]`."""
    return _overlap(boxes, others, eps=1e-6)[0]


def box_giou_loss(boxes: Tensor, others: Tensor) -> Tensor:
    """Return 1 − GIoU of boxes [..., 4] and others [..., 4] that broadcast.

    Source: Rezatofighi et al., Generalized Intersection over Union, CVPR 2019.
    """
    iou, union = _overlap(boxes, others, eps=1e-7)
    hull_wh = torch.maximum(boxes[..., 2:], others[..., 2:]) - torch.minimum(boxes[..., :2], others[..., :2])
    hull_wh = hull_wh.clamp(min=0)
    hull = hull_wh[..., 0] * hull_wh[..., 1]
    hull = hull.clamp(min=1e-7, max=torch.finfo(hull.dtype).max)  # the area overflows float32 for boxes far apart
    return 1 - iou + (hull - union) / hull


def _overlap(boxes: Tensor, others: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return IoU and union of boxes that broadcast."""
    wh = torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])
    wh = wh.clamp(min=0)
    intersection = wh[..., 0] * wh[..., 1]
    union = (box_area(boxes) + box_area(others) - intersection).clamp(min=eps)
    return intersection / union, union


def _center_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return centers (x, y) and sizes (width, height) of boxes."""
    low, high = boxes.split(2, dim=-1)
    return (low + high) / 2, high - low
