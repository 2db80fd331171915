"""Parameters that follow from the file of a trained detector: its architecture, and the hash of its weights."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lad.config.evaluation import existing_path
from lad.models.backbones.registry import BACKBONES
from lad.models.detector import Configuration
from lad.models.parts import PARTS, Part
from lad.models.serialization import load_detector, weights_digest
from lad.models.zoo import WEIGHTS_FILE, checkpoint_file, is_published
from lad.utils.messages import format_value, invalid_choice_message

NETWORK_FIELDS = ("width", "head", "iou_branch", "channels")  # of a configuration, and parameters of the same names


@dataclass(frozen=True)
class CheckpointFacts:
    """A summary of a checkpoint, without its weights.

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
    """Return the network parameters that `init` implies; empty without it.

    Raises:
        ValueError: If `init` cannot be read, or a given parameter contradicts it, unless `init_partial` allows that.
    """
    if "init" not in given:
        return {}
    checkpoint, facts = _facts_of("init", given, given.get("init_part", "student"))
    values = {name: getattr(facts.configuration, name) for name in NETWORK_FIELDS}
    values["student"] = facts.configuration.backbone
    if given.get("init_partial") is not True:
        _refuse_contradictions(given, values, f"init '{checkpoint}'", ", or give init_partial=true to load what fits")
    return {**values, **given, "init": checkpoint, "init_sha256": facts.digest}


def values_from_teacher(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the teacher parameters that `teacher_checkpoint` implies; empty without it.

    Raises:
        ValueError: If `teacher_checkpoint` cannot be read, or a given parameter contradicts it.
    """
    if "teacher_checkpoint" not in given:
        return {}
    checkpoint, facts = _facts_of("teacher_checkpoint", given, given.get("teacher_part", "student"))
    values = {f"teacher_{name}": getattr(facts.configuration, name) for name in NETWORK_FIELDS}
    values["teacher"] = facts.configuration.backbone
    _refuse_contradictions(given, values, f"teacher_checkpoint '{checkpoint}'")
    return {**values, "teacher_checkpoint": checkpoint, "teacher_sha256": facts.digest}


def split_teachers(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given parameters, with a list given as `teacher_checkpoint` split into a teacher and the others.

    Raises:
        ValueError: The list is empty.
    """
    values, teachers = dict(given), given.get("teacher_checkpoint")
    if not isinstance(teachers, list):
        return values
    if not teachers:
        raise ValueError("parameter 'teacher_checkpoint' is an empty list; give a file, a run's folder or several")
    others = values.get("other_teachers", [])
    values["teacher_checkpoint"] = teachers[0]
    if teachers[1:] or others:
        values["other_teachers"] = [*teachers[1:], *(others if isinstance(others, list) else [others])]
    return values


def values_from_other_teachers(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `other_teachers`, with absolute paths, and the hashes of those that are detectors; empty without them.

    Raises:
        ValueError: A detector cannot be read, or has another hash than the given one.
    """
    others = given.get("other_teachers")
    if not others or not isinstance(others, list):
        return {}
    expected = given.get("other_teachers_sha256", [None] * len(others))
    if not isinstance(expected, list) or len(expected) != len(others):
        raise ValueError("other_teachers_sha256 follows from other_teachers; leave it out")
    names, digests = [], []
    part = given.get("teacher_part", "student")
    if part not in PARTS:
        raise ValueError(invalid_choice_message("teacher_part", part, PARTS))
    for teacher, digest in zip(others, expected, strict=True):
        if not isinstance(teacher, str):
            raise ValueError(f"parameter 'other_teachers': {format_value(teacher)} is no backbone or detector")
        if teacher not in BACKBONES:
            teacher, facts = _read_checkpoint("other_teachers", teacher, part, digest)
            digest = facts.digest
        names.append(teacher)
        digests.append(digest or "")
    return {"other_teachers": names, "other_teachers_sha256": digests}


def checkpoint_title(checkpoint: str) -> str:
    """Return the name of a checkpoint for tables: a published name, a run's name, or the file's without its ending.

    Other files of a run than its final weights have the run's name before theirs.
    """
    path = Path(checkpoint)
    stem = re.sub(r"\.(pth|pt|safetensors)$", "", path.name)
    if is_published(checkpoint):
        return stem
    if path.name == WEIGHTS_FILE:
        return path.parent.name
    run = next((folder for folder in (path.parent, path.parent.parent) if (folder / "params.json").is_file()), None)
    return stem if run is None else f"{run.name}/{stem}"


def _refuse_contradictions(
    given: Mapping[str, Any], values: Mapping[str, Any], source: str, alternative: str = ""
) -> None:
    """Raise ValueError if given parameters differ from the values that a checkpoint implies."""
    names = [name for name, value in values.items() if name in given and not _are_equal(given[name], value)]
    if names:
        different = ", ".join(f"{name} {values[name]}, not {format_value(given[name])}" for name in names)
        raise ValueError(f"{source} has {different}; leave out {' and '.join(names)}{alternative}")


def _are_equal(given: Any, value: Any) -> bool:
    """Return whether a given value, perhaps a number as text, is this value."""
    if isinstance(value, bool) or isinstance(given, bool):
        return given is value
    try:
        return given == value or float(given) == float(value)
    except (TypeError, ValueError, OverflowError):
        return False


def _facts_of(parameter: str, given: Mapping[str, Any], part: Any) -> tuple[str, CheckpointFacts]:
    """Return the checkpoint of a parameter, a path as an absolute one, and its facts."""
    prefix = parameter.removesuffix("_checkpoint")
    if part not in PARTS:
        raise ValueError(invalid_choice_message(f"{prefix}_part", part, PARTS))
    return _read_checkpoint(parameter, str(given[parameter]), part, given.get(f"{prefix}_sha256"))


def _read_checkpoint(parameter: str, checkpoint: str, part: Part, expected: str | None) -> tuple[str, CheckpointFacts]:
    if not checkpoint.strip():
        raise ValueError(f"parameter '{parameter}' is empty; give a file, a run's folder or a published name")
    if not is_published(checkpoint):
        checkpoint = str(existing_path(parameter, checkpoint))
    try:
        checkpoint = checkpoint if is_published(checkpoint) else str(checkpoint_file(checkpoint))
        facts = read_facts(checkpoint, part)
    except ValueError as error:
        raise ValueError(f"parameter '{parameter}': {error}") from None
    if expected not in (None, facts.digest):
        raise ValueError(
            f"parameter '{parameter}' = '{checkpoint}': its weights have the hash {facts.digest}, not {expected}"
        )
    return checkpoint, facts


@functools.lru_cache(maxsize=32)
def _read_facts(checkpoint: str, part: Part, _changed_at: int, _size: int) -> CheckpointFacts:
    detector = load_detector(checkpoint, part)
    return CheckpointFacts(detector.configuration, weights_digest(detector))
