"""The detector: backbone → feature pyramid → head."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lad.models.backbones.registry import BACKBONES, Backbone, build_backbone, load_backbone_weights
from lad.models.fpn import FPN
from lad.models.heads.paa import MIN_CHANNELS, NORM_GROUPS
from lad.models.heads.registry import HEADS
from lad.structures import DetectorFeatures, HeadOutputs


@dataclass(frozen=True)
class Configuration:
    """Everything about a detector that its weights do not contain.

    Attributes:
        backbone: A key of `BACKBONES`.
        num_classes: Number of classes C.
        width: Factor on the backbone's numbers of channels.
        head: A key of `HEADS`.
        iou_branch: Whether the head predicts IoUs.
        channels: Number of channels of the pyramid and the head.
        class_names: Names of labels 0 … C−1; empty if unknown.
        short_side: Short side of test images, in pixels.
        long_side: Maximal long side of test images, in pixels.
    """

    backbone: str
    num_classes: int
    width: float = 1.0
    head: str = "paa"
    iou_branch: bool = True
    channels: int = 256
    class_names: tuple[str, ...] = ()
    short_side: int = 800
    long_side: int = 1333


class Detector(nn.Module):
    """A detector on prepared batches; `lad.predict(detector, images)` takes images of any kind and size."""

    def __init__(self, backbone: Backbone, fpn: FPN, head: nn.Module, configuration: Configuration) -> None:
        super().__init__()
        self.backbone, self.fpn, self.head = backbone, fpn, head
        self.configuration = configuration

    def forward(self, images: Tensor, with_features: bool = False) -> HeadOutputs | DetectorFeatures:
        """Compute the head's outputs over the anchors of (H, W).

        Args:
            images: [N, 3, H, W], normalized and padded to multiples of 32.
            with_features: Whether to return also the features behind the outputs.
        """
        pyramid = self.fpn(self.backbone(images))
        if not with_features:
            return self.head(pyramid)
        head: Any = self.head
        cls_features, reg_features = head.tower_features(pyramid)
        outputs = head.predict_from_features(cls_features, reg_features)
        return DetectorFeatures(outputs, tuple(pyramid), cls_features, reg_features)


def build_detector(
    backbone: str,
    num_classes: int,
    width: float = 1.0,
    head: str = "paa",
    *,
    iou_branch: bool = True,
    channels: int = 256,
    weights: str = "none",
    frozen_stages: int = -1,
    norm_eval: bool = False,
) -> Detector:
    """Build a detector.

    The paper's setting is frozen_stages=1 and norm_eval=True with ImageNet weights.

    Args:
        backbone: A key of `BACKBONES`.
        num_classes: Number of classes.
        width: Factor on the backbone's numbers of channels.
        head: A key of `HEADS`.
        iou_branch: Whether the head predicts IoUs.
        channels: Number of channels of the pyramid and the head: 64 or another multiple of 32.
        weights: "none", "imagenet", or the path of a classification network's weights.
        frozen_stages: −1 none, 0 the stem, 1 … 4 the stem and as many stages are not trained.
        norm_eval: Whether BatchNorm always uses its stored statistics.

    Raises:
        ValueError: If a name is unknown, a number is out of range, or the weights cannot be loaded.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"backbone '{backbone}' is unknown; choose one of {', '.join(BACKBONES)}")
    if head not in HEADS:
        raise ValueError(f"head '{head}' is unknown; choose one of {', '.join(HEADS)}")
    if num_classes < 1 or width <= 0:
        raise ValueError(f"num_classes={num_classes} must be 1 or more and width={width} more than 0")
    if not -1 <= frozen_stages <= 4:
        raise ValueError(f"frozen_stages={frozen_stages} must lie between -1 (none) and 4 (all)")
    if channels < MIN_CHANNELS or channels % NORM_GROUPS:
        raise ValueError(f"channels={channels} must be {MIN_CHANNELS} or another multiple of {NORM_GROUPS}")
    body = build_backbone(backbone, width, frozen_stages, norm_eval)
    if weights != "none":
        load_backbone_weights(body, backbone, weights)
    from_scratch = weights == "none"
    return Detector(
        body,
        FPN(body.out_channels, channels),
        HEADS[head].build(channels, num_classes, iou_branch=iou_branch, from_scratch=from_scratch),
        Configuration(backbone, num_classes, width, head, iou_branch, channels),
    )
