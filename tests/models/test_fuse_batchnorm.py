"""Fusing BatchNorm into convolutions keeps the outputs."""

import copy

import pytest
import torch
from reference import reference_detector
from torch import nn

from lad.models.backbones.registry import BACKBONES
from lad.models.detector import build_detector
from lad.models.fuse_batchnorm import fuse_batchnorm


def with_random_statistics(detector: nn.Module) -> nn.Module:
    """Give every BatchNorm statistics and weights as after training, so that none is the identity."""
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return detector.eval()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_has_the_same_outputs_without_batchnorm(backbone):
    torch.manual_seed(0)
    width = 1.0 if backbone == "swin_b_w12" else 0.25
    detector = with_random_statistics(build_detector(backbone, 5, width, channels=64)).double()
    before = copy.deepcopy(detector.state_dict())
    fused = fuse_batchnorm(detector)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    assert not fused.training and not any(parameter.requires_grad for parameter in fused.parameters())
    images = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        for output, expected in zip(fused(images), detector(images), strict=True):
            torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
    after = detector.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())  # the detector itself is unchanged


@pytest.mark.parametrize("backbone", ["r18", "r50"])
def test_fused_detectors_keep_the_published_outputs(golden, backbone):
    """Every output is within 1e-3 of its own standard deviation, as without fusing."""
    case = golden("full_model")
    with torch.no_grad():
        outputs = fuse_batchnorm(reference_detector(backbone, int(case.num_classes)))(case.image)
    for name, output in zip(("cls_logits", "box_deltas", "iou_logits"), outputs, strict=True):
        expected = case[f"{backbone}_{name}"]
        assert (output - expected).abs().max() < 1e-3 * expected.std()
