"""The reference cases as this project's structures, and detectors filled with the reference weights."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from fill import fill_openmmlab_state
from torch import Tensor

from lad.assigners import AssignmentContext, match_candidates
from lad.geometry import make_anchors
from lad.models.detector import Detector, build_detector
from lad.models.openmmlab import load_openmmlab_state
from lad.structures import HeadOutputs, Targets

HERE = Path(__file__).parent


def reference_outputs(case: Mapping[str, Tensor], prefix: str = "", requires_grad: bool = False) -> HeadOutputs:
    """Return the head outputs that a case stores under `prefix`, as copies if they require gradients."""
    fields = (case[prefix + name] for name in HeadOutputs._fields)
    return HeadOutputs(*(field.clone().requires_grad_() if requires_grad else field for field in fields))


def reference_context(case: Mapping[str, Tensor]) -> AssignmentContext:
    """Return the anchors, gts and PAA candidates of the case `paa_assignment`, which other cases share."""
    height, width = case["padded_hw"].tolist()
    anchors = make_anchors((height, width))
    targets = Targets(case["gt_boxes"], case["gt_labels"], case["gt_image"], case["image_hw"])
    return AssignmentContext(match_candidates(anchors, targets), anchors, targets)


def label_map(gt_index: Tensor, targets: Targets, num_classes: int) -> Tensor:
    """Return an assignment gt_index [N, A] as the published code stores it: labels, and `num_classes` for the rest."""
    return torch.where(gt_index >= 0, targets.labels[gt_index.clamp(min=0)], num_classes)


def openmmlab_state(backbone: str, num_classes: int = 80) -> dict[str, torch.Tensor]:
    """Return zeros under the names and shapes of OpenMMLab's PAA checkpoint with that backbone."""
    shapes = json.loads((HERE / "openmmlab_state_keys.json").read_text())[f"paa_{backbone}"]
    state = {}
    for name, shape in shapes.items():
        shape = [num_classes, *shape[1:]] if "atss_cls" in name else shape
        state[name] = torch.zeros(shape, dtype=torch.int64 if name.endswith("num_batches_tracked") else torch.float32)
    return state


def reference_detector(backbone: str, num_classes: int, prefix: str = "") -> Detector:
    """Return the detector of the reference cases `full_model` and `trajectory`."""
    state = openmmlab_state(backbone, num_classes)
    fill_openmmlab_state(state, int(backbone[1:]), 0, prefix)
    detector = build_detector(backbone, num_classes, frozen_stages=1, norm_eval=True)
    load_openmmlab_state(detector, state)
    return detector
