"""Mean and standard deviation of each channel, as torch computes them, and their edge cases."""

import torch

from lad.distillation.channel_statistics import channel_statistics, standardize


def test_statistics_and_gradients_are_torchs():
    levels = [torch.randn(2, 5, rows, 3, dtype=torch.float64, requires_grad=True) for rows in (4, 1)]
    mean, std = channel_statistics(levels)
    for number, level in enumerate(levels):
        flat = level.transpose(0, 1).flatten(1)
        torch.testing.assert_close(mean[number], flat.mean(dim=1))
        torch.testing.assert_close(std[number], flat.std(dim=1))
        expected = torch.autograd.grad((flat.std(dim=1) ** 3).sum(), level)[0]
        actual = torch.autograd.grad((std[number] ** 3).sum(), level, retain_graph=True)[0]
        torch.testing.assert_close(actual, expected)


def test_a_constant_channel_has_std_zero_becomes_zero_and_has_finite_gradients():
    level = torch.randn(1, 2, 3, 3)
    level[:, 1] = 0.0  # a channel that the ReLU has switched off
    level.requires_grad_()
    mean, std = channel_statistics([level])
    (normalized,) = standardize([level], mean, std)
    assert std[0, 0] > 0 and std[0, 1] == 0 and not normalized[:, 1].any()
    normalized.square().sum().backward()
    assert level.grad.isfinite().all()


def test_a_single_value_has_std_zero():
    _, std = channel_statistics([torch.randn(1, 4, 1, 1)])
    assert not std.any()
