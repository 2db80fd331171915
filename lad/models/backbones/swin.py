"""Swin Transformers (Liu et al., ICCV 2021) from torchvision's blocks, as backbones for images of any size."""

import re
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.swin_transformer import SwinTransformer

PATCH = 4
HEAD_CHANNELS = 32  # of each attention head at width 1


class Swin(nn.Module):
    """A Swin Transformer without its classifier. `features` bears torchvision's names: the patch embedding, then stages
    at odd places with the patch mergings between them. `norms` are the LayerNorms of each stage's output, as in
    OpenMMLab; the first serves C2, which the pyramid does not use: it is there, frozen, as checkpoints have it.

    Maps that the windows do not divide are padded, in the attention alone. Differs from OpenMMLab: a side of a map that
    a single window covers is not shifted, as in torchvision, which matters where a side of the image has up to
    32 · window pixels: 224, or 384 for window 12. width: factor on the channels of each attention head. frozen_stages:
    −1 nothing, 0 the patch embedding, 1 … 4 also as many stages.
    """

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        num_heads: tuple[int, int, int, int],
        window: int = 7,
        stochastic_depth: float = 0.2,
        width: float = 1.0,
        frozen_stages: int = -1,
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
        """images [N, 3, H, W] → C3, C4, C5 at strides 8, 16 and 32."""
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
        super().train(mode)
        for part in self._frozen_parts():
            part.eval()
        return self

    def _frozen_parts(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        # A stage goes with the patch merging after it, as in OpenMMLab.
        return [*self.features[: 2 * self.frozen_stages + 1], *self.norms[: self.frozen_stages]]


def torchvision_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A Swin classifier's state dict under torchvision's names, given under the original code's or timm's.

    Raises nothing: a name that neither has is kept and found out when the state is loaded.
    """
    merging_comes_first = any(name.startswith("layers.3.downsample.") for name in state)  # timm; at the end: original
    rules = (
        (r"patch_embed\.proj\.", r"features.0.0."),
        (r"patch_embed\.norm\.", r"features.0.2."),
        (r"\.mlp\.fc1\.", r".mlp.0."),
        (r"\.mlp\.fc2\.", r".mlp.3."),
    )
    renamed = {}
    for name, value in state.items():
        if name.endswith((".attn_mask", ".relative_position_index")):  # follow from the window
            continue
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        found = re.match(r"layers\.(\d)\.(blocks|downsample)\.", name)
        if found:
            stage, is_merging = int(found[1]), found[2] == "downsample"
            place = 2 * stage + (0 if merging_comes_first else 2) if is_merging else 2 * stage + 1
            name = f"features.{place}.{name[found.end() :]}"
        renamed[name] = value
    return renamed
