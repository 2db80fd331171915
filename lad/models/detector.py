"""The detector: backbone → feature pyramid → head."""

from dataclasses import dataclass

from torch import Tensor, nn

from lad.models.backbones.registry import BACKBONES, Backbone, build_backbone, load_backbone_weights
from lad.models.fpn import FPN
from lad.models.heads.paa import HEADS, MIN_CHANNELS, NORM_GROUPS, PAAHead
from lad.structures import HeadOutputs


@dataclass(frozen=True)
class Configuration:
    """What a network is built from and how it wants its images: all that its weights do not say.

    class_names: of labels 0 … C−1; empty if they are not known. short_side, long_side: of test images in pixels.
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
    """images [N, 3, H, W], normalized and padded to a multiple of 32 → `HeadOutputs` over the anchors of (H, W)."""

    def __init__(self, backbone: Backbone, fpn: FPN, head: PAAHead, configuration: Configuration) -> None:
        super().__init__()
        self.backbone, self.fpn, self.head = backbone, fpn, head
        self.configuration = configuration

    def forward(self, images: Tensor) -> HeadOutputs:
        return self.head(self.fpn(self.backbone(images)))


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
    """A PAA detector.

    backbone: one of `BACKBONES`. width: factor on the backbone's channels. head, iou_branch: see `PAAHead`. channels:
    of the pyramid and the head, a multiple of 32 from 64 on. weights: "none", "imagenet" or a local file of a
    classification network. frozen_stages, norm_eval: see `ResNet`; the paper's setting is 1 and True with ImageNet
    weights.

    Raises ValueError for a name or number that does not fit, and when weights cannot be had.
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
    return Detector(
        body,
        FPN(body.out_channels, channels),
        PAAHead(channels, num_classes, head, iou_branch, from_scratch=weights == "none"),
        Configuration(backbone, num_classes, width, head, iou_branch, channels),
    )
