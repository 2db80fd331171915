"""Test-time augmentation: an image seen at several sizes and mirrored, and how the boxes of all views are merged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torchvision.ops import batched_nms

from lad.geometry import box_area, box_iou
from lad.inference.postprocess import MAX_DETECTIONS, MIN_SCORE
from lad.structures import Detections

SOFT_VOTE_IOU = 0.66


@dataclass(frozen=True)
class TTAView:
    """One way to look at an image: resized to `short_side` unless `long_side` would be passed, mirrored or not. Of what
    is found, boxes whose side (√area, in pixels of this view) lies between smallest and largest are kept."""

    short_side: int
    long_side: int
    flip: bool = False
    smallest: float = 0
    largest: float = math.inf

    def __post_init__(self) -> None:
        if self.short_side < 1 or self.long_side < 1:
            raise ValueError(f"a view of {self.short_side} by {self.long_side} pixels would show nothing")
        if not 0 <= self.smallest < self.largest:
            raise ValueError(f"a view from {self.smallest} to {self.largest} pixels would keep no box")


def flipped_too(views: Sequence[TTAView]) -> tuple[TTAView, ...]:
    """Each view, and mirrored."""
    return tuple(
        TTAView(v.short_side, v.long_side, flip, v.smallest, v.largest) for v in views for flip in (False, True)
    )


# The thirteen sizes, mirrored too, of multi-scale testing in ATSS (Zhang et al., CVPR 2020) and PAA, whose strongest
# rows merge them by soft voting: small views look for large objects, large views for small ones.
ATSS_TTA_VIEWS = flipped_too(
    [
        TTAView(800, 1333),
        *(TTAView(side, 1333, smallest=96) for side in (400, 500)),
        *(TTAView(side, 1333, smallest=64) for side in (600, 640, 700)),
        *(TTAView(side, 3000) for side in (900, 1000)),
        *(TTAView(side, 3000, largest=256) for side in (1100, 1200)),
        *(TTAView(side, 3000, largest=192) for side in (1300, 1400)),
        TTAView(1800, 3000, largest=96),
    ]
)


def seen_in_original(found: Detections, view: TTAView, scale: tuple[float, float], original_width: int) -> Detections:
    """What a view found, in pixels of the original image apart from the mirroring, without the boxes that the view
    leaves to others and mirrored back. scale: (width, height) factors of the view's resizing."""
    side = (box_area(found.boxes) * scale[0] * scale[1]).sqrt()
    keep = (side >= view.smallest) & (side <= view.largest)
    boxes = found.boxes[keep]
    if view.flip:
        boxes = torch.stack([original_width - boxes[:, 2], boxes[:, 1], original_width - boxes[:, 0], boxes[:, 3]], 1)
    return Detections(boxes, found.scores[keep], found.labels[keep])


def joined(found: Sequence[Detections]) -> Detections:
    """The boxes of several views of one image in one list, in no order."""
    return Detections(
        torch.cat([one.boxes for one in found]),
        torch.cat([one.scores for one in found]),
        torch.cat([one.labels for one in found]),
    )


@torch.no_grad()
def soft_vote(
    found: Detections, iou: float = SOFT_VOTE_IOU, min_score: float = MIN_SCORE, max_detections: int = MAX_DETECTIONS
) -> Detections:
    """Soft box voting of one image's detections, in any order.

    Class by class the best box gathers those that overlap it by more than `iou` and becomes their mean, weighted by
    score, with its own score; each gathered box stays too, where its score times (1 − IoU with the best) is still at
    least `min_score`. Then the next best of the rest does the same.

    Source: multi-scale testing of ATSS (Zhang et al., CVPR 2020), as in PAA's repository.
    """
    best = batched_nms(found.boxes, found.scores, found.labels, iou)  # [K], best first: the boxes that gather
    overlap = box_iou(found.boxes[best][:, None], found.boxes)  # [K, D]
    overlap[torch.arange(len(best)), best] = 1.0  # a box without area gathers itself, too
    reaches = (overlap > iou) & (found.labels[best][:, None] == found.labels)
    is_mine = reaches & (reaches.cumsum(dim=0) == 1)  # a box goes to the first that reaches it
    weight = found.scores * is_mine
    voted = weight @ found.boxes / weight.sum(dim=1, keepdim=True)
    softened = found.scores * (1 - (overlap * is_mine).sum(dim=0))
    stays = (softened >= min_score) & (softened > 0)
    boxes = torch.cat([voted, found.boxes[stays]])
    scores = torch.cat([found.scores[best], softened[stays]])
    labels = torch.cat([found.labels[best], found.labels[stays]])
    order = scores.argsort(descending=True, stable=True)[:max_detections]
    return Detections(boxes[order], scores[order], labels[order])
