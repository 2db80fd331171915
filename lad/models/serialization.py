"""Detectors as files: our own, a safetensors file with the configuration inside, and OpenMMLab's."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from lad.models.backbones.registry import BACKBONES
from lad.models.detector import Configuration, Detector, build_detector
from lad.models.heads.registry import HEADS
from lad.models.openmmlab import CLASSIFIER_NAME, Part, load_openmmlab_state, part_of, to_openmmlab_state
from lad.models.safe_load import read_checkpoint
from lad.utils.atomic_io import atomic_write

SUFFIX = ".safetensors"
CONFIGURATION = "configuration"  # key of the file's metadata
MAX_SIZE = 100_000  # of a configuration's number of classes and image sides


def save_detector(detector: Detector, path: Path | str) -> None:
    """Save weights and configuration as one .safetensors file; an interrupted write keeps the existing file."""
    if Path(path).suffix != SUFFIX:
        raise ValueError(f"'{path}': a detector's file must end with {SUFFIX}")
    weights = {name: value.detach().cpu().contiguous() for name, value in detector.state_dict().items()}
    with atomic_write(Path(path)) as unfinished:
        unfinished.write_bytes(save(weights, {CONFIGURATION: _to_json(detector.configuration)}))


def save_openmmlab(detector: Detector, path: Path | str) -> None:
    """Save a checkpoint that OpenMMLab's PAA and LAD configs of this architecture load."""
    meta = {"CLASSES": detector.configuration.class_names, CONFIGURATION: _to_json(detector.configuration)}
    with atomic_write(Path(path)) as unfinished:
        torch.save({"meta": meta, "state_dict": to_openmmlab_state(detector)}, unfinished)


def load_detector(path: Path | str, part: Part = "student", iou_branch: bool = True) -> Detector:
    """Load a detector from a checkpoint file.

    Args:
        path: A file of `save_detector`, such as a run's model.safetensors, or one of OpenMMLab or the paper, whose
            backbone, width, head and classes are inferred from its names and shapes.
        part: Which network of an OpenMMLab file to load; see `load_openmmlab_state`.
        iou_branch: False for heads of the paper that were trained without the IoU branch; their files contain an
            untrained one.

    Returns:
        The detector in eval mode on the CPU, with frozen parameters.

    Raises:
        ValueError: If the file cannot be read, fits no network of this package, or contains NaNs; names the file.
    """
    path = Path(path)
    state, meta = read_checkpoint(path)
    configuration = _read_configuration(path, meta)
    try:
        if configuration is not None and (part != "student" or not iou_branch):
            raise ValueError("contains its configuration; part and iou_branch are for published checkpoints")
        if path.suffix == SUFFIX and configuration is not None:
            detector = _build_for(configuration, state)
            detector.load_state_dict(state)
        else:
            if configuration is None:
                configuration = dataclasses.replace(_infer_configuration(part_of(state, part)), iou_branch=iou_branch)
            detector = _build_for(configuration, state)
            load_openmmlab_state(detector, state, part)
    except (ValueError, ArithmeticError, RuntimeError) as error:
        raise ValueError(f"checkpoint '{path}': {' '.join(str(error).split())}") from None
    detector.to(memory_format=torch.channels_last)  # a fifth faster
    return detector.eval().requires_grad_(False)


def _build_for(configuration: Configuration, state: Mapping[str, Tensor]) -> Detector:
    """Build the network; raise ValueError, before memory is allocated, if it is far larger than its weights."""
    with torch.device("meta"):
        needed = sum(parameter.numel() for parameter in _build(configuration).parameters())
    available = sum(value.numel() for value in state.values())
    if needed > 2 * available:  # below that, loading lists the names that are missing
        raise ValueError(f"describes a network of {needed:,} parameters, but contains {available:,}")
    return _build(configuration)


def _build(configuration: Configuration) -> Detector:
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


def _to_json(configuration: Configuration) -> str:
    """Return the configuration as JSON."""
    return json.dumps(dataclasses.asdict(configuration), ensure_ascii=False)


def _read_configuration(path: Path, meta: Mapping[str, Any]) -> Configuration | None:
    """Return the configuration in the metadata of a file of this package; None for any other file."""
    if CONFIGURATION not in meta:
        return None
    try:
        content = json.loads(meta[CONFIGURATION])
        configuration = Configuration(**{**content, "class_names": tuple(content["class_names"])})
        _check_sizes(configuration)
        with torch.device("meta"):
            _build(configuration)
        return configuration
    except (ValueError, TypeError, KeyError, ArithmeticError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"checkpoint '{path}': invalid configuration in its metadata ({reason})") from None


def _check_sizes(configuration: Configuration) -> None:
    """Raise ValueError for values that only a manipulated file has."""
    for name in ("num_classes", "short_side", "long_side"):
        size = getattr(configuration, name)
        if type(size) is not int or not 0 < size <= MAX_SIZE:
            raise ValueError(f"{name}={str(size)[:40]} must be a whole number from 1 to {MAX_SIZE}")
    names, num_classes = configuration.class_names, configuration.num_classes
    if not all(isinstance(name, str) for name in names) or len(names) not in (0, num_classes):
        raise ValueError(f"class_names are not {num_classes} names")


def _infer_configuration(tensors: Mapping[str, Tensor]) -> Configuration:
    """Return the configuration, width included, whose backbone has the most names and shapes of these tensors."""
    classifier = tensors.get(CLASSIFIER_NAME)
    if classifier is None or classifier.dim() != 4:
        raise ValueError(f"contains no {CLASSIFIER_NAME}; it must be a PAA or LAD detector of OpenMMLab")
    num_classes, channels = classifier.shape[:2]
    keys = {name: f"bbox_head.{entry.openmmlab_key}" for name, entry in HEADS.items() if entry.openmmlab_key}
    head = next((name for name, key in keys.items() if key in tensors), Configuration.head)
    shapes = _backbone_shapes(tensors)

    def fit(backbone: str) -> tuple[int, float]:
        full = _shapes_of(Configuration(backbone, num_classes, channels=channels))
        stem = next(iter(full))
        width = shapes[stem][0] / full[stem][0] if shapes.get(stem) else 1.0
        candidate = _shapes_of(Configuration(backbone, num_classes, width, channels=channels))
        return -len(candidate.items() ^ shapes.items()), width

    best = max(BACKBONES, key=fit)
    return Configuration(best, num_classes, fit(best)[1], head, channels=channels)


@functools.lru_cache(maxsize=64)
def _shapes_of(configuration: Configuration) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a backbone under OpenMMLab's names."""
    with torch.device("meta"):  # allocates no memory
        return _backbone_shapes(to_openmmlab_state(_build(configuration)))


def _backbone_shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a backbone."""
    return {name: tuple(value.shape) for name, value in tensors.items() if name.startswith("backbone.")}
