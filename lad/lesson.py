"""For the first lesson: one picture with its anchors, and the assignment that a bare threshold would make of it."""

import torch

from lad.data import Batch, CocoDataset, Targets, collate
from lad.exploration import NEITHER, Claims
from lad.geometry import Anchors, box_iou, inside_images, make_anchors


def open_picture(dataset: CocoDataset, index: int) -> tuple[Batch, Anchors]:
    """A batch of this one image, and the anchors on it. Raises ValueError if the set has no such image."""
    if not 0 <= index < len(dataset):
        raise ValueError(f"there is no picture {index}; give 0 … {len(dataset) - 1}")
    batch = collate([dataset[index]])
    return batch, make_anchors(batch.padded_hw)


def claims_by_iou(anchors: Anchors, targets: Targets, threshold: float) -> Claims:
    """The positives of one image if each anchor goes to the gt that it overlaps most, where their IoU reaches the
    threshold; no network claims them."""
    iou, gt = box_iou(targets.boxes[:, None], anchors.boxes).max(dim=0)  # [A]
    anchor = torch.where((iou >= threshold) & inside_images(anchors, targets.image_hw)[0])[0]
    return Claims(anchor, gt[anchor], torch.full_like(anchor, NEITHER))
