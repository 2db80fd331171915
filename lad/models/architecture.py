"""The architecture of a checkpoint: inferred from its names and shapes, and checked against what is supported."""

import functools
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lad.geometry import STRIDES
from lad.models.backbones.registry import BACKBONES
from lad.models.detector import Configuration, Detector, build_detector
from lad.models.heads.registry import HEADS
from lad.models.openmmlab import CLASSIFIER, CLASSIFIER_NAME, SCALE, to_openmmlab_state

REGRESSION_NAMES = ("bbox_head.atss_reg.weight", "head.reg.weight")  # OpenMMLab's and ours
LEVEL_NAMES = ("bbox_head.scales", "neck.fpn_convs")  # OpenMMLab's, followed by the index of the level
ANCHORS = re.compile(r"anchor_generator\s*=\s*dict\(((?:[^()]|\([^()]*\))*)\)")
# Values of an OpenMMLab config's anchor generator that load: one square of 8 strides per location.
SUPPORTED_ANCHORS = {
    "strides": tuple(map(float, STRIDES)),
    "ratios": (1.0,),
    "octave_base_scale": (8.0,),
    "scales_per_octave": (1.0,),
    "scales": (8.0,),
    "center_offset": (0.0,),
}


def build(configuration: Configuration) -> Detector:
    """Build the network of a configuration."""
    detector = build_detector(
        configuration.backbone,
        configuration.num_classes,
        configuration.width,
        configuration.head,
        iou_branch=configuration.iou_branch,
        channels=configuration.channels,
    )
    detector.configuration = configuration
    return detector


def has_own_names(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether a detector's tensors have this package's names, not OpenMMLab's."""
    return CLASSIFIER[0] in tensors


def infer_configuration(tensors: Mapping[str, Tensor]) -> Configuration:
    """Return the configuration, width included, whose backbone has the most names and shapes of these tensors.

    Args:
        tensors: A detector's tensors under OpenMMLab's or this package's names, without prefixes.

    Raises:
        ValueError: If they are not those of a PAA or LAD detector.
    """
    is_own = has_own_names(tensors)
    classifier = tensors.get(CLASSIFIER[0] if is_own else CLASSIFIER_NAME)
    if classifier is None or classifier.dim() != 4:
        raise ValueError(f"contains no {CLASSIFIER_NAME} or {CLASSIFIER[0]}; it must be a PAA or LAD detector")
    num_classes, channels = classifier.shape[:2]
    iou_branch = "head.iou.weight" in tensors or not is_own
    head = _infer_head(tensors, is_own)
    shapes = _backbone_shapes(tensors)

    def fit(backbone: str) -> tuple[int, float]:
        full = _shapes_of(Configuration(backbone, num_classes, channels=channels), is_own)
        stem = next(iter(full))
        width = shapes[stem][0] / full[stem][0] if shapes.get(stem) else 1.0
        candidate = _shapes_of(Configuration(backbone, num_classes, width, channels=channels), is_own)
        return -len(candidate.items() ^ shapes.items()), width

    best = max(BACKBONES, key=fit)
    return Configuration(best, num_classes, fit(best)[1], head, iou_branch, channels)


def check_anchors(tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Raise ValueError if a network was trained with other anchors than one square of 8 strides on each of P3 … P7.

    Args:
        tensors: A detector's tensors, without prefixes.
        meta: OpenMMLab's metadata, whose config text names the anchors; other files show only their number.
    """
    for name in REGRESSION_NAMES:
        outputs = tensors[name].shape[0] if name in tensors and tensors[name].dim() else 4
        if outputs > 4 and outputs % 4 == 0:
            raise ValueError(f"has {outputs // 4} anchors per location ({name}); only 1 is supported, as in PAA")
    for name, levels in _numbers_of_levels(tensors).items():
        if levels != len(STRIDES):
            raise ValueError(f"has {levels} pyramid levels ({name}); only {len(STRIDES)} are supported, P3 to P7")
    config = meta.get("config", meta.get("cfg"))
    for anchors in ANCHORS.finditer(config if isinstance(config, str) else ""):
        for name, supported in SUPPORTED_ANCHORS.items():
            value = re.search(rf"\b{name}\s*=\s*(\[[^\]]*\]|\([^)]*\)|[\d.]+)", anchors[1])
            if value and tuple(map(float, re.findall(r"\d+\.?\d*", value[1]))) != supported:
                raise ValueError(
                    f"was trained with other anchors: {name}={' '.join(value[1].split())[:80]} in its config, but only "
                    f"{', '.join(f'{number:g}' for number in supported)} is supported"
                )


def _numbers_of_levels(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Return how many pyramid levels there are by each group of names."""
    levels = {SCALE: tensors[SCALE].numel()} if SCALE in tensors else {}
    for name in LEVEL_NAMES:
        indices = [int(match[1]) for tensor in tensors if (match := re.match(rf"{re.escape(name)}\.(\d+)\.", tensor))]
        levels |= {name: max(indices) + 1} if indices else {}
    return levels


def _infer_head(tensors: Mapping[str, Tensor], is_own: bool) -> str:
    """Return the head with a tensor that only it has, in OpenMMLab's files, or with all names of ours."""
    if not is_own:
        keys = {name: f"bbox_head.{entry.openmmlab_key}" for name, entry in HEADS.items() if entry.openmmlab_key}
        return next((name for name, key in keys.items() if key in tensors), Configuration.head)
    names = {name.removeprefix("head.") for name in tensors if name.startswith("head.")}

    def differences(head: str) -> int:
        with torch.device("meta"):
            return len(HEADS[head].build(64, 1, iou_branch="iou.weight" in names).state_dict().keys() ^ names)

    return min(HEADS, key=differences)


@functools.lru_cache(maxsize=64)
def _shapes_of(configuration: Configuration, is_own: bool) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a backbone under our or OpenMMLab's names."""
    with torch.device("meta"):  # allocates no memory
        detector = build(configuration)
        return _backbone_shapes(detector.state_dict() if is_own else to_openmmlab_state(detector))


def _backbone_shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a backbone."""
    return {name: tuple(value.shape) for name, value in tensors.items() if name.startswith("backbone.")}
