"""Reading tensors from checkpoint files without ever running what is in them."""

import hashlib
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

# OpenMMLab and torchvision end a file's name in the first digits of its SHA-256. 20210601 is no such end but a date.
DIGEST = re.compile(r"-(?!(?:19|20)\d{6}\.)([0-9a-f]{8})\.pth$")
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
WRAPPERS = ("state_dict", "model")  # where OpenMMLab and others keep the tensors among other things
# What OpenMMLab 3.x saves of its logs beside the tensors. These names are read as empty objects: nothing of them runs.
LOG_OBJECTS = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "builtins.getattr",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
)


class _Ignored:
    """Stands for an object of a log."""

    def __init__(self, *_arguments: Any) -> None:
        pass

    def __setstate__(self, _state: Any) -> None:
        pass


def read_tensors(path: Path, said: str = "") -> dict[str, Tensor]:
    """Names and tensors of a checkpoint file; see `read_checkpoint`."""
    return read_checkpoint(path, said)[0]


def read_checkpoint(path: Path, said: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Names and tensors of a checkpoint file, safetensors or torch's format, on the CPU, and its metadata (OpenMMLab's
    `meta`); what else a training framework keeps beside them is left out. said: how the user named the file.

    Raises ValueError when there is no such file, when it is not the one that the hash in its name tells of, when it is
    cut short or no checkpoint, when it holds code or objects (none of it is run), and when a tensor is of a kind that
    no network has or holds values that are not finite.
    """
    said = said or f"checkpoint '{path}'"
    if not path.is_file():
        raise ValueError(f"{said}: no such file")
    _check_digest(path, said)
    is_ours = path.suffix == ".safetensors"
    state, meta = _read_safetensors(path, said) if is_ours else _unwrapped(_read_torch(path, said), said)
    _check_kinds(state, path, said)
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        more = f" and {len(broken) - 1} more tensors" if len(broken) > 1 else ""
        raise ValueError(f"{said}: NaN or infinite values in {broken[0]}{more}; its training diverged, take another")
    return state, meta


def _check_digest(path: Path, said: str) -> None:
    named = DIGEST.search(path.name)
    if named is None:
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[: len(named[1])]
    if digest != named[1]:
        raise ValueError(
            f"{said}: its SHA-256 begins with {digest}, not with {named[1]} as its name says; it was cut short or "
            "changed on the way: fetch it again, or rename it if these digits are not meant as a hash"
        )


def _check_kinds(state: Mapping[str, Tensor], path: Path, said: str) -> None:
    """Plain tensors only. One that repeats its values is small in the file and can be of any size in memory."""
    size = path.stat().st_size
    for name, value in state.items():
        kinds = FLOATS if name.endswith((".weight", ".bias")) else FLOATS + INTEGERS
        if value.dtype not in kinds or value.layout != torch.strided or value.device.type != "cpu":
            kind = ", ".join(str(one) for one in (value.dtype, value.layout, f"on {value.device.type}"))
            raise ValueError(f"{said}: {name} is of no kind that a network here has ({kind})")
        if value.numel() * value.element_size() > size:
            raise ValueError(f"{said}: {name} claims {value.numel()} values, more than the file has bytes for")


def _read_safetensors(path: Path, said: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{said}: cut short or not a safetensors file ({error})") from None


def _read_torch(path: Path, said: str) -> Any:
    if _unpacks_to_more(path):  # torch compresses nothing; this could become of any size in memory
        raise ValueError(f"{said}: is a compressed archive; unpack it and give the file in it")
    ignored = [type(name, (_Ignored,), {}) for name in LOG_OBJECTS]
    with torch.serialization.safe_globals(list(zip(ignored, LOG_OBJECTS, strict=True))):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            found = re.search(r"GLOBAL (\S+)|Loading global from module (\S+)|class (\S+)", str(error))
            what = f" ({next(filter(None, found.groups()))})" if found else ""
            raise ValueError(f"{said}: refused, as it holds more than tensors{what}; nothing in it was run") from None
        except Exception:  # a damaged file fails in every way there is
            raise ValueError(f"{said}: cut short or no checkpoint") from None


def _unpacks_to_more(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(part.file_size for part in archive.infolist()) > path.stat().st_size
    except Exception:  # no archive, as torch's older files are none, or a damaged one; torch says so
        return False


def _unwrapped(content: Any, said: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    meta = content.get("meta") if isinstance(content, dict) else None
    for name in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    is_state = isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )
    if not is_state or not content:
        raise ValueError(f"{said}: holds no state dict (names and tensors, alone or under 'state_dict')")
    return dict(content), meta if isinstance(meta, dict) else {}
