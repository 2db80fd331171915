"""Soft-label distillation (LAD, WACV 2022): focal-KL and GIoU terms between student and teacher outputs."""

import pydantic.dataclasses
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from lad.assigners.base import AssignmentContext
from lad.distillation.terms import TermInputs, TermOptions, register_term
from lad.geometry import Anchors, box_giou_loss, box_iou, decode_deltas, inside_images
from lad.losses import BOX_WEIGHT, mean_over_ranks, world_size
from lad.structures import HeadOutputs, Targets
from lad.utils.options import OPTIONS


@pydantic.dataclasses.dataclass(frozen=True, config=OPTIONS)
class SoftLabelOptions:
    """Hyper-parameters of soft-label distillation.

    Attributes:
        cls_weight: Weight of the focal-KL term of the class logits.
        iou_weight: Weight of the focal-KL term of the IoU logits.
        box_weight: Weight of the GIoU term between the two networks' boxes.
        min_iou: IoU of a teacher's box with a gt above which the box's location counts for boxes and IoU logits. The
            published configuration has .1: its file is called `kd_r50_r101p1x_kl_i05_g05_1x_coco.py`, but does not set
            `min_iou`, and .1 is the default of the head `PAA_KD_Head`. That of SoLAD sets .5.
    """

    cls_weight: float = Field(default=10.0, ge=0, le=1000)
    iou_weight: float = Field(default=10.0, ge=0, le=1000)
    box_weight: float = Field(default=BOX_WEIGHT, ge=0, le=1000)
    min_iou: float = Field(default=0.1, ge=0, lt=1)


@pydantic.dataclasses.dataclass(frozen=True, config=OPTIONS)
class SoLADOptions(SoftLabelOptions):
    """Hyper-parameters of soft labels beside detection losses, as in SoLAD."""

    cls_weight: float = Field(default=2.0, ge=0, le=1000)
    min_iou: float = Field(default=0.5, ge=0, lt=1)


@pydantic.dataclasses.dataclass(frozen=True, config=OPTIONS)
class SoftLabelTermOptions(SoLADOptions, TermOptions):
    """Hyper-parameters of the term `soft_label`: SoLAD's, and `weight` for all of its losses."""


@register_term("soft_label", "soft label", options=SoftLabelTermOptions)
def soft_label_term(inputs: TermInputs, options: SoftLabelTermOptions) -> dict[str, Tensor]:
    """Compute the losses of `soft_label_loss`: beside LAD's losses, this is SoLAD."""
    return weighted_soft_label_loss(inputs.student.outputs, inputs.teacher.outputs, inputs.context, options)


def weighted_soft_label_loss(
    student: HeadOutputs, teacher: HeadOutputs, context: AssignmentContext, options: SoftLabelOptions
) -> dict[str, Tensor]:
    """Compute the losses of `soft_label_loss` for a batch, with these options."""
    weights = options.cls_weight, options.iou_weight, options.box_weight
    return soft_label_loss(student, teacher, context.anchors, context.targets, *weights, options.min_iou)


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
    """Compute the losses between a student's and a teacher's outputs.

    A location counts for boxes and IoU logits when the teacher's box there has an IoU above `min_iou` with a gt of its
    image; locations in the padding do not count, and boxes are clipped to the image. All terms are divided by the sum
    of those IoUs. An image without gts contributes to soft_cls only; a batch without gts is divided by 1.

    Args:
        student_outputs: Outputs of the student, with gradients.
        teacher_outputs: Outputs of the teacher, without gradients.
        anchors: The A anchors of the batch.
        targets: The T gts of the batch.
        cls_weight: Weight of soft_cls.
        iou_weight: Weight of soft_iou.
        box_weight: Weight of soft_box.
        min_iou: IoU of a teacher's box with a gt above which the box's location counts.

    Returns:
        Weighted scalars. "soft_cls": focal-KL over all anchors and classes. "soft_box": GIoU loss between the two
        networks' boxes, weighted by the IoU of the teacher's box with the gt. "soft_iou": focal-KL of the IoU logits;
        absent if a head has no such branch.

    Source: LAD (Nguyen et al., WACV 2022), reductions as in the published code.
    """
    student, teacher = student_outputs, teacher_outputs
    cls = focal_kl(student.cls_logits.float(), teacher.cls_logits.float().sigmoid()).sum()
    clip_hw = targets.image_hw[:, None]
    teacher_boxes = decode_deltas(anchors.boxes, teacher.box_deltas.float(), clip_hw)  # [N, A, 4]
    overlap = _best_overlap(teacher_boxes, targets) * inside_images(anchors, targets.image_hw)  # [N, A]
    counts = overlap > min_iou
    weight = overlap * counts
    norm = mean_over_ranks(weight.sum())
    norm = torch.where(norm > 0, norm, 1 / world_size())  # gradients are averaged over ranks: their sum is divided by 1

    student_deltas = student.box_deltas.float().masked_fill(~counts[..., None], 0)
    student_boxes = decode_deltas(anchors.boxes, student_deltas, clip_hw)
    box = (box_giou_loss(student_boxes, teacher_boxes) * weight).sum()
    losses = {"soft_cls": cls_weight * cls / norm, "soft_box": box_weight * box / norm}
    if student.iou_logits is not None and teacher.iou_logits is not None:
        iou = (focal_kl(student.iou_logits.float(), teacher.iou_logits.float().sigmoid()) * counts).sum()
        losses["soft_iou"] = iou_weight * iou / norm
    return losses


def focal_kl(logits: Tensor, target: Tensor, gamma: float = 0.5) -> Tensor:
    """Compute ((p − σ(q))² + 1e-6)^(γ/2) · KL(p ‖ σ(q)), elementwise, of logits q and target probabilities p (LAD)."""
    entropy = -(torch.xlogy(target, target) + torch.xlogy(1 - target, 1 - target))
    divergence = F.binary_cross_entropy_with_logits(logits, target, reduction="none") - entropy
    return ((target - logits.sigmoid()) ** 2 + 1e-6) ** (gamma / 2) * divergence


def _best_overlap(boxes: Tensor, targets: Targets) -> Tensor:
    """Return the highest IoU [N, A] of each of `boxes` [N, A, 4] with a gt of its image; 0 without gts."""
    iou = box_iou(targets.boxes[:, None], boxes[targets.image])  # [T, A]
    image = targets.image[:, None].expand_as(iou)
    return iou.new_zeros(boxes.shape[:2]).scatter_reduce(0, image, iou, "amax")
