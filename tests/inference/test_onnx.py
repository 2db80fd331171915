"""The exported file computes in onnxruntime what the detector computes in PyTorch."""

import json
from typing import Any

import onnxruntime
import pytest
import torch
from torch import nn

from lad.geometry import make_anchors
from lad.inference.onnx import export_onnx
from lad.inference.postprocess import detect
from lad.models.detector import Detector, build_detector

PADDED_HW = (128, 160)


def detector_with_many_boxes(backbone: str, bias: float = -1.0, **head: Any) -> Detector:
    """Build a random detector whose outputs have many boxes with a wide range of scores."""
    torch.manual_seed(0)
    detector = build_detector(backbone, num_classes=6, width=0.25, channels=64, **head).eval()
    with torch.no_grad():
        detector.head.cls.weight.mul_(20)
        detector.head.cls.bias.fill_(bias)
        for name, tensor in detector.named_parameters():
            if "conv_offset" in name:
                tensor.normal_(0, 0.1)
    return detector


@pytest.mark.parametrize(
    ("backbone", "head", "vote"),
    [
        ("r18", {}, True),
        ("r18", {"head": "iop", "iou_branch": False}, True),
        pytest.param("r18", {"head": "cop"}, True, marks=pytest.mark.slow),
        pytest.param("swin_t", {}, False, marks=pytest.mark.slow),
        pytest.param("x101_64x4d_dcn", {}, True, marks=pytest.mark.slow),
    ],
)
def test_detections_in_onnxruntime_equal_those_in_pytorch(backbone, head, vote, tmp_path):
    detector = detector_with_many_boxes(backbone, **head)
    export_onnx(detector, tmp_path / "x.onnx", PADDED_HW, vote)
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx")
    anchors = make_anchors(PADDED_HW)
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        image_hw = torch.tensor([[128 - 11 * seed, 160 - 5 * seed]])
        image = torch.randn(1, 3, *PADDED_HW, generator=generator)
        with torch.no_grad():
            (expected,) = detect(detector(image), anchors, image_hw, vote=vote)
        boxes, scores, labels = session.run(None, {"image": image.numpy(), "image_hw": image_hw.numpy()})
        assert len(scores) == len(expected.scores) == 100
        torch.testing.assert_close(torch.from_numpy(scores), expected.scores, atol=1e-5, rtol=0)
        assert torch.equal(torch.from_numpy(labels), expected.labels)
        torch.testing.assert_close(torch.from_numpy(boxes), expected.boxes, atol=1e-2, rtol=0)


def test_an_image_without_detections_has_empty_outputs(tmp_path):
    export_onnx(detector_with_many_boxes("r18", bias=-200.0), tmp_path / "x.onnx", PADDED_HW)
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx")
    image, image_hw = torch.zeros(1, 3, *PADDED_HW).numpy(), torch.tensor([PADDED_HW]).numpy()
    boxes, scores, labels = session.run(None, {"image": image, "image_hw": image_hw})
    assert boxes.shape == (0, 4) and scores.shape == (0,) and labels.shape == (0,)


def test_the_file_contains_its_configuration_and_normalization(tmp_path):
    export_onnx(detector_with_many_boxes("r18"), tmp_path / "x.onnx", PADDED_HW)
    metadata = onnxruntime.InferenceSession(tmp_path / "x.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(metadata["configuration"])["backbone"] == "r18"
    assert json.loads(metadata["mean"]) == [0.485, 0.456, 0.406]
    assert [file.name for file in tmp_path.iterdir()] == ["x.onnx"]


def test_what_cannot_be_exported_is_refused_in_one_line(tmp_path):
    path = tmp_path / "x.onnx"
    detector = detector_with_many_boxes("r18")
    with pytest.raises(ValueError, match=r"padded_hw=\(100, 128\) must be multiples of 32"):
        export_onnx(detector, path, (100, 128))

    class OwnHead(nn.Module):
        pass

    detector.head = OwnHead()
    with pytest.raises(ValueError, match="head OwnHead cannot be exported to ONNX; only PAAHead can"):
        export_onnx(detector, path, PADDED_HW)
    assert not path.exists()


def test_missing_packages_are_named_with_the_command_that_installs_them(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"ONNX export needs onnx and onnxscript; run: pip install 'lad-suite\[onnx\]'"
    ):
        export_onnx(detector_with_many_boxes("r18"), tmp_path / "x.onnx")
