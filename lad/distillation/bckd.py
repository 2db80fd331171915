"""BCKD: class probabilities as binary classifications, and boxes by IoU, on the student's own outputs."""

import pydantic.dataclasses
from pydantic import Field
from torch import Tensor

from lad.distillation.crosskd import box_loss_per_anchor, imitation_per_anchor
from lad.distillation.terms import TermInputs, TermOptions, count_positives, register_term
from lad.geometry import Anchors
from lad.structures import IGNORED, HeadOutputs, Targets
from lad.utils.options import OPTIONS

BOX_WEIGHT = 4.0


@pydantic.dataclasses.dataclass(frozen=True, config=OPTIONS)
class BCKDOptions(TermOptions):
    """Hyper-parameters of BCKD.

    Attributes:
        box_weight: Factor on the box loss, beside `weight`.
    """

    box_weight: float = Field(default=BOX_WEIGHT, ge=0, le=1000)


@register_term("bckd", "BCKD", options=BCKDOptions)
def bckd_term(inputs: TermInputs, options: BCKDOptions) -> dict[str, Tensor]:
    """Compute `bckd_loss` of the outputs of student and teacher."""
    student, teacher, context = inputs.student.outputs, inputs.teacher.outputs, inputs.context
    return bckd_loss(student, teacher, inputs.gt_index, context.anchors, context.targets, options.box_weight)


def bckd_loss(
    student_outputs: HeadOutputs,
    teacher_outputs: HeadOutputs,
    gt_index: Tensor,
    anchors: Anchors,
    targets: Targets,
    box_weight: float = BOX_WEIGHT,
) -> dict[str, Tensor]:
    """Compute BCKD's losses over the anchors that are not ignored, divided by the number of positives.

    The box loss of an anchor is weighted by the largest difference of its class probabilities, without gradient.
    Differs from the published code, which leaves out levels without positives.

    Source: BCKD (Yang et al., ICCV 2023).

    Args:
        student_outputs: Outputs of the student, with gradients.
        teacher_outputs: Outputs of the teacher, without gradients.
        gt_index: [N, A], the assignment that the student learns.
        anchors: The A anchors of the batch.
        targets: The gts of the batch; not read, since the teacher's outputs are the targets.
        box_weight: Factor on the box loss.

    Returns:
        Scalars "bckd_cls" and "bckd_box".
    """
    is_used, num_positive = gt_index != IGNORED, count_positives(gt_index)
    cls = imitation_per_anchor(student_outputs.cls_logits, teacher_outputs.cls_logits) * is_used
    probability, target = (
        outputs.cls_logits.detach().float().sigmoid() for outputs in (student_outputs, teacher_outputs)
    )
    weight = (probability - target).abs().amax(dim=-1) * is_used
    box = weight * box_loss_per_anchor(student_outputs, teacher_outputs, anchors)
    return {"bckd_cls": cls.sum() / num_positive, "bckd_box": box_weight * box.sum() / num_positive}
