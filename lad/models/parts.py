"""The networks in a checkpoint: the wrappers around its state dict, and the prefixes of its names."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

Part = Literal["student", "teacher", "ema"]
PARTS: tuple[Part, ...] = ("student", "teacher", "ema")
# Keys under which training codes keep a state dict, in order of preference: of trained and of averaged weights.
TRAINED = ("state_dict", "model", "model_state_dict", "student", "detector", "network", "net", "module")
AVERAGED = ("ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema")
WRAPPERS: dict[Part, tuple[str, ...]] = {
    "student": (*TRAINED, *AVERAGED),
    "teacher": ("teacher", *TRAINED, *AVERAGED),
    "ema": (*AVERAGED, *TRAINED),
}
# What torch.compile, distributed training, Lightning modules and OpenMMLab put before names.
PREFIX = re.compile(
    r"(?:_orig_mod|module|model|detector|network|net|student(?:_model)?|teacher|ema|model_ema)\."
    r"|(?:teacher|ema)_(?:model\.)?(?:module[._])?"
)
COMPILED = "_orig_mod."  # also within names, where only the backbone or the head was compiled
MAX_NESTING = 8  # of wrappers; a manipulated file may hold a dictionary that contains itself
NOT_NETWORK = ("data_preprocessor.",)
COUNTERS = ("n_averaged", "steps")  # of averaged weights: torch's AveragedModel, OpenMMLab 3.x


def unwrap(content: Any, part: Part = "student") -> dict[str, Tensor] | None:
    """Return the state dict in a file's content, alone or in wrappers; None if there is none.

    Names from a wrapper of the requested part, of the teacher or of averaged weights, get the prefix of that part.
    """
    prefix = ""
    for _ in range(MAX_NESTING):
        if not isinstance(content, dict) or _is_state(content):
            break
        key = next((key for key in WRAPPERS[part] if isinstance(content.get(key), dict) and content[key]), "")
        if (part == "teacher" and key == "teacher") or (part == "ema" and key in AVERAGED):
            prefix = f"{part}."
        content = content.get(key)
    if not isinstance(content, dict) or not _is_state(content):
        return None
    return {prefix + name: value for name, value in content.items()}


def part_of(state: Mapping[str, Any], part: Part) -> dict[str, Tensor]:
    """Return the tensors of one network of a checkpoint, without prefixes.

    Raises:
        ValueError: If the checkpoint does not contain this network, or two names are equal without their prefixes.
    """
    if part not in PARTS:
        raise ValueError(f"part='{part}' is not one of {', '.join(PARTS)}")
    parts: dict[Part, dict[str, Tensor]] = {name: {} for name in PARTS}
    full_names: dict[tuple[Part, str], str] = {}
    state = unwrap(state, part) or {}
    for full_name, value in state.items():
        owner, name = split_name(full_name)
        if name.startswith(NOT_NETWORK) or name in COUNTERS:
            continue
        if name in parts[owner]:
            raise ValueError(f"contains {name} twice: as {full_names[owner, name]} and as {full_name}")
        parts[owner][name], full_names[owner, name] = value, full_name
    if part == "ema" and not parts["ema"] and any(split_name(name)[1] in COUNTERS for name in state):
        return parts["student"]  # the state dict of torch's AveragedModel
    if not parts[part]:
        available = " or ".join(f"part='{name}'" for name, tensors in parts.items() if tensors) or "no network"
        raise ValueError(f"contains no {part}; it contains {available}")
    if part != "ema":
        return parts[part]
    # OpenMMLab 2.x writes these names without dots; the plain names show where the dots belong.
    dotted = {name.replace(".", "_"): name for name in parts["student"]}
    return {dotted.get(name, name): value for name, value in parts["ema"].items()}


def split_name(name: str) -> tuple[Part, str]:
    """Return the network that the prefixes of a name belong to, and the name without them."""
    owner: Part = "student"
    while match := PREFIX.match(name):
        owner = "teacher" if "teacher" in match[0] else "ema" if "ema" in match[0] else owner
        name = name[match.end() :]
    return owner, name.replace(COMPILED, "")


def _is_state(content: Mapping[Any, Any]) -> bool:
    """Return whether all of it is names and tensors."""
    return bool(content) and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
