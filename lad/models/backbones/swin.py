"""Swin Transformers (Liu et al., ICCV 2021) from torchvision's blocks, as backbones for images of any size."""

import functools
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.models.swin_transformer import SwinTransformer

from lad.models.backbones.registry import Backbone, BackboneEntry, OpenMMLabFormat, register_backbone

PATCH = 4
HEAD_CHANNELS = 32  # of each attention head at width 1
MERGING = re.compile(r"features\.[246]\.(norm|reduction)\.")  # names of the patch mergings' tensors
# In place of a profile's SGD settings, as in the Swin paper's detectors.
RECIPE: dict[str, Any] = {"optimizer": "adamw", "lr": 1e-4, "weight_decay": 0.05, "warmup": 1000}


class Swin(Backbone):
    """A Swin Transformer without its classifier.

    `features` has torchvision's names: the patch embedding at 0, the stages at odd indices, the patch mergings between
    them. `norms` are the LayerNorms of the stages' outputs, as in OpenMMLab; the first belongs to C2, which the pyramid
    does not use: it is kept, frozen, because checkpoints contain it. Feature maps that the windows do not divide are
    padded within the attention.

    Differs from OpenMMLab: windows are not shifted along a side of a feature map that a single window covers, as in
    torchvision. This matters where a side of the image has up to 32 · window pixels: 224, or 384 for window 12.

    Args:
        depths: Number of blocks of each stage.
        num_heads: Number of attention heads of each stage.
        window: Side of the attention windows.
        stochastic_depth: Drop probability of the last block; it rises linearly from 0 at the first.
        width: Factor on the channels of each attention head.
        frozen_stages: −1 none, 0 the patch embedding, 1 … 4 the embedding and as many stages are frozen.
        norm_eval: Without effect: a Swin has no BatchNorm.
    """

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        num_heads: tuple[int, int, int, int],
        window: int = 7,
        stochastic_depth: float = 0.2,
        width: float = 1.0,
        frozen_stages: int = -1,
        norm_eval: bool = False,
    ) -> None:
        super().__init__()
        channels = num_heads[0] * max(4, round(HEAD_CHANNELS * width))
        classifier = SwinTransformer(
            [PATCH, PATCH], channels, list(depths), list(num_heads), [window, window],
            stochastic_depth_prob=stochastic_depth, num_classes=1,
        )  # fmt: skip
        self.frozen_stages = frozen_stages
        self.features: nn.Sequential = classifier.features
        self.norms = nn.ModuleList(nn.LayerNorm(channels * 2**stage) for stage in range(4))
        self.norms[0].requires_grad_(False)
        self.out_channels = tuple(channels * 2**stage for stage in (1, 2, 3))
        for part in self._frozen_parts():
            part.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Compute C3, C4 and C5, at strides 8, 16 and 32, of images [N, 3, H, W]."""
        height, width = images.shape[-2:]
        x = self.features[0](F.pad(images, (0, -width % PATCH, 0, -height % PATCH)))  # [N, h, w, channels]
        outputs = []
        for stage in range(4):
            if stage > 0:
                x = self.features[2 * stage](x)
            x = self.features[2 * stage + 1](x)
            if stage > 0:
                outputs.append(self.norms[stage](x).permute(0, 3, 1, 2))
        return outputs

    def train(self, mode: bool = True) -> "Swin":
        """Set the training mode; frozen stages stay in eval mode, without stochastic depth."""
        super().train(mode)
        for part in self._frozen_parts():
            part.eval()
        return self

    def _frozen_parts(self) -> list[nn.Module]:
        """Return the frozen modules: each stage with the patch merging after it, as in OpenMMLab."""
        if self.frozen_stages < 0:
            return []
        return [*self.features[: 2 * self.frozen_stages + 1], *self.norms[: self.frozen_stages]]


def torchvision_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a Swin classifier's tensors to torchvision's names.

    Args:
        state: A state dict under the names of torchvision, of the original code or of timm.

    Returns:
        The state dict under torchvision's names, without buffers that follow from the window size. Unknown names are
        kept, so that loading reports them.
    """
    merging_comes_first = any(name.startswith("layers.3.downsample.") for name in state)  # timm's; the original: last
    rules = (
        (r"patch_embed\.proj\.", r"features.0.0."),
        (r"patch_embed\.norm\.", r"features.0.2."),
        (r"\.mlp\.fc1\.", r".mlp.0."),
        (r"\.mlp\.fc2\.", r".mlp.3."),
    )
    renamed = {}
    for name, value in state.items():
        if name.endswith((".attn_mask", ".relative_position_index")):
            continue
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        layer = re.match(r"layers\.(\d)\.(blocks|downsample)\.", name)
        if layer:
            stage, is_merging = int(layer[1]), layer[2] == "downsample"
            index = 2 * stage + (0 if merging_comes_first else 2) if is_merging else 2 * stage + 1
            name = f"features.{index}.{name[layer.end() :]}"
        renamed[name] = value
    return renamed


def _from_openmmlab(name: str, value: Tensor) -> Tensor:
    """Reorder the input channels of a patch merging.

    OpenMMLab orders a patch's four pixels within each channel, row by row; torchvision orders pixel by pixel, with all
    channels each, column by column.
    """
    if not MERGING.match(name) or value.shape[-1] % 4:
        return value
    patches = value.unflatten(-1, (-1, 4)).transpose(-1, -2)[..., [0, 2, 1, 3], :]  # [.., pixel, channel]
    return patches.flatten(-2)


def _to_openmmlab(name: str, value: Tensor) -> Tensor:
    """Return OpenMMLab's layout of a tensor: the inverse of `_from_openmmlab`; position indices are [side, side]."""
    if name.endswith("relative_position_index"):
        side = int(value.numel() ** 0.5)
        return value.reshape(side, side)
    if not MERGING.match(name):
        return value
    return value.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :].transpose(-1, -2).flatten(-2)


OPENMMLAB = OpenMMLabFormat(
    rules=(
        (r"features\.0\.0\.(.+)", r"patch_embed.projection.\1"),
        (r"features\.0\.2\.(.+)", r"patch_embed.norm.\1"),
        *((rf"features\.{2 * i + 2}\.(.+)", rf"stages.{i}.downsample.\1") for i in range(3)),
        *(
            (rf"features\.{2 * i + 1}\.(\d+)\.{ours}\.(.+)", rf"stages.{i}.blocks.\1.{openmmlab}.\2")
            for i in range(4)
            for ours, openmmlab in (
                ("norm1", "norm1"),
                ("attn", "attn.w_msa"),
                ("norm2", "norm2"),
                (r"mlp\.0", "ffn.layers.0.0"),
                (r"mlp\.3", "ffn.layers.1"),
            )
        ),
        (r"norms\.(\d)\.(.+)", r"norm\1.\2"),
    ),
    optional=("norms.0.weight", "norms.0.bias"),  # absent where C2 is not an output
    derived=("relative_position_index",),
    decode=_from_openmmlab,
    encode=_to_openmmlab,
)


def _register(name: str, title: str, imagenet: WeightsEnum | None, *layout: Any, **options: Any) -> None:
    """Register a Swin."""
    entry = BackboneEntry(
        title,
        functools.partial(Swin, *layout, **options),
        imagenet,
        RECIPE,
        torchvision_names,
        not_pretrained=r"norms\..*|.*relative_position_index",
        openmmlab=OPENMMLAB,
    )
    register_backbone(name, entry)


_BASE = (2, 2, 18, 2), (4, 8, 16, 32)
_register("swin_t", "Swin-T, window 7", models.Swin_T_Weights.IMAGENET1K_V1, (2, 2, 6, 2), (3, 6, 12, 24))
_register("swin_s", "Swin-S, window 7", models.Swin_S_Weights.IMAGENET1K_V1, (2, 2, 18, 2), (3, 6, 12, 24))
_register("swin_b", "Swin-B, window 7", models.Swin_B_Weights.IMAGENET1K_V1, *_BASE, stochastic_depth=0.3)
_register("swin_b_w12", "Swin-B, window 12", None, *_BASE, window=12, stochastic_depth=0.3)
