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
from lad.models.heads.paa import PAAHead
from lad.models.openmmlab import load_openmmlab_state, to_openmmlab_state
from lad.structures import DetectorFeatures, HeadOutputs, Targets

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


def reference_head(prefix: str) -> PAAHead:
    """Return the head of the reference case `distillation`: the student's with prefix "", the teacher's "teacher."."""
    detector = build_detector("r18", 20, 0.25, channels=64)
    state = to_openmmlab_state(detector)
    fill_openmmlab_state(state, 18, 0, prefix)
    load_openmmlab_state(detector, state)
    return detector.head


def reference_features(
    case: Mapping[str, Tensor], network: str, head: PAAHead | None = None, requires_grad: bool = False
) -> DetectorFeatures:
    """Return a network's features of the reference case `distillation`, as copies, and what its head makes of them."""
    head = head or reference_head("" if network == "student" else "teacher.")
    pyramid = tuple(case[f"{network}_p{level}"].clone().requires_grad_(requires_grad) for level in range(3, 8))
    towers = head.tower_features(pyramid)
    return DetectorFeatures(head.predict_from_features(*towers), pyramid, *towers)
