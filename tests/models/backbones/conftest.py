"""Fixtures for the tests of backbones."""

from collections.abc import Callable

import pytest
import torch


@pytest.fixture
def randomize() -> Callable[[torch.nn.Module], torch.nn.Module]:
    """A function that moves statistics, biases and normalization weights away from their trivial initial values."""

    def randomized(model: torch.nn.Module) -> torch.nn.Module:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if tensor.is_floating_point() and tensor.dim() <= 2:
                    noise = torch.rand(tensor.shape, generator=generator)
                    if tensor.dim() == 2 and "bias_table" not in name:
                        continue
                    tensor.copy_(0.2 + 0.5 * noise if "weight" in name or "var" in name else 0.2 * noise)
        return model.eval()

    return randomized
