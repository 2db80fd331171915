"""What parameters take from the file of a trained detector: its architecture, and the hash of its weights."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lad.config.evaluation import existing_path
from lad.models.detector import Configuration
from lad.models.parts import Part
from lad.models.serialization import load_detector, weights_digest
from lad.models.zoo import checkpoint_file, is_published
from lad.utils.messages import format_value

RUN_WEIGHTS = "model.safetensors"  # of a run's folder
NETWORK_FIELDS = ("width", "head", "iou_branch", "channels")  # of a configuration, and parameters of the same names


@dataclass(frozen=True)
class CheckpointFacts:
    """What is known of a checkpoint without its weights.

    Attributes:
        configuration: Architecture and classes.
        digest: Hash of its weights and classes; see `weights_digest`.
    """

    configuration: Configuration
    digest: str


def read_facts(checkpoint: str, part: Part = "student") -> CheckpointFacts:
    """Read a checkpoint's architecture and hash; the file is read again only after it changed.

    Raises:
        ValueError: If there is no such file or published name, or it is not a detector.
    """
    status = checkpoint_file(checkpoint).stat()
    return _read_facts(checkpoint, part, status.st_mtime_ns, status.st_size)


def values_from_init(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the network parameters that `init` implies; empty without it."""
    if "init" not in given:
        return {}
    checkpoint, facts = _facts_of("init", given, given.get("init_part", "student"))
    values = {name: getattr(facts.configuration, name) for name in NETWORK_FIELDS}
    return {"student": facts.configuration.backbone, **values, **given, "init": checkpoint, "init_sha256": facts.digest}


def values_from_teacher(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the teacher parameters that `teacher_checkpoint` implies; empty without it.

    Raises:
        ValueError: If a given parameter contradicts the checkpoint.
    """
    if "teacher_checkpoint" not in given:
        return {}
    checkpoint, facts = _facts_of("teacher_checkpoint", given, given.get("teacher_part", "student"))
    values = {f"teacher_{name}": getattr(facts.configuration, name) for name in NETWORK_FIELDS}
    values["teacher"] = facts.configuration.backbone
    for name, value in values.items():
        if given.get(name, value) != value:
            raise ValueError(
                f"parameter '{name}' = {format_value(given[name])}, but teacher_checkpoint '{checkpoint}' has {value}; "
                f"leave {name} out"
            )
    return {**values, "teacher_checkpoint": checkpoint, "teacher_sha256": facts.digest}


def checkpoint_title(checkpoint: str) -> str:
    """Return the name of a checkpoint for tables: its published name, its run's, or its file's without the ending."""
    path = Path(checkpoint)
    if path.name == RUN_WEIGHTS and not is_published(checkpoint):
        return path.parent.name
    return re.sub(r"\.(pth|pt|safetensors)$", "", path.name)


def _facts_of(parameter: str, given: Mapping[str, Any], part: Any) -> tuple[str, CheckpointFacts]:
    """Return the checkpoint of a parameter, a path as an absolute one, and its facts."""
    checkpoint = str(given[parameter])
    if not is_published(checkpoint):
        path = existing_path(parameter, checkpoint)
        checkpoint = str(path / RUN_WEIGHTS if path.is_dir() else path)
    try:
        facts = read_facts(checkpoint, part)
    except ValueError as error:
        raise ValueError(f"parameter '{parameter}': {error}") from None
    expected = given.get(f"{parameter.removesuffix('_checkpoint')}_sha256", facts.digest)
    if expected != facts.digest:
        raise ValueError(
            f"parameter '{parameter}' = '{checkpoint}': its weights have the hash {facts.digest}, not {expected}"
        )
    return checkpoint, facts


@functools.lru_cache(maxsize=32)
def _read_facts(checkpoint: str, part: Part, _changed_at: int, _size: int) -> CheckpointFacts:
    detector = load_detector(checkpoint, part)
    return CheckpointFacts(detector.configuration, weights_digest(detector))
