"""BatchNorm folded into convolutions: the same outputs without it."""

import copy

import pytest
import torch
from reference import reference_detector
from torch import nn

from lad.models.backbones.registry import BACKBONES
from lad.models.detector import build_detector
from lad.models.fuse_batchnorm import fold_batchnorm


def with_statistics(detector: nn.Module) -> nn.Module:
    """As if it had been trained: no BatchNorm does nothing."""
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return detector.eval()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_gives_the_same_outputs_without_batchnorm(backbone):
    torch.manual_seed(0)
    width = 1.0 if backbone.startswith("swin_b_w12") else 0.25
    detector = with_statistics(build_detector(backbone, 5, width, channels=64)).double()
    before = copy.deepcopy(detector.state_dict())
    folded = fold_batchnorm(detector)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert not folded.training and not any(parameter.requires_grad for parameter in folded.parameters())
    images = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        for ours, theirs in zip(folded(images), detector(images), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    after = detector.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())  # a copy was folded


@pytest.mark.parametrize("backbone", ["r18", "r50"])
def test_folded_networks_keep_to_the_reference(golden, backbone):
    """Outputs of the published network within 1e-3 of their standard deviation, like the unfolded one."""
    case = golden("full_model")
    with torch.no_grad():
        outputs = fold_batchnorm(reference_detector(backbone, int(case.num_classes)))(case.image)
    for name, ours in zip(("cls_logits", "box_deltas", "iou_logits"), outputs, strict=True):
        theirs = case[f"{backbone}_{name}"]
        assert (ours - theirs).abs().max() < 1e-3 * theirs.std()
