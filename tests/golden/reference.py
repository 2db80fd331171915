"""Detectors filled with the reference weights, by their OpenMMLab names."""

import json
from pathlib import Path

import torch
from fill import fill_openmmlab_state

from lad.models.detector import Detector, build_detector
from lad.models.openmmlab import load_openmmlab_state

HERE = Path(__file__).parent


def openmmlab_state(backbone: str, num_classes: int = 80) -> dict[str, torch.Tensor]:
    """Zeros under the names and shapes of OpenMMLab's PAA checkpoint with that backbone."""
    shapes = json.loads((HERE / "openmmlab_state_keys.json").read_text())[f"paa_{backbone}"]
    state = {}
    for name, shape in shapes.items():
        shape = [num_classes, *shape[1:]] if "atss_cls" in name else shape
        state[name] = torch.zeros(shape, dtype=torch.int64 if name.endswith("num_batches_tracked") else torch.float32)
    return state


def reference_detector(backbone: str, num_classes: int, prefix: str = "") -> Detector:
    """The detector of the reference cases `full_model` and `trajectory`."""
    state = openmmlab_state(backbone, num_classes)
    fill_openmmlab_state(state, int(backbone[1:]), 0, prefix)
    detector = build_detector(backbone, num_classes, frozen_stages=1, norm_eval=True)
    load_openmmlab_state(detector, state)
    return detector
