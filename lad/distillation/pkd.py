"""PKD: the student's pyramid imitates the teacher's, up to the mean and scale of each channel."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lad.distillation.channel_statistics import channel_statistics, standardize
from lad.distillation.terms import TermInputs, TermOptions, register_term


@register_term("pkd", "PKD", features=("pyramid",))
def pkd_term(inputs: TermInputs, options: TermOptions) -> dict[str, Tensor]:
    """Compute `pkd_loss` of the pyramids of student and teacher."""
    return pkd_loss(inputs.student.pyramid, inputs.teacher.pyramid)


def pkd_loss(student_features: Sequence[Tensor], teacher_features: Sequence[Tensor]) -> dict[str, Tensor]:
    """Compute PKD's loss "pkd", the sum of `pkd_per_level`.

    Source: PKD (Cao et al., NeurIPS 2022), with the weights of the CrossKD authors' settings.

    Args:
        student_features: P3 … P7, each [N, channels, h, w], with gradients.
        teacher_features: Likewise of the teacher, without gradients.
    """
    return {"pkd": pkd_per_level(student_features, teacher_features).sum()}


def pkd_per_level(student_features: Sequence[Tensor], teacher_features: Sequence[Tensor]) -> Tensor:
    """Compute half the mean squared difference of the standardized features, [number of levels].

    Differs from the published code: a level of one position and one image, which has no standard deviation, has loss
    zero, not NaN.
    """
    normalized = []
    for features in (student_features, teacher_features):
        levels = [level.float() for level in features]
        normalized.append(standardize(levels, *channel_statistics(levels)))
    return torch.stack([(own - other).square().mean() / 2 for own, other in zip(*normalized, strict=True)])
