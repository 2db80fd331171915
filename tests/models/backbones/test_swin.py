"""Swin computes the features of timm and torchvision from the same weights, whatever names the weights have."""

import pytest
import timm
import torch
import torchvision
from torch.nn import functional as F

from lad.models.backbones.registry import BACKBONES, build_backbone, load_backbone_weights
from lad.models.backbones.swin import RECIPE

SWINS = [name for name, entry in BACKBONES.items() if entry.recipe == RECIPE]


@pytest.mark.parametrize(
    ("backbone", "reference", "size"),
    [
        ("swin_t", "swin_tiny_patch4_window7_224", (224, 448)),
        ("swin_s", "swin_small_patch4_window7_224", (448, 224)),
        pytest.param("swin_b_w12", "swin_base_patch4_window12_384", (384, 384), marks=pytest.mark.slow),
    ],
)
def test_features_equal_timms(backbone, reference, size, randomize, tmp_path):
    """Random weights are read from a file under timm's names; C3, C4 are compared before and C5 after its norm. The
    windows divide these sizes: timm pads others after the shift, torchvision and OpenMMLab before it."""
    timm_swin = randomize(timm.create_model(reference, img_size=size))
    torch.save(timm_swin.state_dict(), tmp_path / "swin.pth")
    swin = build_backbone(backbone).eval()
    load_backbone_weights(swin, backbone, str(tmp_path / "swin.pth"))
    swin.norms[3].load_state_dict(timm_swin.norm.state_dict())
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        *inner, last = swin(images)
        _, c3, c4, _ = timm_swin.forward_intermediates(images, intermediates_only=True, norm=False)
        c5 = timm_swin.forward_features(images).permute(0, 3, 1, 2)
        for feature, expected, norm in zip(inner, (c3, c4), swin.norms[1:3], strict=True):
            expected = norm(expected.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            torch.testing.assert_close(feature, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(last, c5, atol=1e-4, rtol=1e-4)


def test_logits_equal_torchvisions_at_any_size(randomize, tmp_path):
    classifier = randomize(torchvision.models.swin_t(num_classes=5))
    torch.save(classifier.state_dict(), tmp_path / "swin_t.pth")
    swin = build_backbone("swin_t").eval()
    load_backbone_weights(swin, "swin_t", str(tmp_path / "swin_t.pth"))
    swin.norms[3].load_state_dict(classifier.norm.state_dict())
    images = torch.randn(2, 3, 200, 260)
    with torch.no_grad():
        logits = classifier.head(swin(images)[-1].mean(dim=(2, 3)))
        torch.testing.assert_close(logits, classifier(images), atol=1e-5, rtol=1e-4)


def test_weights_under_the_original_codes_and_timms_names_are_the_same(tmp_path):
    """The two differ in the stage that a patch merging belongs to."""
    timm_state = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0).state_dict()
    original = {}
    for name, value in timm_state.items():
        for stage in (1, 2, 3):
            name = name.replace(f"layers.{stage}.downsample", f"layers.{stage - 1}.downsample*")
        original[name.replace("*", "")] = value
    torch.save({"model": original}, tmp_path / "original.pth")
    torch.save(timm_state, tmp_path / "timm.pth")
    by_file = {}
    for file in ("original", "timm"):
        backbone = build_backbone("swin_t")
        load_backbone_weights(backbone, "swin_t", str(tmp_path / f"{file}.pth"))
        by_file[file] = backbone.state_dict()
    assert all(torch.equal(value, by_file["timm"][name]) for name, value in by_file["original"].items())


@pytest.mark.parametrize("backbone", SWINS)
def test_frozen_stages_are_frozen_with_the_patch_merging_after_them(backbone):
    frozen = build_backbone(backbone, width=0.25, frozen_stages=1).train()
    names = {name for name, parameter in frozen.named_parameters() if not parameter.requires_grad}
    assert {name.split(".")[1] for name in names if name.startswith("features")} == {"0", "1", "2"}
    assert not frozen.features[1].training and frozen.features[3].training  # no stochastic depth in frozen stages
    unfrozen = build_backbone(backbone, width=0.25)
    names = {name for name, parameter in unfrozen.named_parameters() if not parameter.requires_grad}
    assert names == {"norms.0.weight", "norms.0.bias"}  # of C2, which the pyramid does not use


def test_images_that_patches_do_not_divide_are_padded():
    swin = build_backbone("swin_t", width=0.25).eval()
    images = torch.randn(1, 3, 70, 75)
    with torch.no_grad():
        padded = swin(F.pad(images, (0, 1, 0, 2)))
        assert all(torch.equal(*pair) for pair in zip(swin(images), padded, strict=True))
