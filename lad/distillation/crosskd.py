"""CrossKD: the student's tower features through the rest of the teacher's head, whose outputs are the targets."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from lad.distillation.channel_statistics import channel_statistics, standardize
from lad.distillation.terms import TermInputs, TermOptions, count_positives, register_term
from lad.geometry import Anchors, box_giou_loss, decode_deltas
from lad.losses import world_size
from lad.structures import IGNORED, DetectorFeatures, HeadOutputs, Targets


@register_term("crosskd", "CrossKD", features=("cls_features", "reg_features"))
def crosskd_term(inputs: TermInputs, options: TermOptions) -> dict[str, Tensor]:
    """Compute `crosskd_loss` of the student's tower features through the teacher's head."""
    cross = cross_outputs(inputs.student, inputs.teacher, inputs.teacher_head)
    return crosskd_loss(cross, inputs.teacher.outputs, inputs.gt_index, inputs.context.anchors, inputs.context.targets)


def crosskd_loss(
    cross_outputs: HeadOutputs, teacher_outputs: HeadOutputs, gt_index: Tensor, anchors: Anchors, targets: Targets
) -> dict[str, Tensor]:
    """Compute CrossKD's losses between the cross outputs and the teacher's.

    The class and box losses count all anchors that are not ignored, the IoU loss the positives; all are divided by the
    number of positives. The box loss is weighted by the teacher's highest class probability.
    Differs from the published code: a level of one position and one image, which has no standard deviation, counts
    nothing; there it makes the loss NaN.

    Source: CrossKD (Wang et al., CVPR 2024), its settings for ATSS.

    Args:
        cross_outputs: Outputs of the teacher's head on the student's features, with gradients.
        teacher_outputs: Outputs of the teacher, without gradients.
        gt_index: [N, A], the assignment that the student learns.
        anchors: The A anchors of the batch.
        targets: The gts of the batch; not read, since the teacher's outputs are the targets.

    Returns:
        Scalars "crosskd_cls", "crosskd_box" and, for a head with the IoU branch, "crosskd_iou".
    """
    cross, teacher, num_positive = cross_outputs, teacher_outputs, count_positives(gt_index)
    has_std = _values_per_level(anchors, len(gt_index))[anchors.level] > 1  # [A]
    is_used = (gt_index != IGNORED) & has_std  # [N, A]
    cls = imitation_per_anchor(cross.cls_logits, teacher.cls_logits) * is_used
    weight = teacher.cls_logits.float().sigmoid().amax(dim=-1) * is_used
    box = weight * box_loss_per_anchor(cross, teacher, anchors)
    losses = {"crosskd_cls": cls.sum() / num_positive, "crosskd_box": box.sum() / num_positive}
    if cross.iou_logits is not None and teacher.iou_logits is not None:
        target = teacher.iou_logits.float().sigmoid()
        iou = F.binary_cross_entropy_with_logits(cross.iou_logits.float(), target, reduction="none")
        losses["crosskd_iou"] = (iou * ((gt_index >= 0) & has_std)).sum() / num_positive
    return losses


def cross_outputs(student: DetectorFeatures, teacher: DetectorFeatures, teacher_head: nn.Module) -> HeadOutputs:
    """Compute the outputs of the teacher's head on the student's tower features, rescaled to the teacher's statistics.

    Source: CrossKD, published code. It means to take the features before the ReLU of the third convolution, but that
    ReLU works in place, so its results are made of the features after it. They pass the ReLU once more.
    """
    predict: Callable[..., HeadOutputs] = teacher_head.predict_from_features  # type: ignore[assignment]
    return predict(
        _rescale(student.cls_features, teacher.cls_features), _rescale(student.reg_features, teacher.reg_features)
    )


def _rescale(features: Sequence[Tensor], targets: Sequence[Tensor]) -> list[Tensor]:
    """Give each channel of each level the mean and the standard deviation of the target's, then apply the ReLU."""
    features, targets = ([level.float() for level in levels] for levels in (features, targets))
    normalized = standardize(features, *channel_statistics(features))
    return [
        F.relu(level * std[:, None, None] + mean[:, None, None])
        for level, mean, std in zip(normalized, *channel_statistics(targets), strict=True)
    ]


def _values_per_level(anchors: Anchors, num_images: int) -> Tensor:
    """Return the number of values of a channel on each level, [L], over all processes if they have as many images."""
    return num_images * world_size() * anchors.level_hw.prod(dim=1)


def imitation_per_anchor(logits: Tensor, target_logits: Tensor) -> Tensor:
    """Compute |σ(q) − p| · BCE(q, p), summed over the classes: [N, A], of logits q and target probabilities p.

    Gradients pass through both factors, as in the published CrossKD and BCKD.

    Args:
        logits: [N, A, C].
        target_logits: [N, A, C], without gradients.
    """
    logits, target = logits.float(), target_logits.float().sigmoid()
    difference = (logits.sigmoid() - target).abs()
    return (difference * F.binary_cross_entropy_with_logits(logits, target, reduction="none")).sum(dim=-1)


def box_loss_per_anchor(outputs: HeadOutputs, target: HeadOutputs, anchors: Anchors) -> Tensor:
    """Compute the GIoU loss [N, A] between the boxes of two networks at each anchor."""
    boxes, target_boxes = (decode_deltas(anchors.boxes, network.box_deltas.float()) for network in (outputs, target))
    return box_giou_loss(boxes, target_boxes)
