"""Detectors as files: what is written is what is read, and what cannot be read is one line."""

import dataclasses

import pytest
import torch
from reference import openmmlab_state
from safetensors.torch import load_file, save_file

from lad.models.backbones.registry import BACKBONES
from lad.models.detector import Detector, build_detector
from lad.models.openmmlab import to_openmmlab_state
from lad.models.serialization import load_detector, save_detector, save_openmmlab


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


def test_weights_that_cannot_be_written_are_named(detector, tmp_path):
    """safetensors' own error names no file."""
    with pytest.raises(OSError, match=r"nowhere/model\.safetensors: cannot be written \(No such file or directory\)"):
        save_detector(detector, tmp_path / "nowhere" / "model.safetensors")


@pytest.mark.parametrize("width", [0.1, 0.25, 0.33])
@pytest.mark.parametrize("head", [("paa", True), ("iop", False)])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_our_openmmlab_copy_finds_its_network_again(backbone, width, head, tmp_path):
    """It says what it is in its meta: also widths that cannot be told from shapes, names and sizes."""
    slim = build_detector(backbone, 5, width, head[0], iou_branch=head[1], channels=64)
    slim.configuration = dataclasses.replace(slim.configuration, class_names=tuple("abcde"), short_side=128)
    save_openmmlab(slim, tmp_path / "copy.pth")
    loaded = load_detector(tmp_path / "copy.pth")
    assert loaded.configuration == slim.configuration
    assert same_weights(loaded, slim)


@pytest.mark.parametrize("backbone", ["r18", "r50", "x101_64x4d", "swin_t", "swin_b"])
def test_a_foreign_slim_network_is_told_by_its_shapes(backbone, tmp_path):
    slim = build_detector(backbone, num_classes=5, width=0.25, channels=64)
    torch.save(to_openmmlab_state(slim), tmp_path / "foreign.pth")
    loaded = load_detector(tmp_path / "foreign.pth")
    assert loaded.configuration == slim.configuration and same_weights(loaded, slim)


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
        ({"teacher_backbone.conv1.weight": torch.zeros(1)}, "holds no student; it holds part='teacher'"),
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


@pytest.mark.parametrize(
    "configuration",
    [
        "{",
        "[1]",
        '{"backbone": "r18", "depth": 3, "class_names": []}',
        '{"backbone": "r18", "num_classes": "5", "class_names": []}',
        '{"backbone": "r18", "num_classes": 5, "width": "a", "class_names": []}',
        '{"backbone": "r18", "num_classes": 5, "width": 1e300, "class_names": []}',
        '{"backbone": "r18", "num_classes": 5, "width": NaN, "class_names": []}',
        '{"backbone": "r18", "num_classes": 10000000000000, "class_names": []}',
        '{"backbone": "r18", "num_classes": 5, "long_side": 1000000000, "class_names": []}',
        '{"backbone": "r18", "num_classes": 5, "short_side": "1", "class_names": []}',
        '{"backbone": "r18", "num_classes": 5, "class_names": ["one"]}',
        '{"backbone": "r18", "num_classes": 1, "class_names": [1]}',
        "[" * 100_000,
    ],
)
def test_a_configuration_that_is_not_ours_is_one_clear_line(detector, tmp_path, configuration):
    save_detector(detector, tmp_path / "x.safetensors")
    save_file(load_file(tmp_path / "x.safetensors"), tmp_path / "y.safetensors", {"configuration": configuration})
    with pytest.raises(ValueError, match=r"y\.safetensors': its configuration is not one of ours"):
        load_detector(tmp_path / "y.safetensors")


def test_a_file_that_says_what_it_is_has_no_parts(detector, tmp_path):
    save_detector(detector, tmp_path / "x.safetensors")
    save_openmmlab(detector, tmp_path / "x.pth")
    for file in ("x.safetensors", "x.pth"):
        for asked in ({"part": "teacher"}, {"iou_branch": False}):
            with pytest.raises(ValueError, match="part and iou_branch are for published checkpoints"):
                load_detector(tmp_path / file, **asked)


def test_our_file_needs_its_suffix(detector, tmp_path):
    with pytest.raises(ValueError, match=r"x': a detector's file must end with \.safetensors"):
        save_detector(detector, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_of_their_configuration_are_refused(detector, tmp_path):
    save_detector(detector, tmp_path / "x.safetensors")
    weights = load_file(tmp_path / "x.safetensors")
    weights["head.extra"] = weights.pop("head.scale")
    metadata = '{"backbone": "r18", "num_classes": 3, "width": 0.25, "channels": 64, "class_names": []}'
    save_file(weights, tmp_path / "y.safetensors", {"configuration": metadata})
    with pytest.raises(ValueError, match=r"y\.safetensors'.*head\.scale.*head\.extra"):
        load_detector(tmp_path / "y.safetensors")


def test_a_small_file_that_describes_a_huge_network_is_refused_before_it_is_built(tmp_path):
    huge = '{"backbone": "r18", "num_classes": 100000, "width": 16, "channels": 8192, "class_names": []}'  # 80 GB
    save_file({"head.scale": torch.zeros(5)}, tmp_path / "x.safetensors", {"configuration": huge})
    with pytest.raises(ValueError, match=r"x\.safetensors': describes a network of [\d,]+ numbers, but holds 5"):
        load_detector(tmp_path / "x.safetensors")
    torch.save({"bbox_head.atss_cls.weight": torch.zeros(10**9, 256, 0, 0)}, tmp_path / "y.pth")
    with pytest.raises(ValueError, match=r"y\.pth': describes a network of [\d,]+ numbers, but holds 0"):
        load_detector(tmp_path / "y.pth")
