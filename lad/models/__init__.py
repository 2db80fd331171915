"""Networks: backbones, the feature pyramid, the PAA head, and their files, ours and OpenMMLab's."""

from lad.models.backbone import BACKBONES
from lad.models.checkpoint import load_detector, save_detector, save_openmmlab
from lad.models.detector import Configuration, Detector, build_detector
from lad.models.head import HEADS
from lad.models.outputs import HeadOutputs

__all__ = [
    "BACKBONES",
    "HEADS",
    "Configuration",
    "Detector",
    "HeadOutputs",
    "build_detector",
    "load_detector",
    "save_detector",
    "save_openmmlab",
]
