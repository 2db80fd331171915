"""The registry of backbones: one entry per name, and the loading of classification weights."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from lad.models.parts import split_name
from lad.models.safe_load import read_tensors
from lad.utils.download import download

DETECTOR_NAMES = ("neck.", "bbox_head.", "fpn.", "head.cls.")  # beginnings that no classifier has: OpenMMLab's, ours


class Backbone(nn.Module):
    """The contract of a backbone: images [N, 3, H, W] → features [C3, C4, C5] at strides 8, 16 and 32.

    Attributes:
        out_channels: Numbers of channels of C3, C4 and C5.
    """

    out_channels: tuple[int, ...]


@dataclass(frozen=True)
class OpenMMLabFormat:
    """How OpenMMLab's checkpoints store a backbone. Names are relative to the backbone.

    Attributes:
        rules: (pattern of our names, OpenMMLab's name) for names that differ; the first full match counts.
        aliases: (pattern of OpenMMLab's names, replacement): names of older versions → current ones.
        optional: Endings of our names that a checkpoint may lack; these tensors keep their initialization.
        derived: Endings of our names of buffers that follow from the architecture: written, but never read.
        decode: (our name, OpenMMLab's tensor) → our tensor, where the layouts differ.
        encode: (our name, our tensor) → OpenMMLab's tensor: the inverse of `decode`.
    """

    rules: tuple[tuple[str, str], ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    optional: tuple[str, ...] = ()
    derived: tuple[str, ...] = ()
    decode: Callable[[str, Tensor], Tensor] = lambda name, value: value
    encode: Callable[[str, Tensor], Tensor] = lambda name, value: value


@dataclass(frozen=True)
class BackboneEntry:
    """Everything the project knows about one backbone.

    Attributes:
        title: Name for people, as in tables of papers.
        build: Constructor, called with `width`, `frozen_stages` and `norm_eval`.
        imagenet: torchvision's ImageNet weights; None where it has none.
        recipe: Optimization parameters that replace a profile's SGD settings.
        rename_weights: A classifier's state dict, under any known code's names → under this backbone's names.
        classifier: Beginnings of the names that a classifier's state dict has beyond the backbone.
        not_pretrained: Pattern of this backbone's names that a classifier's state dict may lack; these tensors keep
            their initialization.
        openmmlab: How OpenMMLab's checkpoints store this backbone.
    """

    title: str
    build: Callable[..., Backbone]
    imagenet: WeightsEnum | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    rename_weights: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = dict
    classifier: tuple[str, ...] = ("fc.", "head.", "norm.")
    not_pretrained: str = r".*num_batches_tracked"
    openmmlab: OpenMMLabFormat = OpenMMLabFormat()


BACKBONES: dict[str, BackboneEntry] = {}


def register_backbone(name: str, entry: BackboneEntry) -> None:
    """Add a backbone under the name that users type.

    Raises:
        ValueError: If the name is already taken.
    """
    if name in BACKBONES:
        raise ValueError(f"backbone '{name}' is already registered ({BACKBONES[name].title}); choose another name")
    BACKBONES[name] = entry


def build_backbone(name: str, width: float = 1.0, frozen_stages: int = -1, norm_eval: bool = False) -> Backbone:
    """Build a registered backbone.

    Args:
        name: A key of `BACKBONES`.
        width: Factor on the numbers of channels.
        frozen_stages: −1 none, 0 the stem, 1 … 4 the stem and as many stages are not trained.
        norm_eval: Whether BatchNorm always uses its stored statistics.
    """
    return BACKBONES[name].build(width=width, frozen_stages=frozen_stages, norm_eval=norm_eval)


def load_backbone_weights(backbone: Backbone, name: str, weights: str) -> None:
    """Load classification weights into `backbone`, in place.

    The classifier in the file is left out; tensors that no classifier has (offsets of deformable convolutions, a Swin's
    output norms) keep their initialization.

    Args:
        backbone: The network, built at width 1.
        name: Its key in `BACKBONES`.
        weights: "imagenet" for torchvision's weights, from its cache or downloaded; anything else is the path of a
            state dict under names that the entry's `rename_weights` knows.

    Raises:
        ValueError: If the weights cannot be read or downloaded, or do not fit; the message says what to do.
    """
    entry = BACKBONES[name]
    state = _imagenet_state(name) if weights == "imagenet" else read_tensors(Path(weights), f"weights '{weights}'")
    if any(split_name(key)[1].startswith(DETECTOR_NAMES) for key in state):
        raise ValueError(f"weights '{weights}': is a whole detector, not a classifier; use init={weights} instead")
    state = {key: value for key, value in entry.rename_weights(state).items() if not key.startswith(entry.classifier)}
    initial = {key: value for key, value in backbone.state_dict().items() if re.fullmatch(entry.not_pretrained, key)}
    try:
        backbone.load_state_dict({**initial, **state})
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"weights '{weights}' do not fit backbone {name} (width 1 is needed): {reason}") from None


def _imagenet_state(name: str) -> Mapping[str, Tensor]:
    """Return torchvision's ImageNet weights, downloaded on first use."""
    weights = BACKBONES[name].imagenet
    if weights is None:
        raise ValueError(
            f"weights 'imagenet': torchvision has none for {name}; pass weights=<path of the original or timm's file>"
        )
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not file.is_file():
        try:
            download(weights.url, file, _hash_prefix(file.name), "pass weights='none' to train from scratch")
        except ValueError as error:
            raise ValueError(f"weights 'imagenet' for {name}: {error}") from None
    return read_tensors(file, f"weights 'imagenet' at {file}")


def _hash_prefix(file_name: str) -> str:
    """Return the first digits of the SHA-256 in torchvision's file names, <network>-<digits>.pth."""
    return file_name.removesuffix(".pth").rsplit("-", 1)[1]
