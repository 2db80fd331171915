"""The detector: backbone → feature pyramid → head."""

from torch import Tensor, nn

from lad.models.backbone import BACKBONES, ResNet, load_backbone_weights
from lad.models.fpn import FPN
from lad.models.head import MIN_CHANNELS, NORM_GROUPS, PAAHead
from lad.models.outputs import HeadOutputs

HEADS = ("paa",)


class Detector(nn.Module):
    """images [N, 3, H, W], normalised and padded to a multiple of 32 → `HeadOutputs` over the anchors of (H, W)."""

    def __init__(self, backbone: ResNet, fpn: FPN, head: PAAHead) -> None:
        super().__init__()
        self.backbone, self.fpn, self.head = backbone, fpn, head

    def forward(self, images: Tensor) -> HeadOutputs:
        return self.head(self.fpn(self.backbone(images)))


def build_detector(
    backbone: str,
    num_classes: int,
    width: float = 1.0,
    head: str = "paa",
    *,
    channels: int = 256,
    weights: str = "none",
    frozen_stages: int = -1,
    norm_eval: bool = False,
) -> Detector:
    """A PAA detector.

    backbone: r18, r34, r50 or r101. width: factor on the backbone's channels. channels: of the pyramid and the head, a
    multiple of 32 from 64 on. weights: "none", "imagenet" or a local file of a torchvision classification network.
    frozen_stages, norm_eval: see `ResNet`; the paper's setting is 1 and True with ImageNet weights.

    Raises ValueError for a name or number that does not fit, and when weights cannot be had.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"backbone '{backbone}' is unknown; choose one of {', '.join(BACKBONES)}")
    if head not in HEADS:
        raise ValueError(f"head '{head}' is unknown; choose one of {', '.join(HEADS)}")
    if channels < MIN_CHANNELS or channels % NORM_GROUPS:
        raise ValueError(f"channels={channels} must be {MIN_CHANNELS} or another multiple of {NORM_GROUPS}")
    body = ResNet(backbone, width, frozen_stages, norm_eval)
    if weights != "none":
        load_backbone_weights(body, backbone, weights)
    return Detector(body, FPN(body.out_channels, channels), PAAHead(channels, num_classes, weights == "none"))
