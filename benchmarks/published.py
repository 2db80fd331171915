"""PAA's assignment and post-processing as published, for comparison: MaxIoUAssigner and PAAHead of mmdet 3.3.

The assignment loops over images, gts and levels and fits scikit-learn's mixture on the CPU for each gt. The
post-processing scores every class of every anchor and votes in loops over classes and detections.
"""

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import batched_nms

from lad.geometry import STRIDES, Anchors, box_giou_loss, box_iou, decode_deltas, inside_images
from lad.structures import Detections, HeadOutputs, Targets

TOP, MIN_IOU, BOX_WEIGHT = 9, 0.1, 1.3
NMS_PRE, SCORE_THR, NMS_IOU, MAX_PER_IMG = 1000, 0.05, 0.6, 100


@torch.no_grad()
def assign_published(outputs: HeadOutputs, anchors: Anchors, targets: Targets) -> Tensor:
    """Return gt_index [N, A] as `lad.assigners.assign`: ≥ 0 gt row, −1 background, −2 ignored."""
    gt_index = torch.where(inside_images(anchors, targets.image_hw), -1, -2)
    for image in range(len(gt_index)):
        rows = (targets.image == image).nonzero().squeeze(1)
        if not len(rows):
            continue
        valid = (gt_index[image] > -2).nonzero().squeeze(1)
        assigned = max_iou_assign(anchors.boxes[valid], targets.boxes[rows])
        candidate = valid[assigned >= 0]
        gt = assigned[assigned >= 0]
        cost = candidate_cost(outputs, image, candidate, targets.labels[rows[gt]], targets.boxes[rows[gt]], anchors)
        for position in range(len(rows)):
            positive = reassign(candidate[gt == position], cost[gt == position], anchors.level)
            gt_index[image, positive] = rows[position]
    return gt_index


def max_iou_assign(boxes: Tensor, gt_boxes: Tensor) -> Tensor:
    """Return the index of the gt of each anchor, or −1."""
    overlaps = box_iou(gt_boxes[:, None], boxes)
    assigned = torch.full((len(boxes),), -1)
    max_overlaps, argmax_overlaps = overlaps.max(dim=0)
    gt_max_overlaps, _ = overlaps.max(dim=1)
    is_positive = max_overlaps >= MIN_IOU
    assigned[is_positive] = argmax_overlaps[is_positive]
    for gt in range(len(gt_boxes)):
        if gt_max_overlaps[gt] > 0:
            assigned[overlaps[gt] == gt_max_overlaps[gt]] = gt
    return assigned


def candidate_cost(
    outputs: HeadOutputs, image: int, candidate: Tensor, labels: Tensor, gt_boxes: Tensor, anchors: Anchors
) -> Tensor:
    """Return the elementwise focal loss against a one-hot target, summed over classes, plus the box loss."""
    logits = outputs.cls_logits[image, candidate]
    target = F.one_hot(labels, logits.shape[1]).to(logits)
    p = logits.sigmoid()
    pt = (1 - p) * target + p * (1 - target)
    weight = (0.25 * target + 0.75 * (1 - target)) * pt.pow(2)
    cls = (F.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight).sum(dim=-1)
    boxes = decode_deltas(anchors.boxes[candidate], outputs.box_deltas[image, candidate])
    return cls + BOX_WEIGHT * box_giou_loss(boxes, gt_boxes)


def reassign(candidate: Tensor, cost: Tensor, level_of: Tensor) -> Tensor:
    """Return the positives among one gt's candidates."""
    chosen_cost, chosen = [], []
    for level in range(len(STRIDES)):
        on_level = (level_of[candidate] == level).nonzero().squeeze(1)
        value, rank = cost[on_level].topk(min(len(on_level), TOP), largest=False)
        chosen_cost.append(value)
        chosen.append(candidate[on_level[rank]])
    cost, order = torch.cat(chosen_cost).sort()
    candidate = torch.cat(chosen)[order]
    if len(cost) < 2:
        return candidate
    component, score = fit_published(cost)
    foreground = component == 0
    if not foreground.any():
        return candidate
    peak = score[foreground].argmax()
    return candidate[foreground][: peak + 1]


def fit_published(cost: Tensor) -> tuple[Tensor, Tensor]:
    """Return component and log-density of each of one gt's costs [K], which ascend and are at least two."""
    samples = cost.view(-1, 1).numpy()
    means = np.array([samples.min(), samples.max()]).reshape(2, 1)
    fit = GaussianMixture(
        2, weights_init=np.array([0.5, 0.5]), means_init=means, precisions_init=np.array([[[1.0]], [[1.0]]]),
        covariance_type="full",
    )  # fmt: skip
    fit.fit(samples)
    return torch.from_numpy(fit.predict(samples)), torch.from_numpy(fit.score_samples(samples))


@torch.no_grad()
def detect_published(
    outputs: HeadOutputs, anchors: Anchors, image_hw: Tensor, with_score_voting: bool = True
) -> list[Detections]:
    """Return detections as `lad.inference.postprocess.detect`, but sorted by class after score voting."""
    return [
        detect_in_image(outputs, anchors, image, image_hw[image], with_score_voting) for image in range(len(image_hw))
    ]


def detect_in_image(
    outputs: HeadOutputs, anchors: Anchors, image: int, hw: Tensor, with_score_voting: bool
) -> Detections:
    of_image = (*(field[image] for field in outputs), anchors.boxes)
    of_levels = [field.split(anchors.level_counts) for field in of_image]
    all_boxes, all_scores = [], []
    for cls_logits, deltas, iou_logits, priors in zip(*of_levels, strict=True):
        scores = (cls_logits.sigmoid() * iou_logits.sigmoid()[:, None]).sqrt()
        if len(scores) > NMS_PRE:
            best = scores.max(dim=1).values.topk(NMS_PRE).indices
            scores, deltas, priors = scores[best], deltas[best], priors[best]
        all_boxes.append(decode_deltas(priors, deltas, clip_hw=hw))
        all_scores.append(scores)
    boxes, scores = torch.cat(all_boxes), torch.cat(all_scores)
    detections = multiclass_nms(boxes, scores)
    if not with_score_voting or not len(detections.scores):
        return detections
    return score_voting(detections, boxes, scores)


def multiclass_nms(boxes: Tensor, scores: Tensor) -> Detections:
    """Return the detections after NMS in each class of boxes [K, 4] with scores [K, C]."""
    valid = (scores > SCORE_THR).flatten().nonzero().squeeze(1)
    labels = torch.arange(scores.shape[1]).expand_as(scores).flatten()[valid]
    boxes = boxes[:, None].expand(-1, scores.shape[1], 4).reshape(-1, 4)[valid]
    scores = scores.flatten()[valid]
    keep = batched_nms(boxes, scores, labels, NMS_IOU)[:MAX_PER_IMG]
    return Detections(boxes[keep], scores[keep], labels[keep])


def score_voting(detections: Detections, boxes: Tensor, scores: Tensor) -> Detections:
    """Return the detections with boxes averaged over candidate boxes [K, 4] with scores [K, C]."""
    is_candidate = scores > SCORE_THR
    row, label = is_candidate.nonzero(as_tuple=True)
    candidate_boxes, candidate_scores = boxes[row], scores[is_candidate]
    voted_boxes, voted_scores, voted_labels = [], [], []
    for cls in range(scores.shape[1]):
        of_class = label == cls
        if not of_class.any():
            continue
        class_boxes, class_scores = candidate_boxes[of_class], candidate_scores[of_class]
        detected = detections.labels == cls
        overlaps = box_iou(detections.boxes[detected][:, None], class_boxes)
        for ious, score in zip(overlaps, detections.scores[detected], strict=True):
            near = ious > 0.01
            weight = (torch.exp(-((1 - ious[near]) ** 2) / 0.025) * class_scores[near])[:, None]
            voted_boxes.append((weight * class_boxes[near]).sum(dim=0) / weight.sum(dim=0))
            voted_scores.append(score)
            voted_labels.append(cls)
    return Detections(torch.stack(voted_boxes), torch.stack(voted_scores), torch.tensor(voted_labels))
