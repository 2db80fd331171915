"""Checkpoint names: OpenMMLab's PAA and LAD detectors ↔ ours."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from lad.geometry import STRIDES
from lad.models.detector import Detector
from lad.models.safe_load import WRAPPERS

Part = Literal["student", "teacher", "ema"]
PARTS: tuple[Part, ...] = ("student", "teacher", "ema")

# Ours → OpenMMLab's, the first that fits. A tower's layer i is conv, GroupNorm, ReLU at 3i, 3i+1, 3i+2. A Swin's
# features are the embedding, then stages at odd places with the patch mergings between them.
RULES: tuple[tuple[str, str], ...] = (
    (r"backbone\.features\.0\.0\.(.+)", r"backbone.patch_embed.projection.\1"),
    (r"backbone\.features\.0\.2\.(.+)", r"backbone.patch_embed.norm.\1"),
    *((rf"backbone\.features\.{2 * i + 2}\.(.+)", rf"backbone.stages.{i}.downsample.\1") for i in range(3)),
    *(
        (rf"backbone\.features\.{2 * i + 1}\.(\d+)\.{own}\.(.+)", rf"backbone.stages.{i}.blocks.\1.{theirs}.\2")
        for i in range(4)
        for own, theirs in (
            ("norm1", "norm1"),
            ("attn", "attn.w_msa"),
            ("norm2", "norm2"),
            (r"mlp\.0", "ffn.layers.0.0"),
            (r"mlp\.3", "ffn.layers.1"),
        )
    ),
    (r"backbone\.norms\.(\d)\.(.+)", r"backbone.norm\1.\2"),
    (r"backbone\.(.+)", r"backbone.\1"),
    (r"fpn\.lateral\.(\d)\.(.+)", r"neck.lateral_convs.\1.conv.\2"),
    (r"fpn\.output\.(\d)\.(.+)", r"neck.fpn_convs.\1.conv.\2"),
    *((rf"fpn\.extra\.{i}\.(.+)", rf"neck.fpn_convs.{3 + i}.conv.\1") for i in range(2)),
    *((rf"head\.(cls|reg)_tower\.{3 * i}\.(.+)", rf"bbox_head.\1_convs.{i}.conv.\2") for i in range(4)),
    *((rf"head\.(cls|reg)_tower\.{3 * i + 1}\.(.+)", rf"bbox_head.\1_convs.{i}.gn.\2") for i in range(4)),
    (r"head\.(cls|reg)\.(.+)", r"bbox_head.atss_\1.\2"),
    (r"head\.iou\.(.+)", r"bbox_head.atss_centerness.\1"),
    (r"head\.auxiliary\.coefficients\.(.+)", r"bbox_head.coeff_conv.\1"),
    (r"head\.auxiliary\.objectness\.(.+)", r"bbox_head.objectness.\1"),
    (r"head\.auxiliary\.bias\.(.+)", r"bbox_head.obj_bias.\1"),
)
SCALE = "head.scale"  # one tensor here, one per level there
SCALE_NAMES = tuple(f"bbox_head.scales.{level}.scale" for level in range(len(STRIDES)))
CLASSIFIER = ("head.cls.weight", "head.cls.bias")
MERGING = re.compile(r"backbone\.features\.[246]\.(norm|reduction)\.")
# Follow from the architecture, count batches, or serve no level: files may lack them. The others are no network.
MAY_LACK = ("num_batches_tracked", "relative_position_index", "norms.0.weight", "norms.0.bias")
NOT_NETWORK = ("data_preprocessor.",)
# The published heads create these branches even where their forward pass does not use them.
UNUSED_OBJECTNESS, UNUSED_IOU = "bbox_head.objectness.", "bbox_head.atss_centerness."


def load_openmmlab_state(
    detector: Detector, state: Mapping[str, Any], part: Part = "student", new_classifier: bool = False
) -> None:
    """Load an OpenMMLab PAA or LAD checkpoint (2.x or 3.x, or the paper's own) into `detector`, in place.

    state: its state dict, alone or under "state_dict"; a prefix `module.` is dropped. part: which network of it:
    "student", "teacher" (names that start with `teacher_`) or "ema" (`ema_`, the other copy of a network that was
    averaged: OpenMMLab 2.x saves the averages under the plain names and the raw weights under these). new_classifier:
    where the numbers of classes differ, keep the detector's own, freshly initialized classifier.

    Raises ValueError, with every name listed, if a name is unknown or missing or a shape differs; then nothing was
    loaded.
    """
    theirs = part_of(state, part)
    ours = detector.state_dict()
    loaded: dict[str, Tensor] = {}
    problems: list[str] = []
    own_name_of = {openmmlab_name(name): name for name in ours if name != SCALE}
    scales = [theirs[name] for name in SCALE_NAMES if name in theirs and theirs[name].numel() == 1]
    if len(scales) == len(SCALE_NAMES):
        loaded[SCALE] = torch.stack([scale.reshape(()) for scale in scales])
    unused = (UNUSED_OBJECTNESS,) * (detector.head.kind == "cop") + (UNUSED_IOU,) * (detector.head.iou is None)
    for name, value in theirs.items():
        if name.startswith(unused):
            continue
        if name in SCALE_NAMES:
            if value.numel() != 1:
                problems.append(f"{name} has shape {list(value.shape)}, expected []")
            continue
        own_name = own_name_of.get(re.sub(r"conv2_offset\.", "conv2.conv_offset.", name))
        if own_name is None:
            problems.append(f"unknown name {name}")
            continue
        own = ours[own_name]
        value = own if own_name.endswith("relative_position_index") else _from_theirs(own_name, value)
        is_other_classifier = own_name in CLASSIFIER and own.shape[1:] == value.shape[1:] and own.shape != value.shape
        if is_other_classifier and new_classifier:
            value = own
        elif own.shape != value.shape:
            remedy = "; new_classifier=True keeps a fresh classifier" if is_other_classifier else ""
            problems.append(f"{name} has shape {list(value.shape)}, expected {list(own.shape)}{remedy}")
        loaded[own_name] = value
    missing = [name for name in ours if name not in loaded and not name.endswith(MAY_LACK) and name != SCALE]
    problems += [f"nothing for {name}" for name in (*missing, *(name for name in SCALE_NAMES if name not in theirs))]
    if problems:
        backbone = detector.configuration.backbone
        raise ValueError(f"the OpenMMLab checkpoint does not fit this detector ({backbone}): {', '.join(problems)}")
    detector.load_state_dict({**ours, **loaded})


def to_openmmlab_state(detector: Detector) -> dict[str, Tensor]:
    """The detector's weights under OpenMMLab's names, for its PAA and LAD detectors: loading, reversed."""
    state: dict[str, Tensor] = {}
    for name, value in detector.state_dict().items():
        if name == SCALE:
            state |= dict(zip(SCALE_NAMES, value.unbind(), strict=True))
        else:
            state[openmmlab_name(name)] = _to_theirs(name, value)
    return state


def openmmlab_name(own_name: str) -> str:
    """OpenMMLab's name of one of our tensors; the name itself where it has none."""
    for pattern, replacement in RULES:
        match = re.fullmatch(pattern, own_name)
        if match:
            return match.expand(replacement)
    return own_name


def part_of(state: Mapping[str, Any], part: Part) -> dict[str, Tensor]:
    """The tensors of one network of an OpenMMLab checkpoint, prefixes dropped. Raises ValueError if there is none."""
    if part not in PARTS:
        raise ValueError(f"part='{part}' is not one of {', '.join(PARTS)}")
    for wrapper in WRAPPERS:
        state = state.get(wrapper, state)
    parts: dict[str, dict[str, Tensor]] = {name: {} for name in PARTS}
    for name, value in state.items():
        while name.startswith("module."):
            name = name.removeprefix("module.")
        prefixed = re.match(r"(teacher|ema)_(?:model\.)?(?:module[._])?", name)
        if not name.startswith(NOT_NETWORK):
            parts[prefixed[1] if prefixed else "student"][name[prefixed.end() :] if prefixed else name] = value
    if not parts[part]:
        found = " or ".join(f"part='{name}'" for name, tensors in parts.items() if tensors) or "no network"
        raise ValueError(f"the OpenMMLab checkpoint holds no {part}; it holds {found}")
    if part != "ema":
        return parts[part]
    # 2.x writes these names without dots: the plain ones tell where they were.
    dotted = {name.replace(".", "_"): name for name in parts["student"]}
    return {dotted.get(name, name): value for name, value in parts["ema"].items()}


def _from_theirs(own_name: str, value: Tensor) -> Tensor:
    """Patch mergings there order a patch's four pixels within each channel, row by row; ours come pixel by pixel, with
    all channels, column by column."""
    if not MERGING.match(own_name) or value.shape[-1] % 4:
        return value
    patches = value.unflatten(-1, (-1, 4)).transpose(-1, -2)[..., [0, 2, 1, 3], :]  # [.., pixel, channel]
    return patches.flatten(-2)


def _to_theirs(own_name: str, value: Tensor) -> Tensor:
    if own_name.endswith("relative_position_index"):
        side = int(value.numel() ** 0.5)
        return value.reshape(side, side)
    if not MERGING.match(own_name):
        return value
    return value.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :].transpose(-1, -2).flatten(-2)
