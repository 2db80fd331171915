"""Post-processing: head outputs → detections, by top candidates, class-wise NMS and score voting."""

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from lad.geometry import Anchors, box_area, box_iou, clip_boxes, decode_deltas
from lad.structures import Detections, HeadOutputs

MIN_SCORE = 0.05
TOP_PER_LEVEL = 1000
NMS_IOU = 0.6
MAX_DETECTIONS = 100  # of an image, as COCO's evaluation counts
MAX_DETECTIONS_LIMIT = 5000  # the candidates of one class: each of five levels has 1000
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
    """Compute the detections of each of N images.

    Source: PAA (Kim and Lee, ECCV 2020); order of the steps and thresholds as in OpenMMLab's PAAHead.

    Args:
        outputs: Outputs of the head over A anchors.
        anchors: The anchors.
        image_hw: Unpadded (height, width) [N, 2] of the resized images, to which boxes are clipped.
        original_hw: (height, width) [N, 2] of the original images. If given, boxes are in their pixels.
        scale: (width, height) factors [N, 2] of the resizing. If given, boxes are in pixels of the original images; by
            default the factors follow from `original_hw`.
        vote: Whether boxes are refined by score voting after the NMS.
        min_score: Score that a detection must exceed.
        nms_iou: IoU above which NMS suppresses a box of the same class.
        max_detections: Maximal number of detections of an image.

    Returns:
        Detections of each image, best first.
    """
    candidates = score_candidates(outputs, anchors, image_hw, original_hw, scale, min_score)
    return [suppress(image_candidates, vote, nms_iou, max_detections) for image_candidates in candidates]


@torch.no_grad()
def score_candidates(
    outputs: HeadOutputs,
    anchors: Anchors,
    image_hw: Tensor,
    original_hw: Tensor | None = None,
    scale: Tensor | None = None,
    min_score: float = MIN_SCORE,
) -> list[Detections]:
    """Return the candidates of each image before NMS, unordered, from each level's 1000 best anchors.

    A candidate is a pair of a box and a class with a score above `min_score`. The arguments are those of `detect`.
    """
    # Scores are monotonic in the logits: an anchor's maximal logit selects it, and only selected anchors are scored.
    best = class_scores(outputs._replace(cls_logits=outputs.cls_logits.amax(dim=-1, keepdim=True)))  # [N, A, 1]
    keep = _topk_per_level(best.squeeze(-1), anchors)  # [N, K]
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
    """Apply class-wise NMS and, with `vote`, score voting to one image's candidates; return the best, best first."""
    best = batched_nms(candidates.boxes, candidates.scores, candidates.labels, nms_iou)[:max_detections]
    boxes = vote_boxes(candidates, best) if vote else candidates.boxes[best]
    return Detections(boxes, candidates.scores[best], candidates.labels[best])


def class_scores(outputs: HeadOutputs) -> Tensor:
    """Compute scores [N, A, C]: sqrt(σ(cls)·σ(iou)), or σ(cls) for a head without the IoU branch."""
    probability = outputs.cls_logits.float().sigmoid()
    if outputs.iou_logits is None:
        return probability
    return (probability * outputs.iou_logits.float().sigmoid()[..., None]).sqrt()


def vote_boxes(candidates: Detections, kept: Tensor) -> Tensor:
    """Replace each kept box by the weighted mean of all candidates of its class with IoU > 0.01.

    The weights are score · exp(−(1 − IoU)² / 0.025).

    Differs from OpenMMLab: a box without area overlaps nothing and is unchanged; in OpenMMLab it becomes NaN.

    Args:
        candidates: All M candidates of an image.
        kept: Indices [D] of the candidates that NMS keeps.

    Returns:
        Boxes [D, 4].
    """
    boxes = candidates.boxes[kept]
    iou = box_iou(boxes[:, None], candidates.boxes)  # [D, M]
    is_voter = (iou > VOTE_MIN_IOU) & (candidates.labels[kept][:, None] == candidates.labels)
    weight = candidates.scores * torch.exp(-((1 - iou) ** 2) / VOTE_SIGMA) * is_voter
    voted = weight @ candidates.boxes / weight.sum(dim=1, keepdim=True)
    has_voters = (box_area(boxes) > 0) & is_voter.any(dim=1)
    return torch.where(has_voters[:, None], voted, boxes)


def _topk_per_level(score: Tensor, anchors: Anchors) -> Tensor:
    """Return the indices [N, K] of the anchors with each level's 1000 highest scores [N, A]."""
    kept, start = [], 0
    for count, level_score in zip(anchors.level_counts, score.split(anchors.level_counts, dim=1), strict=True):
        kept.append(start + level_score.topk(min(TOP_PER_LEVEL, count), dim=1).indices)
        start += count
    return torch.cat(kept, dim=1)
