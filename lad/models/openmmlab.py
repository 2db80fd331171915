"""OpenMMLab's PAA and LAD checkpoints: loading, and writing under its names."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lad.geometry import STRIDES
from lad.models.backbones.registry import BACKBONES
from lad.models.detector import Configuration, Detector
from lad.models.heads.registry import HEADS
from lad.models.parts import Part, part_of

Rules = tuple[tuple[str, str], ...]  # (pattern of our names, OpenMMLab's name); the first full match counts

FPN_RULES: Rules = (
    (r"fpn\.lateral\.(\d)\.(.+)", r"neck.lateral_convs.\1.conv.\2"),
    (r"fpn\.output\.(\d)\.(.+)", r"neck.fpn_convs.\1.conv.\2"),
    *((rf"fpn\.extra\.{i}\.(.+)", rf"neck.fpn_convs.{3 + i}.conv.\1") for i in range(2)),
)
SCALE = "head.scale"  # one tensor here, one per level in OpenMMLab
SCALE_NAMES = tuple(f"bbox_head.scales.{level}.scale" for level in range(len(STRIDES)))
CLASSIFIER = ("head.cls.weight", "head.cls.bias")
CLASSIFIER_NAME = "bbox_head.atss_cls.weight"
UNUSED_IOU = "bbox_head.atss_centerness."  # published heads have it even where they were trained without it


def load_openmmlab_state(
    detector: Detector, state: Mapping[str, Any], part: Part = "student", new_classifier: bool = False
) -> None:
    """Load an OpenMMLab PAA or LAD checkpoint (2.x or 3.x, or the paper's own) into `detector`, in place.

    Args:
        detector: The detector; unchanged if an error is raised.
        state: The checkpoint's state dict, alone or under "state_dict" and similar keys; prefixes such as `module.`
            are dropped.
        part: The network to load: "student"; "teacher", names that start with `teacher_`; or "ema", names that start
            with `ema_`: the other copy of a network with averaged weights. OpenMMLab saves the averages under the plain
            names and the raw weights under these.
        new_classifier: Whether the detector keeps its freshly initialized classifier if the numbers of classes differ.

    Raises:
        ValueError: If a name is unknown or missing or a shape differs; the message lists all of them.
    """
    tensors = part_of(state, part)
    own_state = detector.state_dict()
    configuration = detector.configuration
    layout, head = BACKBONES[configuration.backbone].openmmlab, HEADS[configuration.head]
    rules = name_rules(configuration)
    own_names = {openmmlab_name(name, rules): name for name in own_state if name != SCALE}
    unused = tuple(f"bbox_head.{name}" for name in head.openmmlab_unused)
    unused += () if configuration.iou_branch else (UNUSED_IOU,)
    loaded, problems = _load_scales(tensors) if SCALE in own_state else ({}, [])
    for name, value in tensors.items():
        if name.startswith(unused) or (name in SCALE_NAMES and SCALE in own_state):
            continue
        own_name = own_names.get(_current_name(name, layout.aliases))
        if own_name is None:
            problems.append(f"unknown name {name}")
            continue
        own = own_state[own_name]
        if layout.derived and own_name.endswith(layout.derived):
            value = own
        elif own_name.startswith("backbone."):
            value = layout.decode(own_name.removeprefix("backbone."), value)
        is_other_classifier = own_name in CLASSIFIER and own.shape[1:] == value.shape[1:] and own.shape != value.shape
        if is_other_classifier and new_classifier:
            value = own
        elif own.shape != value.shape:
            remedy = "; new_classifier=True keeps a fresh classifier" if is_other_classifier else ""
            problems.append(f"{name} has shape {list(value.shape)}, expected {list(own.shape)}{remedy}")
        loaded[own_name] = value
    may_lack = ("num_batches_tracked", SCALE, *layout.optional, *layout.derived)
    problems += [f"missing {name}" for name in own_state if name not in loaded and not name.endswith(may_lack)]
    if problems:
        raise ValueError(
            f"the OpenMMLab checkpoint does not fit this detector ({configuration.backbone}): {', '.join(problems)}"
        )
    detector.load_state_dict({**own_state, **loaded})


def to_openmmlab_state(detector: Detector) -> dict[str, Tensor]:
    """Return the detector's state dict under OpenMMLab's names, for its PAA and LAD detectors."""
    layout = BACKBONES[detector.configuration.backbone].openmmlab
    rules = name_rules(detector.configuration)
    state: dict[str, Tensor] = {}
    for name, value in detector.state_dict().items():
        if name == SCALE:
            state |= dict(zip(SCALE_NAMES, value.unbind(), strict=True))
        elif name.startswith("backbone."):
            state[openmmlab_name(name, rules)] = layout.encode(name.removeprefix("backbone."), value)
        else:
            state[openmmlab_name(name, rules)] = value
    return state


def name_rules(configuration: Configuration) -> Rules:
    """Return the rules that rename this detector's tensors to OpenMMLab's names."""
    backbone, head = BACKBONES[configuration.backbone].openmmlab.rules, HEADS[configuration.head].openmmlab_rules
    return (
        *((rf"backbone\.(?:{pattern})", f"backbone.{name}") for pattern, name in backbone),
        *FPN_RULES,
        *((rf"head\.(?:{pattern})", f"bbox_head.{name}") for pattern, name in head),
    )


def openmmlab_name(own_name: str, rules: Rules) -> str:
    """Return OpenMMLab's name of one of our tensors; the name itself if no rule matches."""
    for pattern, replacement in rules:
        match = re.fullmatch(pattern, own_name)
        if match:
            return match.expand(replacement)
    return own_name


def _load_scales(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Stack the scales of all levels; also return what is wrong with them."""
    problems = [
        f"{name} has shape {list(tensors[name].shape)}, expected []" if name in tensors else f"missing {name}"
        for name in SCALE_NAMES
        if name not in tensors or tensors[name].numel() != 1
    ]
    if problems:
        return {}, problems
    return {SCALE: torch.stack([tensors[name].reshape(()) for name in SCALE_NAMES])}, []


def _current_name(name: str, aliases: Rules) -> str:
    """Return OpenMMLab's current name of a tensor that an older version may have named differently."""
    for pattern, replacement in aliases:
        name = re.sub(pattern, replacement, name)
    return name
