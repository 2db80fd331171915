"""CrossKD: the student's tower features through the rest of the teacher's head, whose outputs are the targets."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from lad.distillation.channel_statistics import channel_statistics, standardize
from lad.distillation.terms import TermInputs, TermOptions, register_term
from lad.geometry import Anchors, box_giou_loss, decode_deltas
from lad.structures import IGNORED, DetectorFeatures, HeadOutputs


@register_term("crosskd", "CrossKD", features=("cls_features", "reg_features"))
def crosskd_loss(inputs: TermInputs, options: TermOptions) -> dict[str, Tensor]:
    """Compute CrossKD's losses between the cross outputs and the teacher's.

    The class and box losses count all anchors that are not ignored, the IoU loss the positives; all are divided by the
    number of positives. The box loss is weighted by the teacher's highest class probability.
    Differs from the published code: a level of one position and one image, which has no standard deviation, counts
    nothing; there it makes the loss NaN.

    Source: CrossKD (Wang et al., CVPR 2024), its settings for ATSS.
    """
    cross, counts = cross_outputs(inputs.student, inputs.teacher, inputs.teacher_head)
    counted = counts[inputs.context.anchors.level] > 1  # [A]
    is_used = (inputs.gt_index != IGNORED) & counted  # [N, A]
    is_positive = (inputs.gt_index >= 0) & counted
    target, num_positive = inputs.teacher.outputs, inputs.num_positive()
    cls = imitation_per_anchor(cross.cls_logits, target.cls_logits) * is_used
    weight = target.cls_logits.float().sigmoid().amax(dim=-1) * is_used
    box = weight * box_loss_per_anchor(cross, target, inputs.context.anchors)
    losses = {"crosskd_cls": cls.sum() / num_positive, "crosskd_box": box.sum() / num_positive}
    if cross.iou_logits is not None and target.iou_logits is not None:
        iou = F.binary_cross_entropy_with_logits(
            cross.iou_logits.float(), target.iou_logits.float().sigmoid(), reduction="none"
        )
        losses["crosskd_iou"] = (iou * is_positive).sum() / num_positive
    return losses


def cross_outputs(
    student: DetectorFeatures, teacher: DetectorFeatures, teacher_head: nn.Module
) -> tuple[HeadOutputs, Tensor]:
    """Compute the outputs of the teacher's head on the student's tower features, rescaled to the teacher's statistics.

    Source: CrossKD, published code. It means to take the features before the ReLU of the third convolution, but that
    ReLU works in place, so its results are made of the features after it. They pass the ReLU once more.

    Returns:
        The cross outputs, and the number of values per channel of each level, [L].
    """
    cls_features, _ = _rescale(student.cls_features, teacher.cls_features)
    reg_features, counts = _rescale(student.reg_features, teacher.reg_features)
    predict: Callable[..., HeadOutputs] = teacher_head.predict_from_features  # type: ignore[assignment]
    return predict(cls_features, reg_features), counts


def _rescale(features: Sequence[Tensor], targets: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Give each channel of each level the mean and the standard deviation of the target's, then apply the ReLU."""
    features, targets = ([level.float() for level in levels] for levels in (features, targets))
    mean, std, counts = channel_statistics(features)
    target_mean, target_std, _ = channel_statistics(targets)
    normalized = standardize(features, mean, std)
    rescaled = [
        F.relu(level * own_std[:, None, None] + own_mean[:, None, None])
        for level, own_mean, own_std in zip(normalized, target_mean, target_std, strict=True)
    ]
    return rescaled, counts


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
