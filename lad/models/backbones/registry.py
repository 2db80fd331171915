"""The backbones by name, and their ImageNet weights."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.models.resnet import BasicBlock, Bottleneck

from lad.models.backbones.resnet import ResNet
from lad.models.backbones.swin import Swin, torchvision_names
from lad.models.safe_load import read_tensors

Backbone = ResNet | Swin


class Architecture(NamedTuple):
    """build: given width and frozen_stages. imagenet: torchvision's weights, None where it has none."""

    build: Callable[..., Backbone]
    imagenet: WeightsEnum | None


def _resnet(imagenet: WeightsEnum, *layout: Any, **options: Any) -> Architecture:
    return Architecture(functools.partial(ResNet, *layout, **options), imagenet)


def _swin(imagenet: WeightsEnum | None, *layout: Any, **options: Any) -> Architecture:
    return Architecture(functools.partial(Swin, *layout, **options), imagenet)


X101 = (models.ResNeXt101_64X4D_Weights.IMAGENET1K_V1, Bottleneck, (3, 4, 23, 3))
ARCHITECTURES: dict[str, Architecture] = {
    "r18": _resnet(models.ResNet18_Weights.IMAGENET1K_V1, BasicBlock, (2, 2, 2, 2)),
    "r34": _resnet(models.ResNet34_Weights.IMAGENET1K_V1, BasicBlock, (3, 4, 6, 3)),
    "r50": _resnet(models.ResNet50_Weights.IMAGENET1K_V1, Bottleneck, (3, 4, 6, 3)),
    "r101": _resnet(models.ResNet101_Weights.IMAGENET1K_V1, Bottleneck, (3, 4, 23, 3)),
    "x101_64x4d": _resnet(*X101, groups=64, base_width=4),
    "x101_64x4d_dcn": _resnet(*X101, groups=64, base_width=4, deformable=True),
    "swin_t": _swin(models.Swin_T_Weights.IMAGENET1K_V1, (2, 2, 6, 2), (3, 6, 12, 24)),
    "swin_s": _swin(models.Swin_S_Weights.IMAGENET1K_V1, (2, 2, 18, 2), (3, 6, 12, 24)),
    "swin_b": _swin(models.Swin_B_Weights.IMAGENET1K_V1, (2, 2, 18, 2), (4, 8, 16, 32), stochastic_depth=0.3),
    "swin_b_w12": _swin(None, (2, 2, 18, 2), (4, 8, 16, 32), window=12, stochastic_depth=0.3),
}
BACKBONES = tuple(ARCHITECTURES)


def build_backbone(name: str, width: float = 1.0, frozen_stages: int = -1, norm_eval: bool = False) -> Backbone:
    """A backbone: images → C3, C4, C5, with `.out_channels`. norm_eval is for BatchNorm, which a Swin has not."""
    build = ARCHITECTURES[name].build
    if name.startswith("swin"):
        return build(width=width, frozen_stages=frozen_stages)
    return build(width=width, frozen_stages=frozen_stages, norm_eval=norm_eval)


def load_backbone_weights(backbone: Backbone, name: str, weights: str) -> None:
    """Load classification weights in place: "imagenet" takes torchvision's from its cache or the net; anything else is
    a local file of a state dict under torchvision's names or, for a Swin, the original code's or timm's. The
    classifier in it is left out; what a classifier has not (offsets, a Swin's output norms) keeps its initialization.

    Raises ValueError, with what to do, when they cannot be had or do not fit.
    """
    state = _imagenet_state(name) if weights == "imagenet" else read_tensors(Path(weights), f"weights '{weights}'")
    if isinstance(backbone, Swin):
        state = torchvision_names(state)
    state = {key: value for key, value in state.items() if not key.startswith(("fc.", "head.", "norm."))}
    own = backbone.state_dict()
    absent_in_classifiers = ("conv_offset.weight", "conv_offset.bias", "relative_position_index", "num_batches_tracked")
    kept = {key: own[key] for key in own if key.startswith("norms.") or key.endswith(absent_in_classifiers)}
    try:
        backbone.load_state_dict({**kept, **state})
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"weights '{weights}' do not fit backbone {name} (width 1 is needed): {reason}") from None


def _imagenet_state(name: str) -> Mapping[str, Tensor]:
    weights = ARCHITECTURES[name].imagenet
    if weights is None:
        raise ValueError(
            f"weights 'imagenet': torchvision has none of {name}; pass weights=<path of the original or timm's file>"
        )
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(weights.url, str(file), _hash_in(file.name), progress=False)
        except (OSError, RuntimeError) as error:  # unreachable; not the hash in its name
            raise ValueError(
                f"weights 'imagenet' for {name} could not be downloaded ({error}); fetch {weights.url} on a machine "
                f"with internet and put it at {file}, or pass weights=<its path>, or weights='none' to train from "
                "scratch"
            ) from None
    return read_tensors(file, f"weights 'imagenet' at {file}")


def _hash_in(file_name: str) -> str:
    """torchvision names its files <network>-<first digits of the SHA-256>.pth."""
    return file_name.removesuffix(".pth").rsplit("-", 1)[1]
