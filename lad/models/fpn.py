"""The feature pyramid: C3, C4, C5 → P3 … P7 (Lin et al., CVPR 2017; extra levels as in RetinaNet, from P5's output)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class FPN(nn.Module):
    """Lateral 1x1 convolutions and a top-down sum, a 3x3 convolution on each level, then P6 and P7 by strided ones.

    Args:
        in_channels: Numbers of channels of C3, C4 and C5.
        channels: Number of channels of each of P3 … P7.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels)
        self.output = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in in_channels)
        self.extra = nn.ModuleList(nn.Conv2d(channels, channels, 3, stride=2, padding=1) for _ in range(2))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Compute P3 … P7 from C3, C4 and C5."""
        laterals = [conv(feature) for conv, feature in zip(self.lateral, features, strict=True)]
        merged = [laterals[-1]]
        for lateral in reversed(laterals[:-1]):
            merged.insert(0, lateral + F.interpolate(merged[0], size=lateral.shape[-2:], mode="nearest"))
        levels = [conv(feature) for conv, feature in zip(self.output, merged, strict=True)]
        for conv in self.extra:
            levels.append(conv(levels[-1]))
        return levels
