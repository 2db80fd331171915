"""Deformable convolution equals one that is computed from bilinear samples."""

import pytest
import torch
from torch.nn import functional as F

from lad.models.backbones.deform_conv import DeformConv2d


def sampled(layer: DeformConv2d, images: torch.Tensor) -> torch.Tensor:
    """Compute the definition: y(p) = Σ over taps of w · mask · x(p + tap + offset), x zero outside the image."""
    predicted = layer.conv_offset(images)
    offset, mask = predicted[:, :18], predicted[:, 18:].sigmoid()
    channels, height, width = images.shape[1:]
    rows, columns = predicted.shape[-2:]
    top, left = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    result = 0
    for tap in range(9):
        y = top * layer.stride[0] - layer.padding[0] + tap // 3 + offset[:, 2 * tap]
        x = left * layer.stride[0] - layer.padding[0] + tap % 3 + offset[:, 2 * tap + 1]
        grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], dim=-1)  # [N, rows, columns, 2]
        value = F.grid_sample(images, grid, align_corners=True) * mask[:, tap, None]
        weight = layer.weight[:, :, tap // 3, tap % 3]  # [out, in / groups]
        grouped = value.unflatten(1, (layer.groups, channels // layer.groups))
        by_group = weight.unflatten(0, (layer.groups, -1))
        result = result + torch.einsum("ngchw,goc->ngohw", grouped, by_group).flatten(1, 2)
    return result


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 4])
def test_output_and_gradients_equal_those_of_bilinear_samples(stride, groups):
    generator = torch.Generator().manual_seed(stride + groups)
    layer = DeformConv2d(8, 12, 3, stride, padding=1, groups=groups).double()
    with torch.no_grad():  # offsets of several pixels, across the border too
        layer.conv_offset.weight.copy_(torch.randn(layer.conv_offset.weight.shape, generator=generator) * 0.5)
        layer.conv_offset.bias.copy_(torch.randn(27, generator=generator))
    images = torch.randn(2, 8, 11, 14, generator=generator, dtype=torch.float64, requires_grad=True)
    output, expected = layer(images), sampled(layer, images)
    torch.testing.assert_close(output, expected)
    weights = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    for gradient, expected_gradient in zip(
        torch.autograd.grad((output * weights).sum(), [images, *layer.parameters()]),
        torch.autograd.grad((expected * weights).sum(), [images, *layer.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected_gradient)


def test_before_training_it_is_half_the_plain_convolution():
    """All offsets are zero and all masks σ(0), as in OpenMMLab."""
    layer = DeformConv2d(6, 6, 3, 1, padding=1, groups=2)
    images = torch.randn(1, 6, 9, 9)
    plain = F.conv2d(images, layer.weight, padding=1, groups=2)
    torch.testing.assert_close(layer(images), plain / 2)
