"""Two detectors that train together, as co-learning needs them."""

from torch import Tensor, nn

from lad.models.detector import Detector
from lad.structures import HeadOutputs


class StudentTeacherPair(nn.Module):
    """images → the outputs of both networks: one module for the optimizer, the checkpoint and distributed training."""

    def __init__(self, student: Detector, teacher: Detector) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher

    def forward(self, images: Tensor) -> tuple[HeadOutputs, HeadOutputs]:
        return self.student(images), self.teacher(images)
