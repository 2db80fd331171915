"""Anchors, box deltas and overlaps: everything that needs coordinates and no network.

Boxes are xyxy pixels of the resized image. The conventions (anchor centers at multiples of the stride, no +1 pixel)
are OpenMMLab's, so that its checkpoints mean the same thing here.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

STRIDES = (8, 16, 32, 64, 128)  # P3 … P7
ANCHOR_SCALE = 8  # an anchor's side is 8 strides
CENTER_STD, SIZE_STD = 0.1, 0.2  # of the deltas' (dx, dy) and (dw, dh)
MAX_LOG_RATIO = abs(math.log(16 / 1000))


@dataclass(frozen=True)
class Anchors:
    """One square anchor per location, levels P3 … P7 one after the other, each row-major.

    boxes: [A, 4] xyxy pixels. level: [A] int64, 0 for P3 … 4 for P7. stride: [A] pixels. center: [A, 2] (x, y) pixels.
    level_hw: [5, 2] int64, rows and columns of each level's grid. level_counts: number of anchors on each level.
    """

    boxes: Tensor
    level: Tensor
    stride: Tensor
    center: Tensor
    level_hw: Tensor
    level_counts: tuple[int, ...]

    def to(self, device: torch.device | str) -> "Anchors":
        fields = (self.boxes, self.level, self.stride, self.center, self.level_hw)
        boxes, level, stride, center, level_hw = (field.to(device) for field in fields)
        return Anchors(boxes, level, stride, center, level_hw, self.level_counts)


def level_sizes(padded_hw: tuple[int, int]) -> list[tuple[int, int]]:
    """(rows, columns) of the feature maps P3 … P7 of an image of padded size (height, width)."""
    height, width = padded_hw
    return [(math.ceil(height / stride), math.ceil(width / stride)) for stride in STRIDES]


@lru_cache(maxsize=512)  # multi-scale training on COCO has some 300 sizes, on host and device
def make_anchors(padded_hw: tuple[int, int], device: torch.device | str = "cpu") -> Anchors:
    """Anchors of an image of padded size (height, width), in pixels; see `Anchors` for the order.

    The result is shared between calls: do not write into it.
    """
    centers, levels, strides = [], [], []
    for level, ((rows, columns), stride) in enumerate(zip(level_sizes(padded_hw), STRIDES, strict=True)):
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centers.append(torch.stack([x, y], dim=-1).reshape(-1, 2).float() * stride)
        levels.append(torch.full((rows * columns,), level))
        strides.append(torch.full((rows * columns,), float(stride)))
    center, stride_of = torch.cat(centers), torch.cat(strides)
    half_side = stride_of[:, None] * ANCHOR_SCALE / 2
    boxes = torch.cat([center - half_side, center + half_side], dim=1)
    level_hw = torch.tensor(level_sizes(padded_hw))
    return Anchors(boxes, torch.cat(levels), stride_of, center, level_hw, tuple(map(len, levels))).to(device)


def inside_images(anchors: Anchors, image_hw: Tensor) -> Tensor:
    """Which anchors lie on each image's own area, rounded up to 32 pixels; the rest is padding and ignored.

    image_hw: [N, 2] unpadded (height, width). Returns [N, A] bool.
    """
    rounded_wh = (image_hw.flip(-1) + 31) // 32 * 32  # [N, 2]
    stride = anchors.stride[:, None]
    limit = torch.ceil(rounded_wh[:, None] / stride) * stride  # [N, A, 2], first location outside
    return (anchors.center < limit).all(dim=-1)


def valid_grid(anchors: Anchors, image_hw: Tensor) -> Tensor:
    """Rows and columns [N, 5, 2] of each level's grid that lie on each image's own area; see `inside_images`."""
    rounded_hw = (image_hw[:, None] + 31) // 32 * 32
    stride = torch.tensor(STRIDES, device=image_hw.device)[:, None]
    return torch.minimum((rounded_hw + stride - 1) // stride, anchors.level_hw)


def encode_deltas(anchors: Tensor, boxes: Tensor) -> Tensor:
    """Deltas (dx, dy, dw, dh) / (.1, .1, .2, .2) that turn `anchors` [..., 4] into `boxes` [..., 4], both xyxy pixels.

    A box without area has no finite delta.
    """
    anchor_center, anchor_wh = _center_size(anchors)
    center, wh = _center_size(boxes)
    dxy, dwh = (center - anchor_center) / anchor_wh, torch.log(wh / anchor_wh)
    return torch.cat([dxy / CENTER_STD, dwh / SIZE_STD], dim=-1)


def decode_deltas(anchors: Tensor, deltas: Tensor, clip_hw: Tensor | tuple[int, int] | None = None) -> Tensor:
    """The inverse of `encode_deltas`: boxes [..., 4], xyxy pixels, dw and dh clamped to ±|log(16/1000)|.

    clip_hw: clips the boxes to an image of this (height, width); a pair, or a tensor that broadcasts as [..., 2].
    """
    dxy, dwh = deltas.split(2, dim=-1)
    anchor_center, anchor_wh = _center_size(anchors)
    center = anchor_center + dxy * CENTER_STD * anchor_wh
    half_wh = anchor_wh * (dwh * SIZE_STD).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp() / 2
    boxes = torch.cat([center - half_wh, center + half_wh], dim=-1)
    return boxes if clip_hw is None else clip_boxes(boxes, clip_hw)


def clip_boxes(boxes: Tensor, hw: Tensor | tuple[int, int]) -> Tensor:
    """Boxes [..., 4] clipped to images of (height, width) `hw`; a pair, or a tensor that broadcasts as [..., 2]."""
    limit = torch.as_tensor(hw, device=boxes.device).to(boxes.dtype).flip(-1)
    return torch.minimum(boxes.clamp(min=0), torch.cat([limit, limit], dim=-1))


def box_area(boxes: Tensor) -> Tensor:
    """Area [...] of boxes [..., 4], in square pixels."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """IoU of boxes [..., 4] and others [..., 4] that broadcast: paired, or pairwise with `boxes[:, None]`."""
    return _overlap(boxes, others, eps=1e-6)[0]


def box_giou_loss(boxes: Tensor, others: Tensor) -> Tensor:
    """1 − generalized IoU of boxes [..., 4] and others [..., 4] that broadcast (Rezatofighi et al., CVPR 2019)."""
    iou, union = _overlap(boxes, others, eps=1e-7)
    hull_wh = torch.maximum(boxes[..., 2:], others[..., 2:]) - torch.minimum(boxes[..., :2], others[..., :2])
    hull_wh = hull_wh.clamp(min=0)
    hull = hull_wh[..., 0] * hull_wh[..., 1]
    hull = hull.clamp(min=1e-7, max=torch.finfo(hull.dtype).max)  # of boxes far apart the area is no float32
    return 1 - iou + (hull - union) / hull


def _overlap(boxes: Tensor, others: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    wh = torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])
    wh = wh.clamp(min=0)
    intersection = wh[..., 0] * wh[..., 1]
    union = (box_area(boxes) + box_area(others) - intersection).clamp(min=eps)
    return intersection / union, union


def _center_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    low, high = boxes.split(2, dim=-1)
    return (low + high) / 2, high - low
