"""PKD: the student's pyramid imitates the teacher's, up to the mean and scale of each channel."""

import torch
from torch import Tensor

from lad.distillation.channel_statistics import channel_statistics, standardize
from lad.distillation.terms import TermInputs, TermOptions, register_term
from lad.structures import DetectorFeatures


@register_term("pkd", "PKD", features=("pyramid",))
def pkd_loss(inputs: TermInputs, options: TermOptions) -> dict[str, Tensor]:
    """Compute PKD's loss, the sum of `pkd_per_level`.

    Source: PKD (Cao et al., NeurIPS 2022), weighted as for GFL and FCOS there.
    """
    return {"pkd": pkd_per_level(inputs.student, inputs.teacher).sum()}


def pkd_per_level(student: DetectorFeatures, teacher: DetectorFeatures) -> Tensor:
    """Compute half the mean squared difference of the standardized features, [number of levels].

    Differs from the published code: a level of one position and one image, which has no standard deviation, has loss
    zero, not NaN.
    """
    normalized = []
    for network in (student, teacher):
        levels = [level.float() for level in network.pyramid]
        mean, std, _ = channel_statistics(levels)
        normalized.append(standardize(levels, mean, std))
    return torch.stack([(own - other).square().mean() / 2 for own, other in zip(*normalized, strict=True)])
