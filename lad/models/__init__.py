"""Networks: backbones, feature pyramid, heads and their checkpoint files."""

from lad.models.backbones.registry import BACKBONES
from lad.models.detector import Configuration, Detector, build_detector
from lad.models.heads.registry import HEADS
from lad.models.serialization import load_detector, save_detector, save_openmmlab
from lad.models.student_teacher import StudentTeacherPair

__all__ = [
    "BACKBONES",
    "HEADS",
    "Configuration",
    "Detector",
    "StudentTeacherPair",
    "build_detector",
    "load_detector",
    "save_detector",
    "save_openmmlab",
]
