"""Detectors as files: our own, a safetensors file with the configuration inside, and OpenMMLab's."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from lad.models.architecture import build, check_anchors, has_own_names, infer_configuration
from lad.models.detector import Configuration, Detector
from lad.models.openmmlab import load_openmmlab_state, to_openmmlab_state
from lad.models.parts import Part, part_of
from lad.models.safe_load import read_checkpoint
from lad.models.zoo import COCO_CLASSES, checkpoint_file, published_checkpoint
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


def load_detector(
    checkpoint: Path | str, part: Part = "student", iou_branch: bool | None = None, sha256: str | None = None
) -> Detector:
    """Load a detector from a checkpoint.

    Args:
        checkpoint: A file of `save_detector`; the folder of a finished run; a state dict under this package's or
            OpenMMLab's names, whose backbone, width, head and classes are inferred from names and shapes; a published
            name (`lad checkpoints` lists them) or a web address, downloaded on first use.
        part: Which network of a file with several to load; see `load_openmmlab_state`. With "ema", averaged weights are
            also found under "ema", "model_ema" and similar keys.
        iou_branch: False for heads of the paper that were trained without the IoU branch; their files contain an
            untrained one. None: what a published name implies, else True.
        sha256: SHA-256 of the file, or its first digits, to verify it by; a web address may need it.

    Returns:
        The detector in eval mode on the CPU, with frozen parameters.

    Raises:
        ValueError: If the file cannot be found, downloaded or read, fits no network of this package, or contains NaNs;
            names the file.
    """
    path, entry = checkpoint_file(checkpoint, sha256), published_checkpoint(checkpoint)
    state, meta = read_checkpoint(path, part=part)
    configuration = _read_configuration(path, meta)
    try:
        if configuration is not None and (part != "student" or iou_branch is False):
            raise ValueError("contains its configuration; part and iou_branch are for published checkpoints")
        tensors = part_of(state, part)
        check_anchors(tensors, meta)
        if configuration is None:
            iou_branch = entry.iou_branch if entry is not None and iou_branch is None else iou_branch
            configuration = _complete(infer_configuration(tensors), meta, iou_branch is not False, entry is not None)
        detector = _build_for(configuration, tensors)
        if has_own_names(tensors):
            detector.load_state_dict(tensors)
        else:
            load_openmmlab_state(detector, tensors)
    except (ValueError, ArithmeticError, RuntimeError) as error:
        raise ValueError(f"checkpoint '{path}': {' '.join(str(error).split())}") from None
    detector.to(memory_format=torch.channels_last)  # a fifth faster
    return detector.eval().requires_grad_(False)


def weights_digest(detector: Detector) -> str:
    """Return sixteen hex digits of the SHA-256 of a detector's weights, architecture and class names.

    It does not depend on the format of the file that the detector was loaded from. BatchNorm's counts of batches, which
    some files lack, and test sizes are left out.
    """
    configuration = dataclasses.replace(detector.configuration, short_side=800, long_side=1333)
    digest = hashlib.sha256(_to_json(configuration).encode())
    for name, value in sorted(detector.state_dict().items()):
        if not name.endswith("num_batches_tracked"):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _complete(
    configuration: Configuration, meta: Mapping[str, Any], is_iou_trained: bool, is_published: bool
) -> Configuration:
    """Return an inferred configuration with what names and shapes do not show: class names, an untrained IoU."""
    names = _class_names(meta)
    if len(names) != configuration.num_classes:
        names = COCO_CLASSES if is_published and configuration.num_classes == len(COCO_CLASSES) else ()
    iou_branch = configuration.iou_branch and is_iou_trained
    return dataclasses.replace(configuration, iou_branch=iou_branch, class_names=names)


def _class_names(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the class names in OpenMMLab's metadata, of 2.x or 3.x; empty if there are none."""
    dataset = meta.get("dataset_meta")
    for content, key in ((meta, "CLASSES"), (dataset, "CLASSES"), (dataset, "classes")):
        names = content.get(key) if isinstance(content, Mapping) else None
        if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
            return tuple(names)
    return ()


def _build_for(configuration: Configuration, state: Mapping[str, Tensor]) -> Detector:
    """Build the network; raise ValueError, before memory is allocated, if it is far larger than its weights."""
    with torch.device("meta"):
        needed = sum(parameter.numel() for parameter in build(configuration).parameters())
    available = sum(value.numel() for value in state.values())
    if needed > 2 * available:  # below that, loading lists the names that are missing
        raise ValueError(f"describes a network of {needed:,} parameters, but contains {available:,}")
    return build(configuration)


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
            build(configuration)
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
