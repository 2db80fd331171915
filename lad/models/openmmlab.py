"""Checkpoint names: OpenMMLab's PAA and LAD detectors ↔ ours."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from lad.geometry import STRIDES
from lad.models.detector import Detector

# Patterns are tried in order against the OpenMMLab name. A tower's layer i is conv, GroupNorm, ReLU at 3i, 3i+1, 3i+2.
RULES: tuple[tuple[str, str], ...] = (
    (r"backbone\.(.+)", r"backbone.\1"),
    (r"neck\.lateral_convs\.(\d)\.conv\.(.+)", r"fpn.lateral.\1.\2"),
    (r"neck\.fpn_convs\.([012])\.conv\.(.+)", r"fpn.output.\1.\2"),
    (r"neck\.fpn_convs\.3\.conv\.(.+)", r"fpn.extra.0.\1"),
    (r"neck\.fpn_convs\.4\.conv\.(.+)", r"fpn.extra.1.\1"),
    *((rf"bbox_head\.(cls|reg)_convs\.{i}\.conv\.(.+)", rf"head.\1_tower.{3 * i}.\2") for i in range(4)),
    *((rf"bbox_head\.(cls|reg)_convs\.{i}\.gn\.(.+)", rf"head.\1_tower.{3 * i + 1}.\2") for i in range(4)),
    (r"bbox_head\.atss_cls\.(.+)", r"head.cls.\1"),
    (r"bbox_head\.atss_reg\.(.+)", r"head.reg.\1"),
    (r"bbox_head\.atss_centerness\.(.+)", r"head.iou.\1"),
)
SCALE_NAMES = tuple(f"bbox_head.scales.{level}.scale" for level in range(len(STRIDES)))


def load_openmmlab_state(detector: Detector, state: Mapping[str, Tensor]) -> None:
    """Load an OpenMMLab PAA or LAD checkpoint's state dict into `detector`, in place.

    Raises ValueError, with every name listed, if a name is unknown or missing or a shape differs; then nothing was
    loaded. Buffers `num_batches_tracked`, which older checkpoints lack, may be missing.
    """
    ours = detector.state_dict()
    loaded: dict[str, Tensor] = {}
    problems: list[str] = []
    scales = [state[name].reshape(()) for name in SCALE_NAMES if name in state]
    if len(scales) == len(SCALE_NAMES):
        loaded["head.scale"] = torch.stack(scales)
    for name, value in state.items():
        if name in SCALE_NAMES:
            continue
        own_name = _own_name(name)
        if own_name not in ours:
            problems.append(f"unknown name {name}")
        elif ours[own_name].shape != value.shape:
            problems.append(f"{name} has shape {list(value.shape)}, expected {list(ours[own_name].shape)}")
        loaded[own_name or name] = value
    missing = [name for name in ours if name not in loaded and not name.endswith("num_batches_tracked")]
    problems += [f"nothing for {name}" for name in missing]
    if problems:
        raise ValueError(f"the OpenMMLab checkpoint does not fit this detector: {'; '.join(problems)}")
    detector.load_state_dict({**ours, **loaded})


def _own_name(name: str) -> str | None:
    for pattern, replacement in RULES:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement)
    return None
