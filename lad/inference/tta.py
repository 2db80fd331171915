"""Test-time augmentation: views of an image at several sizes, mirrored or not, and how their boxes are merged."""

import dataclasses
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
    """A view of an image, and the range of boxes that are kept from it.

    Attributes:
        short_side: Length in pixels to which the short side is resized, unless `long_side` would be exceeded.
        long_side: Maximal length of the long side, in pixels.
        flip: Whether the image is mirrored horizontally.
        min_box_side: Minimal side (√area) of a box that is kept, in pixels of the view.
        max_box_side: Maximal side of a box that is kept.
    """

    short_side: int
    long_side: int
    flip: bool = False
    min_box_side: float = 0
    max_box_side: float = math.inf

    def __post_init__(self) -> None:
        if self.short_side < 1 or self.long_side < 1:
            raise ValueError(f"view of {self.short_side} by {self.long_side} pixels: both sides must be 1 or more")
        if not 0 <= self.min_box_side < self.max_box_side:
            raise ValueError(
                f"view with box sides from {self.min_box_side} to {self.max_box_side} pixels: no box would be kept"
            )


def with_flips(views: Sequence[TTAView]) -> tuple[TTAView, ...]:
    """Return each view, followed by the same view mirrored."""
    return tuple(dataclasses.replace(view, flip=flip) for view in views for flip in (False, True))


# The 13 sizes, each also mirrored, of multi-scale testing in ATSS (Zhang et al., CVPR 2020) and PAA, merged by soft
# voting for their best results: small views keep large objects, large views keep small ones.
ATSS_TTA_VIEWS = with_flips(
    [
        TTAView(800, 1333),
        *(TTAView(side, 1333, min_box_side=96) for side in (400, 500)),
        *(TTAView(side, 1333, min_box_side=64) for side in (600, 640, 700)),
        *(TTAView(side, 3000) for side in (900, 1000)),
        *(TTAView(side, 3000, max_box_side=256) for side in (1100, 1200)),
        *(TTAView(side, 3000, max_box_side=192) for side in (1300, 1400)),
        TTAView(1800, 3000, max_box_side=96),
    ]
)


def to_original_image(
    detections: Detections, view: TTAView, scale: tuple[float, float], original_width: int
) -> Detections:
    """Undo a view's mirroring and drop the boxes outside its range.

    Args:
        detections: A view's detections, in pixels of the original image but still mirrored.
        view: The view.
        scale: (width, height) factors of the view's resizing.
        original_width: Width of the original image, in pixels.
    """
    side = (box_area(detections.boxes) * scale[0] * scale[1]).sqrt()
    keep = (side >= view.min_box_side) & (side <= view.max_box_side)
    boxes = detections.boxes[keep]
    if view.flip:
        boxes = torch.stack([original_width - boxes[:, 2], boxes[:, 1], original_width - boxes[:, 0], boxes[:, 3]], 1)
    return Detections(boxes, detections.scores[keep], detections.labels[keep])


def concatenate_detections(several: Sequence[Detections]) -> Detections:
    """Return the detections of several views or images as one, in the given order."""
    return Detections(
        torch.cat([detections.boxes for detections in several]),
        torch.cat([detections.scores for detections in several]),
        torch.cat([detections.labels for detections in several]),
    )


@torch.no_grad()
def soft_vote(
    detections: Detections,
    iou: float = SOFT_VOTE_IOU,
    min_score: float = MIN_SCORE,
    max_detections: int = MAX_DETECTIONS,
) -> Detections:
    """Merge one image's detections by soft box voting, class by class.

    The best box forms a cluster with the boxes that overlap it by more than `iou`. It becomes the cluster's mean,
    weighted by score, and keeps its score. The other boxes of the cluster are kept too if their score times (1 − IoU
    with the best box) is at least `min_score`. The best of the remaining boxes forms the next cluster.

    Source: multi-scale testing of ATSS (Zhang et al., CVPR 2020), as in PAA's repository.

    Args:
        detections: Detections in any order.
        iou: IoU above which a box joins a cluster.
        min_score: Minimal softened score of a box that is kept beside the cluster's mean.
        max_detections: Maximal number of detections.

    Returns:
        The merged detections, best first.
    """
    best = batched_nms(detections.boxes, detections.scores, detections.labels, iou)  # [K], best first: cluster centers
    overlap = box_iou(detections.boxes[best][:, None], detections.boxes)  # [K, D]
    overlap[torch.arange(len(best)), best] = 1.0  # a box without area belongs to its own cluster, too
    reaches = (overlap > iou) & (detections.labels[best][:, None] == detections.labels)
    is_member = reaches & (reaches.cumsum(dim=0) == 1)  # a box belongs to the first cluster that reaches it
    weight = detections.scores * is_member
    voted = weight @ detections.boxes / weight.sum(dim=1, keepdim=True)
    softened = detections.scores * (1 - (overlap * is_member).sum(dim=0))
    stays = (softened >= min_score) & (softened > 0)
    boxes = torch.cat([voted, detections.boxes[stays]])
    scores = torch.cat([detections.scores[best], softened[stays]])
    labels = torch.cat([detections.labels[best], detections.labels[stays]])
    order = scores.argsort(descending=True, stable=True)[:max_detections]
    return Detections(boxes[order], scores[order], labels[order])
