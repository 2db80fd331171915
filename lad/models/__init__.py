"""Networks: torchvision backbones, the feature pyramid, the PAA head, and OpenMMLab's names for them."""

from lad.models.detector import HEADS, Detector, build_detector
from lad.models.outputs import HeadOutputs

__all__ = ["HEADS", "Detector", "HeadOutputs", "build_detector"]
