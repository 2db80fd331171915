"""The identity of a run: which parameters make two runs the same experiment."""

from collections.abc import Mapping
from typing import Any

# Parameters without effect on a run's numbers: where it runs, what evaluates it, what is saved and logged; and the
# places of detectors that are known by the hash of their weights.
NOT_HASHED = frozenset(
    {
        "out", "rerun", "devices", "accelerator", "workers", "threads", "evaluator", "save_epochs", "checkpoint_every",
        "logger", "init", "init_part", "teacher_checkpoint", "teacher_part",
    }
)  # fmt: skip
# Later parameters that change numbers. At these values, those of runs before them, they are no part of the identity.
ADDED = {
    "max_detections": 100, "augment": {}, "images": None, "val_share": None, "distill": [], "teach_until": 1.0,
    "other_teachers": [], "other_teachers_sha256": [],
}  # fmt: skip
# Likewise by name of the parameter that holds them, later options of an assigner or a method.
ADDED_OPTIONS: dict[str, dict[str, Any]] = {"assigner_options": {"separation": "c", "normalize_cost": False}}


def hashed_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters outside `NOT_HASHED`, defaults included, except for those `ADDED` later.

    Other teachers that are detectors are known by the hash of their weights, not by their place.
    """
    kept = without_added({name: value for name, value in values.items() if name not in NOT_HASHED})
    if "other_teachers" in kept:
        pairs = zip(kept["other_teachers"], kept.pop("other_teachers_sha256", []), strict=False)
        kept["other_teachers"] = [digest or teacher for teacher, digest in pairs]
    return kept


def without_added(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters by name without those, and without options, added later that have the value of runs before."""
    kept = {name: value for name, value in values.items() if name not in ADDED or value != ADDED[name]}
    for name, added in ADDED_OPTIONS.items():
        if isinstance(options := kept.get(name), Mapping):
            kept[name] = {
                option: value for option, value in options.items() if option not in added or value != added[option]
            }
    return kept
