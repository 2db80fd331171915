"""BCKD: class probabilities as binary classifications, and boxes by IoU, on the student's own outputs."""

import pydantic.dataclasses
from pydantic import Field
from torch import Tensor

from lad.distillation.crosskd import box_loss_per_anchor, imitation_per_anchor
from lad.distillation.terms import TermInputs, TermOptions, register_term
from lad.structures import IGNORED
from lad.utils.options import OPTIONS


@pydantic.dataclasses.dataclass(frozen=True, config=OPTIONS)
class BCKDOptions(TermOptions):
    """Hyper-parameters of BCKD.

    Attributes:
        box_weight: Factor on the box loss, beside `weight`.
    """

    box_weight: float = Field(default=4.0, ge=0, le=1000)


@register_term("bckd", "BCKD", options=BCKDOptions)
def bckd_loss(inputs: TermInputs, options: BCKDOptions) -> dict[str, Tensor]:
    """Compute BCKD's losses over the anchors that are not ignored, divided by the number of positives.

    The box loss of an anchor is weighted by the largest difference of its class probabilities, without gradient.
    Differs from the published code, which leaves out levels without positives.

    Source: BCKD (Yang et al., ICCV 2023).
    """
    is_used, num_positive = inputs.gt_index != IGNORED, inputs.num_positive()
    student, teacher = inputs.student.outputs, inputs.teacher.outputs
    cls = imitation_per_anchor(student.cls_logits, teacher.cls_logits) * is_used
    difference = (student.cls_logits.detach().float().sigmoid() - teacher.cls_logits.float().sigmoid()).abs()
    weight = difference.amax(dim=-1) * is_used
    box = weight * box_loss_per_anchor(student, teacher, inputs.context.anchors)
    return {"bckd_cls": cls.sum() / num_positive, "bckd_box": options.box_weight * box.sum() / num_positive}
