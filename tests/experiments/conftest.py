"""A small data set and a detector that is evaluated on it."""

import dataclasses
from pathlib import Path

import pytest
import torch
from evaluated import evaluate

from lad.data.synthetic.difficulties import DIFFICULTIES
from lad.data.synthetic.folders import write_shapes
from lad.experiments.evaluation_report import EvaluationReport
from lad.models.detector import build_detector
from lad.models.serialization import save_detector, save_openmmlab


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> Path:
    """A small data set, shapes/, and a random detector with many detections in both formats."""
    folder = tmp_path_factory.mktemp("workspace")
    write_shapes(folder / "shapes", "toy", {"train": 1, "val": 8})
    torch.manual_seed(3)
    detector = build_detector("r18", num_classes=6, width=0.25, channels=64)
    with torch.no_grad():
        detector.head.cls.weight.mul_(20)
        detector.head.cls.bias.fill_(-1.0)
        detector.head.reg.bias.copy_(torch.tensor([0.0, 0.0, -2.0, -2.0]))
    names = DIFFICULTIES["toy"].classes
    detector.configuration = dataclasses.replace(
        detector.configuration, class_names=tuple(names), short_side=128, long_side=128
    )
    save_detector(detector, folder / "model.safetensors")
    save_openmmlab(detector, folder / "copy.pth")
    return folder


@pytest.fixture(scope="session")
def report(workspace) -> EvaluationReport:
    return evaluate(workspace)
