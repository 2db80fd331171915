"""Detectors as files: what is written is what is read, and what cannot be read is one line."""

import dataclasses

import pytest
import torch
from reference import openmmlab_state
from safetensors.torch import load_file, save_file

from lad.models import Detector, build_detector, load_detector, save_detector, save_openmmlab


@pytest.fixture(scope="module")
def detector() -> Detector:
    one = build_detector("r18", num_classes=3, width=0.25, channels=64).eval()
    one.configuration = dataclasses.replace(
        one.configuration, class_names=("pion", "tour", "fou"), short_side=240, long_side=320
    )
    return one


def same_weights(first: Detector, second: Detector) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_one_file_holds_weights_and_configuration(detector, tmp_path):
    save_detector(detector, tmp_path / "chess.safetensors")
    loaded = load_detector(tmp_path / "chess.safetensors")
    assert loaded.configuration == detector.configuration
    assert same_weights(loaded, detector)
    assert not loaded.training and not any(parameter.requires_grad for parameter in loaded.parameters())
    assert [file.name for file in tmp_path.iterdir()] == ["chess.safetensors"]


@pytest.mark.parametrize("backbone", ["r18", "r50", "x101_64x4d", "swin_t", "swin_b"])
def test_an_openmmlab_copy_finds_its_network_again_also_a_slim_one(backbone, tmp_path):
    slim = build_detector(backbone, num_classes=5, width=0.25, channels=64)
    save_openmmlab(slim, tmp_path / "copy.pth")
    loaded = load_detector(tmp_path / "copy.pth")
    assert loaded.configuration == slim.configuration
    assert same_weights(loaded, slim)


def test_another_architecture_is_told_by_name(tmp_path):
    """A file that is nearly R18, with one tensor of another shape."""
    state = openmmlab_state("r18")
    state["backbone.layer4.1.conv2.weight"] = torch.zeros(512, 512, 1, 1)
    torch.save({"state_dict": state}, tmp_path / "odd.pth")
    with pytest.raises(ValueError) as caught:
        load_detector(tmp_path / "odd.pth")
    assert str(caught.value) == (
        f"checkpoint '{tmp_path / 'odd.pth'}': the OpenMMLab checkpoint does not fit this detector (r18): "
        "backbone.layer4.1.conv2.weight has shape [512, 512, 1, 1], expected [512, 512, 3, 3]"
    )


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"fc.weight": torch.zeros(1)}, "holds no bbox_head.atss_cls.weight; a PAA or LAD detector of OpenMMLab is"),
        ({"teacher_backbone.conv1.weight": torch.zeros(1)}, "holds no student; part='teacher' is what it holds"),
    ],
)
def test_what_is_no_detector_is_one_clear_line(content, line, tmp_path):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=rf"x\.pth': .*{line}"):
        load_detector(tmp_path / "x.pth")


def test_nans_are_found_when_a_checkpoint_is_opened(detector, tmp_path):
    save_openmmlab(detector, tmp_path / "copy.pth")
    content = torch.load(tmp_path / "copy.pth", weights_only=True)
    content["state_dict"]["bbox_head.atss_reg.bias"][2] = float("nan")
    torch.save(content, tmp_path / "nan.pth")
    with pytest.raises(ValueError, match=r"nan\.pth': NaN or infinite values in bbox_head\.atss_reg\.bias"):
        load_detector(tmp_path / "nan.pth")


@pytest.mark.parametrize("configuration", ["{", "[1]", '{"backbone": "r18", "depth": 3, "class_names": []}'])
def test_a_configuration_that_is_not_ours_is_one_clear_line(detector, tmp_path, configuration):
    save_detector(detector, tmp_path / "x.safetensors")
    save_file(load_file(tmp_path / "x.safetensors"), tmp_path / "y.safetensors", {"configuration": configuration})
    with pytest.raises(ValueError, match=r"y\.safetensors': its configuration is not one of ours"):
        load_detector(tmp_path / "y.safetensors")


def test_weights_that_are_not_of_their_configuration_are_refused(detector, tmp_path):
    save_detector(detector, tmp_path / "x.safetensors")
    weights = load_file(tmp_path / "x.safetensors")
    weights["head.extra"] = weights.pop("head.scale")
    metadata = '{"backbone": "r18", "num_classes": 3, "width": 0.25, "channels": 64, "class_names": []}'
    save_file(weights, tmp_path / "y.safetensors", {"configuration": metadata})
    with pytest.raises(ValueError, match=r"y\.safetensors'.*head\.scale.*head\.extra"):
        load_detector(tmp_path / "y.safetensors")
