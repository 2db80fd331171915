"""ResNet and ResNeXt compute the features of torchvision and timm; frozen layers stay as they are."""

import timm
import torch
import torchvision

from lad.models.backbones.registry import build_backbone, load_backbone_weights
from lad.models.detector import build_detector


def test_features_equal_torchvisions_with_weights_from_a_file(tmp_path):
    classifier = torchvision.models.resnet18()
    torch.save(classifier.state_dict(), tmp_path / "resnet18.pth")
    backbone = build_backbone("r18")
    load_backbone_weights(backbone, "r18", str(tmp_path / "resnet18.pth"))
    assert torch.equal(backbone.layer4[1].conv2.weight, classifier.layer4[1].conv2.weight)
    images = torch.randn(1, 3, 64, 64)
    features = classifier.eval().maxpool(classifier.relu(classifier.bn1(classifier.conv1(images))))
    for stage in (classifier.layer1, classifier.layer2, classifier.layer3, classifier.layer4):
        features = stage(features)
    torch.testing.assert_close(backbone.eval()(images)[-1], features)


def test_resnext_features_equal_timms(randomize, tmp_path):
    timm_resnext = randomize(timm.create_model("resnext101_64x4d", num_classes=0))
    torch.save(timm_resnext.state_dict(), tmp_path / "x101.pth")
    resnext = build_backbone("x101_64x4d").eval()
    load_backbone_weights(resnext, "x101_64x4d", str(tmp_path / "x101.pth"))
    images = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        features = timm_resnext.forward_intermediates(images, intermediates_only=True)[-3:]
        for feature, expected in zip(resnext(images), features, strict=True):
            assert (feature - expected).abs().max() < 1e-4 * expected.std()


def test_resnext_weights_keep_the_offsets_of_a_deformable_resnext_at_zero(tmp_path):
    classifier = torchvision.models.resnext101_64x4d()
    torch.save(classifier.state_dict(), tmp_path / "x101.pth")
    backbone = build_backbone("x101_64x4d_dcn")
    load_backbone_weights(backbone, "x101_64x4d_dcn", str(tmp_path / "x101.pth"))
    assert torch.equal(backbone.layer3[5].conv2.weight, classifier.layer3[5].conv2.weight)
    offsets = [module for name, module in backbone.named_modules() if name.endswith("conv_offset")]
    assert len(offsets) == 4 + 23 + 3  # every block of the stages C3 to C5
    assert all(not module.weight.any() and not module.bias.any() for module in offsets)


def test_frozen_stages_are_not_trained_and_norm_eval_keeps_the_statistics():
    detector = build_detector("r18", num_classes=3, width=0.25, channels=64, frozen_stages=1, norm_eval=True).train()
    backbone = detector.backbone
    frozen = [*backbone.conv1.parameters(), *backbone.bn1.parameters(), *backbone.layer1.parameters()]
    assert not any(parameter.requires_grad for parameter in frozen)
    assert all(parameter.requires_grad for parameter in backbone.layer2.parameters())
    before = backbone.layer3[0].bn1.running_mean.clone()
    detector(torch.randn(2, 3, 64, 64))
    assert torch.equal(backbone.layer3[0].bn1.running_mean, before)


def test_without_norm_eval_the_statistics_are_updated():
    detector = build_detector("r18", num_classes=3, width=0.25, channels=64).train()
    before = detector.backbone.layer3[0].bn1.running_mean.clone()
    detector(torch.randn(2, 3, 64, 64))
    assert not torch.equal(detector.backbone.layer3[0].bn1.running_mean, before)
