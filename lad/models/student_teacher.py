"""Two detectors that are trained together, for co-learning."""

from torch import Tensor, nn

from lad.models.adapter import AdaptedStudent
from lad.models.detector import Detector
from lad.structures import HeadOutputs


class StudentTeacherPair(nn.Module):
    """Both networks as one module, for the optimizer, the checkpoint and distributed training."""

    def __init__(self, student: Detector, teacher: Detector) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher

    def forward(self, images: Tensor) -> tuple[HeadOutputs, HeadOutputs]:
        """Compute (student's, teacher's) outputs of images [N, 3, H, W]."""
        return self.student(images), self.teacher(images)


TrainedNetwork = Detector | AdaptedStudent | StudentTeacherPair  # what a run trains


def detectors_of(network: TrainedNetwork) -> dict[str, Detector]:
    """Return the detectors that a run trains, evaluates and saves: "student" and, in co-learning, "teacher"."""
    if isinstance(network, StudentTeacherPair):
        return {"student": network.student, "teacher": network.teacher}
    return {"student": network.student if isinstance(network, AdaptedStudent) else network}
