"""Deformable convolution v2 (Zhu et al., CVPR 2019) under OpenMMLab's names, computed by torchvision."""

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d


class DeformConv2d(nn.Conv2d):
    """A convolution that samples each kernel position at a predicted offset, weighted by a predicted mask.

    `conv_offset` predicts both from the input. It starts at zero, as in OpenMMLab: no offset, and every mask σ(0) = ½.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int, groups: int):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)
        taps = kernel_size * kernel_size
        self.conv_offset = nn.Conv2d(in_channels, 3 * taps, kernel_size, stride, padding)
        self.reset_offsets()

    def reset_offsets(self) -> None:
        """Set all offsets to zero and all masks to ½."""
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)  # type: ignore[arg-type]

    def forward(self, input: Tensor) -> Tensor:
        """Compute the convolution.

        The channels of `conv_offset`: (dy, dx) of each kernel position, row by row, then the logit of each mask.

        Args:
            input: [N, in, h, w].

        Returns:
            [N, out, h', w'].
        """
        predicted = self.conv_offset(input)
        taps = predicted.shape[1] // 3
        offset, mask = predicted.split([2 * taps, taps], dim=1)
        return deform_conv2d(
            input.contiguous(), offset, self.weight, self.bias, self.stride, self.padding, mask=torch.sigmoid(mask)
        )
