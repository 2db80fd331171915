"""The detection losses of any assignment, with the focal terms that its cost shares, and the soft-label losses."""

from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from lad.data.batch import IGNORED, Targets
from lad.geometry import Anchors, box_giou_loss, box_iou, decode_deltas, inside_images
from lad.models.outputs import HeadOutputs

ALPHA = 0.25  # of the focal loss, whose γ is 2
BOX_WEIGHT = 1.3
IOU_WEIGHT = 0.5

BoxWeighting = Literal["iou", "none"]


def background_focal(logits: Tensor) -> Tensor:
    """Focal loss of logits whose target is 0, elementwise: (1 − α) p² · −log(1 − p)."""
    return (1 - ALPHA) * logits.sigmoid() ** 2 * F.softplus(logits)


def foreground_focal(logits: Tensor) -> Tensor:
    """Focal loss of logits whose target is 1, elementwise: α (1 − p)² · −log p."""
    return ALPHA * (-logits).sigmoid() ** 2 * F.softplus(-logits)


def detection_loss(
    outputs: HeadOutputs, gt_index: Tensor, anchors: Anchors, targets: Targets, box_weighting: BoxWeighting
) -> dict[str, Tensor]:
    """Losses {"cls", "box", "iou"} of an assignment gt_index [N, A]; scalars, weighted, ready to sum.

    cls: focal loss over all anchors that are not ignored / max(n⁺, N). box: 1.3 · GIoU loss of the positives,
    weighted by their IoU with the gt ("iou": plain PAA) or not ("none": LAD, SoLAD and CoLAD). iou: ½ · binary
    cross-entropy of the positives' iou logit against that IoU; absent when the head has no such branch. Computed in
    float32. With several devices n⁺ and Σ IoU are averaged over them. Without a positive, box and iou are zero but
    still reach every output, as distributed training needs.
    Source: PAA (Kim and Lee, ECCV 2020) and LAD (Nguyen et al., WACV 2022), reductions as in the published code.
    """
    cls_logits = outputs.cls_logits.float()
    is_positive = gt_index >= 0  # [N, A]
    gt_boxes, gt_labels = _gts_of(gt_index, targets)  # [N, A, 4], [N, A]
    num_positive = _mean_over_ranks(is_positive.sum().float())

    # Every entry as background, then the positives' own class put right: no one-hot map is made.
    everywhere = (background_focal(cls_logits).sum(dim=-1) * (gt_index != IGNORED)).sum()
    own_logit = cls_logits.gather(2, gt_labels[..., None]).squeeze(2)
    correction = ((foreground_focal(own_logit) - background_focal(own_logit)) * is_positive).sum()
    losses = {"cls": (everywhere + correction) / num_positive.clamp(min=len(gt_index))}

    # All anchors go through what only positives need: to pick them out, the host would have to wait for their number.
    deltas = outputs.box_deltas.float().masked_fill(~is_positive[..., None], 0)
    boxes = decode_deltas(anchors.boxes, deltas)  # [N, A, 4]
    iou = box_iou(boxes.detach(), gt_boxes) * is_positive
    box_loss = box_giou_loss(boxes, gt_boxes) * is_positive
    if box_weighting == "iou":
        box_loss, box_norm = box_loss * iou, _mean_over_ranks(iou.sum())
    else:
        box_norm = num_positive
    losses["box"] = BOX_WEIGHT * box_loss.sum() / box_norm.clamp(min=1e-6)

    if outputs.iou_logits is not None:
        iou_loss = F.binary_cross_entropy_with_logits(outputs.iou_logits.float(), iou, reduction="none") * is_positive
        losses["iou"] = IOU_WEIGHT * iou_loss.sum() / num_positive.clamp(min=1e-6)
    return losses


def soft_label_loss(
    student_outputs: HeadOutputs,
    teacher_outputs: HeadOutputs,
    anchors: Anchors,
    targets: Targets,
    cls_weight: float,
    iou_weight: float,
    box_weight: float,
    min_iou: float,
) -> dict[str, Tensor]:
    """Losses {"soft_cls", "soft_box", "soft_iou"} that pull a student's outputs to a teacher's; scalars, weighted.

    soft_cls: focal-KL over all anchors and classes. A location counts for the other two when the teacher's box there
    has an IoU over `min_iou` with a gt of its image (padding excepted, boxes clipped to the image): soft_iou is
    focal-KL of the iou logits, soft_box the GIoU loss between the student's and the teacher's box, weighted by that
    IoU. All are divided by the sum of those IoUs. An image without gts contributes to soft_cls only; a batch without
    gts divides by 1.
    Source: LAD (Nguyen et al., WACV 2022), reductions as in the published code.
    """
    student, teacher = student_outputs, teacher_outputs
    cls = focal_kl(student.cls_logits.float(), teacher.cls_logits.float().sigmoid()).sum()
    clip_hw = targets.image_hw[:, None]
    teacher_boxes = decode_deltas(anchors.boxes, teacher.box_deltas.float(), clip_hw)  # [N, A, 4]
    overlap = _best_overlap(teacher_boxes, targets) * inside_images(anchors, targets.image_hw)  # [N, A]
    counts = overlap > min_iou
    weight = overlap * counts
    norm = _mean_over_ranks(weight.sum())
    norm = torch.where(norm > 0, norm, 1 / _world_size())  # as gradients are averaged, that of 1 on the whole batch

    student_deltas = student.box_deltas.float().masked_fill(~counts[..., None], 0)
    student_boxes = decode_deltas(anchors.boxes, student_deltas, clip_hw)
    box = (box_giou_loss(student_boxes, teacher_boxes) * weight).sum()
    losses = {"soft_cls": cls_weight * cls / norm, "soft_box": box_weight * box / norm}
    if student.iou_logits is not None and teacher.iou_logits is not None:
        iou = (focal_kl(student.iou_logits.float(), teacher.iou_logits.float().sigmoid()) * counts).sum()
        losses["soft_iou"] = iou_weight * iou / norm
    return losses


def focal_kl(logits: Tensor, target: Tensor, gamma: float = 0.5) -> Tensor:
    """((p − σ(q))² + 1e-6)^(γ/2) · KL(p ‖ σ(q)), elementwise, of logits q and target probabilities p (LAD)."""
    entropy = -(torch.xlogy(target, target) + torch.xlogy(1 - target, 1 - target))
    divergence = F.binary_cross_entropy_with_logits(logits, target, reduction="none") - entropy
    return ((target - logits.sigmoid()) ** 2 + 1e-6) ** (gamma / 2) * divergence


def _gts_of(gt_index: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Box [N, A, 4] and label [N, A] of the gt whose positive an anchor is; an empty box and label 0 for all others."""
    row = torch.where(gt_index >= 0, gt_index, len(targets.boxes))  # one behind the last
    return F.pad(targets.boxes, (0, 0, 0, 1))[row], F.pad(targets.labels, (0, 1))[row]


def _best_overlap(boxes: Tensor, targets: Targets) -> Tensor:
    """Highest IoU [N, A] of each of `boxes` [N, A, 4] with a gt of its image; 0 without gts."""
    iou = box_iou(targets.boxes[:, None], boxes[targets.image])  # [T, A]
    image = targets.image[:, None].expand_as(iou)
    return iou.new_zeros(boxes.shape[:2]).scatter_reduce(0, image, iou, "amax")


def _mean_over_ranks(value: Tensor) -> Tensor:
    if _world_size() == 1:
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value / _world_size()


def _world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
