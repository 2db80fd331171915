"""ResNets that give the feature maps C3, C4 and C5, built from torchvision's blocks so that its weights load."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, ResNet34_Weights, ResNet50_Weights, ResNet101_Weights, WeightsEnum
from torchvision.models.resnet import BasicBlock, Bottleneck

LAYOUTS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int], WeightsEnum]] = {
    "r18": (BasicBlock, (2, 2, 2, 2), ResNet18_Weights.IMAGENET1K_V1),
    "r34": (BasicBlock, (3, 4, 6, 3), ResNet34_Weights.IMAGENET1K_V1),
    "r50": (Bottleneck, (3, 4, 6, 3), ResNet50_Weights.IMAGENET1K_V1),
    "r101": (Bottleneck, (3, 4, 23, 3), ResNet101_Weights.IMAGENET1K_V1),
}
BACKBONES = tuple(LAYOUTS)


class ResNet(nn.Module):
    """A ResNet without its classifier. Names are torchvision's and OpenMMLab's: conv1, bn1, layer1 … layer4.

    width: factor on every channel count. frozen_stages: −1 nothing, 0 the stem, 1 … 4 the stem and as many stages are
    neither trained nor their statistics updated. norm_eval: BatchNorm always uses its stored statistics (for
    pretrained weights); False trains it as usual (from scratch).
    """

    def __init__(self, name: str, width: float = 1.0, frozen_stages: int = -1, norm_eval: bool = False) -> None:
        super().__init__()
        block, depths, _ = LAYOUTS[name]
        stem_channels, *planes = (max(8, round(base * width)) for base in (64, 64, 128, 256, 512))
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        self.out_channels = tuple(plane * block.expansion for plane in planes[1:])
        self.conv1 = nn.Conv2d(3, stem_channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem_channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        in_channels = [stem_channels, *(plane * block.expansion for plane in planes)]
        self.layer1 = _stage(block, depths[0], in_channels[0], planes[0], stride=1)
        self.layer2 = _stage(block, depths[1], in_channels[1], planes[1], stride=2)
        self.layer3 = _stage(block, depths[2], in_channels[2], planes[2], stride=2)
        self.layer4 = _stage(block, depths[3], in_channels[3], planes[3], stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, BasicBlock | Bottleneck):  # residual branches start silent (Goyal et al., 2017)
                nn.init.zeros_((module.bn3 if isinstance(module, Bottleneck) else module.bn2).weight)
        for part in self._frozen_parts():
            part.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """images [N, 3, H, W] → C3, C4, C5 at strides 8, 16 and 32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        c3 = self.layer2(self.layer1(x))
        c4 = self.layer3(c3)
        return [c3, c4, self.layer4(c4)]

    def train(self, mode: bool = True) -> "ResNet":
        super().train(mode)
        fixed = [self] if self.norm_eval else self._frozen_parts()
        for module in (module for part in fixed for module in part.modules()):
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def _frozen_parts(self) -> list[nn.Module]:
        parts = [self.conv1, self.bn1, self.layer1, self.layer2, self.layer3, self.layer4]
        return parts[: self.frozen_stages + 2] if self.frozen_stages >= 0 else []


def load_backbone_weights(backbone: ResNet, name: str, weights: str) -> None:
    """Load classification weights in place: "imagenet" takes torchvision's from its cache or the net; anything else is
    a local file of a torchvision state dict. The classifier in it is left out.

    Raises ValueError, with what to do, when they cannot be had or do not fit.
    """
    state = _imagenet_state(name) if weights == "imagenet" else _state_from_file(Path(weights))
    state = {key: value for key, value in state.items() if not key.startswith("fc.")}
    try:
        backbone.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"weights '{weights}' do not fit backbone {name} (width 1 is needed): {reason}") from None


def _imagenet_state(name: str) -> Mapping[str, Tensor]:
    weights = LAYOUTS[name][2]
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
        raise ValueError(
            f"weights 'imagenet' for {name} could not be downloaded ({error}); fetch {weights.url} on a machine with "
            f"internet and put it at {file}, or pass weights=<its path>, or weights='none' to train from scratch"
        ) from None


def _state_from_file(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise ValueError(f"weights '{path}': no such file; give 'imagenet', 'none', or the path of a torchvision file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"weights '{path}': refused, as it is not a file of tensors alone ({reason})") from None


def _stage(
    block: type[BasicBlock] | type[Bottleneck], depth: int, in_channels: int, planes: int, stride: int
) -> nn.Sequential:
    out_channels = planes * block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    first = block(in_channels, planes, stride, downsample)
    return nn.Sequential(first, *(block(out_channels, planes) for _ in range(depth - 1)))
