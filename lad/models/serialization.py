"""Detectors as files: our own, one safetensors file with the configuration inside, and OpenMMLab's."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from lad.models.backbones.registry import BACKBONES
from lad.models.detector import Configuration, Detector, build_detector
from lad.models.openmmlab import CLASSIFIER, Part, load_openmmlab_state, openmmlab_name, part_of, to_openmmlab_state
from lad.models.safe_load import read_checkpoint
from lad.utils.atomic_io import atomic_write

SUFFIX = ".safetensors"
CONFIGURATION = "configuration"  # key of the file's metadata
LARGEST = 100_000  # of a configuration's numbers of classes and of pixels
TELLING_NAMES = {"cop": "bbox_head.coeff_conv.weight", "iop": "bbox_head.obj_bias.weight"}  # OpenMMLab's, by head


def save_detector(detector: Detector, path: Path | str) -> None:
    """Write weights and configuration as one .safetensors file; an interrupted write leaves an older file as it was."""
    if Path(path).suffix != SUFFIX:
        raise ValueError(f"'{path}': a detector's file must end with {SUFFIX}")
    weights = {name: value.detach().cpu().contiguous() for name, value in detector.state_dict().items()}
    with atomic_write(Path(path)) as unfinished:
        unfinished.write_bytes(save(weights, {CONFIGURATION: _written(detector.configuration)}))


def save_openmmlab(detector: Detector, path: Path | str) -> None:
    """Write a checkpoint that OpenMMLab's PAA and LAD configs of this architecture load."""
    meta = {"CLASSES": detector.configuration.class_names, CONFIGURATION: _written(detector.configuration)}
    with atomic_write(Path(path)) as unfinished:
        torch.save({"meta": meta, "state_dict": to_openmmlab_state(detector)}, unfinished)


def load_detector(path: Path | str, part: Part = "student", iou_branch: bool = True) -> Detector:
    """The detector of a checkpoint file, in eval mode on the CPU, its parameters frozen: one that `save_detector` wrote
    (every run's model.safetensors is), or OpenMMLab's or the paper's, whose backbone, head and classes are found from
    its names and shapes. part: which network of an OpenMMLab file. iou_branch: False for those of the paper's heads
    that were trained without it, whose files hold an untrained one.

    Raises ValueError, naming the file, if it cannot be read, does not fit any network here, or holds NaNs.
    """
    path = Path(path)
    state, meta = read_checkpoint(path)
    configuration = _configuration(path, meta)
    try:
        if configuration is not None and (part != "student" or not iou_branch):
            raise ValueError("says itself what it is; part and iou_branch are for published checkpoints")
        if path.suffix == SUFFIX and configuration is not None:
            detector = _built(configuration, state)
            detector.load_state_dict(state)
        else:
            guess = configuration or dataclasses.replace(_guessed(part_of(state, part)), iou_branch=iou_branch)
            detector = _built(guess, state)
            load_openmmlab_state(detector, state, part)
    except (ValueError, ArithmeticError, RuntimeError) as error:
        raise ValueError(f"checkpoint '{path}': {' '.join(str(error).split())}") from None
    detector.to(memory_format=torch.channels_last)  # a fifth faster
    return detector.eval().requires_grad_(False)


def _built(configuration: Configuration, state: Mapping[str, Tensor]) -> Detector:
    """The network for these weights. Raises ValueError, before it takes any memory, if it is far larger than they."""
    with torch.device("meta"):
        needed = sum(parameter.numel() for parameter in _network(configuration).parameters())
    held = sum(value.numel() for value in state.values())
    if needed > 2 * held:  # of one that lacks a few tensors their names are told
        raise ValueError(f"describes a network of {needed:,} numbers, but holds {held:,}")
    return _network(configuration)


def _network(configuration: Configuration) -> Detector:
    one = configuration
    detector = build_detector(
        one.backbone, one.num_classes, one.width, one.head, iou_branch=one.iou_branch, channels=one.channels
    )
    detector.configuration = configuration
    return detector


def _written(configuration: Configuration) -> str:
    return json.dumps(dataclasses.asdict(configuration), ensure_ascii=False)


def _configuration(path: Path, meta: Mapping[str, Any]) -> Configuration | None:
    """What a file that we wrote says of itself; None for any other."""
    if CONFIGURATION not in meta:
        return None
    try:
        content = json.loads(meta[CONFIGURATION])
        configuration = Configuration(**{**content, "class_names": tuple(content["class_names"])})
        _check(configuration)
        with torch.device("meta"):
            _network(configuration)
        return configuration
    except (ValueError, TypeError, KeyError, ArithmeticError, RuntimeError) as error:
        why = " ".join(str(error).split())
        raise ValueError(f"checkpoint '{path}': its configuration is not one of ours ({why})") from None


def _check(one: Configuration) -> None:
    """Raises ValueError for values that a file made by another hand may have."""
    sizes = {"num_classes": one.num_classes, "short_side": one.short_side, "long_side": one.long_side}
    for name, size in sizes.items():
        if type(size) is not int or not 0 < size <= LARGEST:
            raise ValueError(f"{name}={str(size)[:40]} must be a whole number from 1 to {LARGEST}")
    if not all(isinstance(name, str) for name in one.class_names) or len(one.class_names) not in (0, one.num_classes):
        raise ValueError(f"class_names are not {one.num_classes} names")


def _guessed(theirs: Mapping[str, Tensor]) -> Configuration:
    """The architecture, and its width, whose backbone has the most tensors of these names and shapes."""
    classifier = theirs.get(openmmlab_name(CLASSIFIER[0]))
    if classifier is None or classifier.dim() != 4:
        raise ValueError(f"holds no {openmmlab_name(CLASSIFIER[0])}; a PAA or LAD detector of OpenMMLab is needed")
    num_classes, channels = classifier.shape[:2]
    head = next((kind for kind, name in TELLING_NAMES.items() if name in theirs), "paa")
    shapes = _backbone_shapes(theirs)

    def fit(backbone: str) -> tuple[int, float]:
        full = _shapes_of(Configuration(backbone, num_classes, channels=channels))
        stem = next(iter(full))
        width = shapes[stem][0] / full[stem][0] if shapes.get(stem) else 1.0
        own = _shapes_of(Configuration(backbone, num_classes, width, channels=channels))
        return -len(own.items() ^ shapes.items()), width

    best = max(BACKBONES, key=fit)
    return Configuration(best, num_classes, fit(best)[1], head, channels=channels)


def _shapes_of(configuration: Configuration) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):  # no memory
        return _backbone_shapes(to_openmmlab_state(_network(configuration)))


def _backbone_shapes(theirs: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in theirs.items() if name.startswith("backbone.")}
