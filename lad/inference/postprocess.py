"""From head outputs to detections: top candidates, class-wise NMS and score voting."""

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from lad.geometry import Anchors, box_area, box_iou, clip_boxes, decode_deltas
from lad.structures import Detections, HeadOutputs

MIN_SCORE = 0.05
TOP_PER_LEVEL = 1000
NMS_IOU = 0.6
MAX_DETECTIONS = 100
VOTE_MIN_IOU = 0.01
VOTE_SIGMA = 0.025


@torch.no_grad()
def detect(
    outputs: HeadOutputs,
    anchors: Anchors,
    image_hw: Tensor,
    original_hw: Tensor | None = None,
    scale: Tensor | None = None,
    vote: bool = True,
    min_score: float = MIN_SCORE,
    nms_iou: float = NMS_IOU,
    max_detections: int = MAX_DETECTIONS,
) -> list[Detections]:
    """Detections of each of the N images.

    image_hw: [N, 2] unpadded (height, width) of the resized images, to which boxes are clipped. Boxes come in pixels
    of the resized image; in the original's when `scale` [N, 2], the (width, height) factors that were used in
    resizing, or `original_hw` [N, 2], which implies them, is given. vote: score voting after the NMS.

    Source: PAA (Kim and Lee, ECCV 2020); order of the steps and thresholds as in OpenMMLab's PAAHead.
    """
    candidates = score_candidates(outputs, anchors, image_hw, original_hw, scale, min_score)
    return [suppress(one, vote, nms_iou, max_detections) for one in candidates]


@torch.no_grad()
def score_candidates(
    outputs: HeadOutputs,
    anchors: Anchors,
    image_hw: Tensor,
    original_hw: Tensor | None = None,
    scale: Tensor | None = None,
    min_score: float = MIN_SCORE,
) -> list[Detections]:
    """Every box and class of each image that scores above `min_score`, before any NMS and in no order, out of each
    level's 1000 best anchors. Arguments and pixels as in `detect`."""
    # A score rises with its logit: each anchor's highest says which anchors to keep, and only those are scored in full.
    best = class_scores(outputs._replace(cls_logits=outputs.cls_logits.amax(dim=-1, keepdim=True)))  # [N, A, 1]
    keep = _best_of_each_level(best.squeeze(-1), anchors)  # [N, K]
    image = torch.arange(len(keep), device=keep.device)[:, None]
    kept = HeadOutputs._make(field if field is None else field[image, keep] for field in outputs)
    score = class_scores(kept)  # [N, K, C]
    boxes = decode_deltas(anchors.boxes[keep], kept.box_deltas.float(), clip_hw=image_hw[:, None])  # [N, K, 4]
    if scale is None and original_hw is not None:
        scale = (image_hw / original_hw).flip(-1)
    if scale is not None:
        boxes = boxes / scale.to(boxes).repeat(1, 2)[:, None]
    if original_hw is not None:
        boxes = clip_boxes(boxes, original_hw[:, None])

    candidates = []
    for image_boxes, image_score in zip(boxes, score, strict=True):
        row, label = (image_score > min_score).nonzero(as_tuple=True)
        candidates.append(Detections(image_boxes[row], image_score[row, label], label))
    return candidates


@torch.no_grad()
def suppress(
    candidates: Detections, vote: bool = True, nms_iou: float = NMS_IOU, max_detections: int = MAX_DETECTIONS
) -> Detections:
    """Class-wise NMS of one image's candidates, the best of what remains and, with `vote`, score voting."""
    best = batched_nms(candidates.boxes, candidates.scores, candidates.labels, nms_iou)[:max_detections]
    boxes = vote_boxes(candidates, best) if vote else candidates.boxes[best]
    return Detections(boxes, candidates.scores[best], candidates.labels[best])


def class_scores(outputs: HeadOutputs) -> Tensor:
    """Scores [N, A, C] of each anchor's box: sqrt(σ(cls)·σ(iou)), or σ(cls) for a head without the IoU branch."""
    probability = outputs.cls_logits.float().sigmoid()
    if outputs.iou_logits is None:
        return probability
    return (probability * outputs.iou_logits.float().sigmoid()[..., None]).sqrt()


def vote_boxes(candidates: Detections, kept: Tensor) -> Tensor:
    """Boxes [D, 4] of the `kept` [D] candidates, each replaced by the mean of the candidates of its class with
    IoU > .01, weighted by score · exp(−(1 − IoU)² / .025).

    Differs from OpenMMLab: a box without area overlaps nothing and stays as it is; there it becomes NaN.
    """
    boxes = candidates.boxes[kept]
    iou = box_iou(boxes[:, None], candidates.boxes)  # [D, M]
    is_voter = (iou > VOTE_MIN_IOU) & (candidates.labels[kept][:, None] == candidates.labels)
    weight = candidates.scores * torch.exp(-((1 - iou) ** 2) / VOTE_SIGMA) * is_voter
    voted = weight @ candidates.boxes / weight.sum(dim=1, keepdim=True)
    has_voters = (box_area(boxes) > 0) & is_voter.any(dim=1)
    return torch.where(has_voters[:, None], voted, boxes)


def _best_of_each_level(score: Tensor, anchors: Anchors) -> Tensor:
    """Anchors [N, K] of each level's 1000 best `score` [N, A]."""
    kept, first = [], 0
    for count, on_level in zip(anchors.level_counts, score.split(anchors.level_counts, dim=1), strict=True):
        kept.append(first + on_level.topk(min(TOP_PER_LEVEL, count), dim=1).indices)
        first += count
    return torch.cat(kept, dim=1)
