"""The backbones compute what independent implementations compute from the same weights."""

import pytest
import timm
import torch
import torchvision
from torch.nn import functional as F

from lad.models.backbones.registry import ARCHITECTURES, BACKBONES, build_backbone, load_backbone_weights
from lad.models.backbones.resnet import ResNet
from lad.models.backbones.swin import Swin


def randomized(model: torch.nn.Module) -> torch.nn.Module:
    """Statistics, biases and normalizations away from their trivial initial values."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and tensor.dim() <= 2:
                noise = torch.rand(tensor.shape, generator=generator)
                if tensor.dim() == 2 and "bias_table" not in name:
                    continue
                tensor.copy_(0.2 + 0.5 * noise if "weight" in name or "var" in name else 0.2 * noise)
    return model.eval()


@pytest.mark.parametrize(
    ("backbone", "reference", "size"),
    [
        ("swin_t", "swin_tiny_patch4_window7_224", (224, 448)),
        ("swin_s", "swin_small_patch4_window7_224", (448, 224)),
        ("swin_b_w12", "swin_base_patch4_window12_384", (384, 384)),
    ],
)
def test_swin_features_are_timms(backbone, reference, size, tmp_path):
    """timm's own Swin, random weights read from a file under timm's names: C3, C4 before and C5 after its norm. At
    sizes that the windows divide: at others timm pads after the shift, torchvision and OpenMMLab before it."""
    theirs = randomized(timm.create_model(reference, img_size=size))
    torch.save(theirs.state_dict(), tmp_path / "swin.pth")
    ours = build_backbone(backbone).eval()
    load_backbone_weights(ours, backbone, str(tmp_path / "swin.pth"))
    ours.norms[3].load_state_dict(theirs.norm.state_dict())
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        *inner, last = ours(images)
        _, c3, c4, _ = theirs.forward_intermediates(images, intermediates_only=True, norm=False)
        c5 = theirs.forward_features(images).permute(0, 3, 1, 2)
        for mine, expected, norm in zip(inner, (c3, c4), ours.norms[1:3], strict=True):
            expected = norm(expected.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            torch.testing.assert_close(mine, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(last, c5, atol=1e-4, rtol=1e-4)


def test_swin_gives_torchvisions_logits_at_any_size(tmp_path):
    classifier = randomized(torchvision.models.swin_t(num_classes=5))
    torch.save(classifier.state_dict(), tmp_path / "swin_t.pth")
    ours = build_backbone("swin_t").eval()
    load_backbone_weights(ours, "swin_t", str(tmp_path / "swin_t.pth"))
    ours.norms[3].load_state_dict(classifier.norm.state_dict())
    images = torch.randn(2, 3, 200, 260)
    with torch.no_grad():
        logits = classifier.head(ours(images)[-1].mean(dim=(2, 3)))
        torch.testing.assert_close(logits, classifier(images), atol=1e-5, rtol=1e-4)


def test_the_original_swin_names_differ_from_timms_in_where_patches_merge(tmp_path):
    theirs = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0).state_dict()
    original = {}
    for name, value in theirs.items():
        for stage in (1, 2, 3):
            name = name.replace(f"layers.{stage}.downsample", f"layers.{stage - 1}.downsample*")
        original[name.replace("*", "")] = value
    torch.save({"model": original}, tmp_path / "original.pth")
    torch.save(theirs, tmp_path / "timm.pth")
    by_file = {}
    for file in ("original", "timm"):
        backbone = build_backbone("swin_t")
        load_backbone_weights(backbone, "swin_t", str(tmp_path / f"{file}.pth"))
        by_file[file] = backbone.state_dict()
    assert all(torch.equal(value, by_file["timm"][name]) for name, value in by_file["original"].items())


def test_resnext_features_are_timms(tmp_path):
    theirs = randomized(timm.create_model("resnext101_64x4d", num_classes=0))
    torch.save(theirs.state_dict(), tmp_path / "x101.pth")
    ours = build_backbone("x101_64x4d").eval()
    load_backbone_weights(ours, "x101_64x4d", str(tmp_path / "x101.pth"))
    images = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        features = theirs.forward_intermediates(images, intermediates_only=True)[-3:]
        for mine, expected in zip(ours(images), features, strict=True):
            assert (mine - expected).abs().max() < 1e-4 * expected.std()


def test_resnext_weights_leave_the_offsets_of_a_deformable_one_at_zero(tmp_path):
    classifier = torchvision.models.resnext101_64x4d()
    torch.save(classifier.state_dict(), tmp_path / "x101.pth")
    ours = build_backbone("x101_64x4d_dcn")
    load_backbone_weights(ours, "x101_64x4d_dcn", str(tmp_path / "x101.pth"))
    assert torch.equal(ours.layer3[5].conv2.weight, classifier.layer3[5].conv2.weight)
    offsets = [module for name, module in ours.named_modules() if name.endswith("conv_offset")]
    assert len(offsets) == 4 + 23 + 3  # every block of the stages C3 to C5
    assert all(not module.weight.any() and not module.bias.any() for module in offsets)


@pytest.mark.parametrize("backbone", [name for name in BACKBONES if name.startswith("swin")])
def test_a_swin_freezes_the_stages_it_is_told_to(backbone):
    frozen = build_backbone(backbone, width=0.25, frozen_stages=1).train()
    names = {name for name, parameter in frozen.named_parameters() if not parameter.requires_grad}
    assert {name.split(".")[1] for name in names if name.startswith("features")} == {"0", "1", "2"}
    assert not frozen.features[1].training and frozen.features[3].training  # stochastic depth is off where frozen
    free = {name for name, p in build_backbone(backbone, width=0.25).named_parameters() if not p.requires_grad}
    assert free == {"norms.0.weight", "norms.0.bias"}  # of C2, which nothing uses


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_features_have_the_strides_and_channels_the_pyramid_counts_on(backbone, size):
    body = build_backbone(backbone, width=0.25).eval()
    with torch.no_grad():
        features = body(torch.zeros(1, 3, *size))
    strides = zip(body.out_channels, (8, 16, 32), strict=True)
    expected = [(channels, size[0] // stride, size[1] // stride) for channels, stride in strides]
    assert [tuple(feature.shape[1:]) for feature in features] == expected


def test_a_swin_pads_sizes_that_its_patches_do_not_divide():
    body = build_backbone("swin_t", width=0.25).eval()
    images = torch.randn(1, 3, 70, 75)
    with torch.no_grad():
        padded = body(F.pad(images, (0, 1, 0, 2)))
        assert all(torch.equal(*pair) for pair in zip(body(images), padded, strict=True))


def test_every_architecture_says_which_weights_it_has():
    for name, architecture in ARCHITECTURES.items():
        assert isinstance(build_backbone(name, width=0.25), Swin if name.startswith("swin") else ResNet)
        if architecture.imagenet is None:
            with pytest.raises(ValueError, match=rf"weights 'imagenet': torchvision has none of {name}; pass weights="):
                load_backbone_weights(build_backbone(name, width=0.25), name, "imagenet")
