"""ResNet and ResNeXt, plain or deformable, built from torchvision's blocks so that its weights load."""

import functools
from typing import Any

from torch import Tensor, nn
from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.models.resnet import BasicBlock, Bottleneck

from lad.models.backbones.deform_conv import DeformConv2d
from lad.models.backbones.registry import Backbone, BackboneEntry, OpenMMLabFormat, register_backbone

Block = type[BasicBlock] | type[Bottleneck]


class ResNet(Backbone):
    """A ResNet without its classifier. Names are torchvision's and OpenMMLab's: conv1, bn1, layer1 … layer4.

    Args:
        block: torchvision's residual block.
        depths: Number of blocks of each stage.
        groups: Groups of the 3x3 convolutions, more than 1 for a ResNeXt.
        base_width: Channels per group in the first stage, for a ResNeXt.
        deformable: Whether the 3x3 convolutions of layer2 to layer4 (stages C3 to C5) are deformable.
        width: Factor on the numbers of channels.
        frozen_stages: −1 none, 0 the stem, 1 … 4 the stem and as many stages, statistics of BatchNorm included.
        norm_eval: Whether BatchNorm always uses its stored statistics, as with pretrained weights; from scratch it is
            trained.
    """

    def __init__(
        self,
        block: Block,
        depths: tuple[int, int, int, int],
        groups: int = 1,
        base_width: int = 64,
        deformable: bool = False,
        width: float = 1.0,
        frozen_stages: int = -1,
        norm_eval: bool = False,
    ) -> None:
        super().__init__()
        min_channels = max(8, 64 // base_width)  # each group needs one
        stem_channels, *planes = (max(min_channels, round(base * width)) for base in (64, 64, 128, 256, 512))
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        self.out_channels = tuple(plane * block.expansion for plane in planes[1:])
        self.conv1 = nn.Conv2d(3, stem_channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem_channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        in_channels = [stem_channels, *(plane * block.expansion for plane in planes)]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(block, depths[i], in_channels[i], planes[i], 1 if i == 0 else 2, groups, base_width)
            for i in range(4)
        )
        if deformable:
            for stage in (self.layer2, self.layer3, self.layer4):
                _make_deformable(stage)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, BasicBlock | Bottleneck):  # residual branches start silent (Goyal et al., 2017)
                nn.init.zeros_((module.bn3 if isinstance(module, Bottleneck) else module.bn2).weight)
        for module in self.modules():
            if isinstance(module, DeformConv2d):
                module.reset_offsets()
        for part in self._frozen_parts():
            part.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute C3, C4 and C5, at strides 8, 16 and 32, of images [N, 3, H, W]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        c3 = self.layer2(self.layer1(x))
        c4 = self.layer3(c3)
        return [c3, c4, self.layer4(c4)]

    def train(self, mode: bool = True) -> "ResNet":
        """Set the training mode; frozen BatchNorm layers stay in eval mode."""
        super().train(mode)
        fixed = [self] if self.norm_eval else self._frozen_parts()
        for module in (module for part in fixed for module in part.modules()):
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def _frozen_parts(self) -> list[nn.Module]:
        """Return the stem's layers and the stages that are frozen."""
        parts = [self.conv1, self.bn1, self.layer1, self.layer2, self.layer3, self.layer4]
        return parts[: self.frozen_stages + 2] if self.frozen_stages >= 0 else []


def _stage(
    block: Block, depth: int, in_channels: int, planes: int, stride: int, groups: int, base_width: int
) -> nn.Sequential:
    """Build a stage; its first block changes the stride and the number of channels."""
    out_channels = planes * block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    first = block(in_channels, planes, stride, downsample, groups, base_width)
    rest = (block(out_channels, planes, groups=groups, base_width=base_width) for _ in range(depth - 1))
    return nn.Sequential(first, *rest)


def _make_deformable(stage: nn.Sequential) -> None:
    """Replace the 3x3 convolution of every block."""
    for block in stage:
        plain = block.conv2
        assert isinstance(plain, nn.Conv2d)
        stride, padding = plain.stride[0], int(plain.padding[0])
        block.conv2 = DeformConv2d(plain.in_channels, plain.out_channels, 3, stride, padding, plain.groups)


def _register(name: str, title: str, imagenet: WeightsEnum, *layout: Any, **options: Any) -> None:
    """Register a ResNet."""
    register_backbone(name, BackboneEntry(title, functools.partial(ResNet, *layout, **options), imagenet))


_register("r18", "ResNet-18", models.ResNet18_Weights.IMAGENET1K_V1, BasicBlock, (2, 2, 2, 2))
_register("r34", "ResNet-34", models.ResNet34_Weights.IMAGENET1K_V1, BasicBlock, (3, 4, 6, 3))
_register("r50", "ResNet-50", models.ResNet50_Weights.IMAGENET1K_V1, Bottleneck, (3, 4, 6, 3))
_register("r101", "ResNet-101", models.ResNet101_Weights.IMAGENET1K_V1, Bottleneck, (3, 4, 23, 3))

_x101 = functools.partial(ResNet, Bottleneck, (3, 4, 23, 3), groups=64, base_width=4)
_x101_imagenet = models.ResNeXt101_64X4D_Weights.IMAGENET1K_V1
register_backbone("x101_64x4d", BackboneEntry("ResNeXt-101 64×4d", _x101, _x101_imagenet))
register_backbone(
    "x101_64x4d_dcn",
    BackboneEntry(
        "ResNeXt-101 64×4d, deformable convolutions v2 in C3–C5",
        functools.partial(_x101, deformable=True),
        _x101_imagenet,
        not_pretrained=r".*(num_batches_tracked|conv_offset\.(weight|bias))",
        openmmlab=OpenMMLabFormat(aliases=((r"conv2_offset\.", "conv2.conv_offset."),)),  # mmcv before 1.0
    ),
)
