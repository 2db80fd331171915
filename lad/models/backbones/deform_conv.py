"""Deformable convolution v2 (Zhu et al., CVPR 2019) under OpenMMLab's names, computed by torchvision."""

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d


class DeformConv2d(nn.Conv2d):
    """A convolution whose every tap looks at its own offset and is weighed by its own mask, both predicted from the
    input by `conv_offset`. That one starts at zero: no offset, and each mask σ(0) = ½, as in OpenMMLab.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int, groups: int):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
        taps = kernel_size * kernel_size
        self.conv_offset = nn.Conv2d(in_channels, 3 * taps, kernel_size, stride, padding)
        self.reset_offsets()

    def reset_offsets(self) -> None:
        """No offset, mask ½."""
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)  # type: ignore[arg-type]

    def forward(self, input: Tensor) -> Tensor:
        """[N, in, h, w] → [N, out, h', w'].

        conv_offset's channels: (dy, dx) of each tap, row by row over the kernel, then the logit of each tap's mask.
        """
        predicted = self.conv_offset(input)
        taps = predicted.shape[1] // 3
        offset, mask = predicted.split([2 * taps, taps], dim=1)
        return deform_conv2d(
            input.contiguous(), offset, self.weight, self.bias, self.stride, self.padding, mask=torch.sigmoid(mask)
        )
