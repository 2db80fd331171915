"""Adapters between a student's features and those of a teacher with another number of channels."""

from collections.abc import Sequence

from torch import Tensor, nn

from lad.models.detector import Detector
from lad.structures import DetectorFeatures, HeadOutputs


class AdaptedStudent(nn.Module):
    """A student and the 1×1 convolutions behind its features, which are trained with it and then left out.

    Args:
        student: The detector in training.
        features: Fields of `DetectorFeatures` that a distillation term reads.
        channels: Number of channels of the teacher's pyramid and head.
    """

    def __init__(self, student: Detector, features: Sequence[str], channels: int) -> None:
        super().__init__()
        self.student = student
        own = student.configuration.channels
        self.adapters = nn.ModuleDict({name: nn.Conv2d(own, channels, 1) for name in features})

    def forward(self, images: Tensor, with_features: bool = False) -> HeadOutputs | DetectorFeatures:
        """Compute the student's outputs and, if requested, its features with the teacher's number of channels."""
        result = self.student(images, with_features=with_features)
        if not isinstance(result, DetectorFeatures):
            return result
        adapted = {name: tuple(map(adapter, getattr(result, name))) for name, adapter in self.adapters.items()}
        return DetectorFeatures(**{**result._asdict(), **adapted})
