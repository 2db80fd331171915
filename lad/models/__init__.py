"""Networks: backbones, the feature pyramid, the PAA head, and their files, ours and OpenMMLab's."""

from lad.models.backbone import BACKBONES
from lad.models.checkpoint import load_detector, save_detector, save_openmmlab
from lad.models.detector import Configuration, Detector, build_detector
from lad.models.head import HEADS
from lad.models.outputs import HeadOutputs
from lad.models.pair import Pair

__all__ = [
    "BACKBONES",
    "HEADS",
    "Configuration",
    "Detector",
    "HeadOutputs",
    "Pair",
    "build_detector",
    "load_detector",
    "save_detector",
    "save_openmmlab",
]
