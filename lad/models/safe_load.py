"""Reading tensors from checkpoint files without executing anything in them."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251  an exception, which loads nothing
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lad.models.parts import Part, unwrap
from lad.utils.download import is_html, sha256_of

# OpenMMLab and torchvision end file names with the first digits of the SHA-256. An end like 20210601 is a date instead.
DIGEST = re.compile(r"-(?!(?:19|20)\d{6}\.)([0-9a-f]{8})\.pth$")
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
# Objects of the logs that OpenMMLab 3.x saves beside the tensors. They are read as empty objects: no code is executed.
LOG_OBJECTS = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "builtins.getattr",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
)


class _Ignored:
    """A placeholder for an object of a log."""

    def __init__(self, *_arguments: Any) -> None:
        pass

    def __setstate__(self, _state: Any) -> None:
        pass


def read_tensors(path: Path, title: str = "") -> dict[str, Tensor]:
    """Return the names and tensors of a checkpoint file; see `read_checkpoint`."""
    return read_checkpoint(path, title)[0]


def read_checkpoint(path: Path, title: str = "", part: Part = "student") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint file, in safetensors' or torch's format.

    Args:
        path: The file.
        title: How the user named the file, for error messages.
        part: Which state dict to prefer if the file has several: "ema" takes the averaged weights; see `unwrap`.

    Returns:
        Names and tensors, on the CPU, and the file's metadata (OpenMMLab's `meta`). Everything else is ignored.

    Raises:
        ValueError: If the file does not exist, does not match the hash in its name, is truncated or not a checkpoint,
            contains code or objects (which are not executed), or has tensors of an unsupported kind or with values
            that are not finite.
    """
    title = title or f"checkpoint '{path}'"
    if not path.is_file():
        raise ValueError(f"{title}: no such file")
    _check_beginning(path, title)
    _check_digest(path, title)
    if path.suffix == ".safetensors":
        state, meta = _read_safetensors(path, title)
    else:
        content = _read_torch(path, title)
        state, meta = unwrap(content, part) or {}, _metadata(content)
    if not state:
        raise ValueError(f"{title}: contains no state dict (names and tensors, alone or under 'state_dict')")
    _check_kinds(state, path, title)
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        more = f" and {len(broken) - 1} more tensors" if len(broken) > 1 else ""
        raise ValueError(f"{title}: NaN or infinite values in {broken[0]}{more}; use one from before it diverged")
    return state, meta


def _check_beginning(path: Path, title: str) -> None:
    """Raise ValueError for a file that is no checkpoint at all, but what a failed download or clone leaves."""
    with path.open("rb") as file:
        beginning = file.read(512)
    if not beginning:
        raise ValueError(f"{title}: the file is empty; download or copy it again")
    if is_html(beginning):
        raise ValueError(f"{title}: is an HTML page, not a checkpoint; download the file that the page links")
    if beginning.startswith(LFS_POINTER):
        raise ValueError(f"{title}: is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository")


def _check_digest(path: Path, title: str) -> None:
    """Raise ValueError if the file's SHA-256 does not begin with the digits in its name."""
    named = DIGEST.search(path.name)
    if named is None:
        return
    digest = sha256_of(path)[: len(named[1])]
    if digest != named[1]:
        raise ValueError(
            f"{title}: its SHA-256 begins with {digest}, not with {named[1]} as in its name: the file is incomplete or "
            "corrupted; download it again, or rename it if these digits are not a hash"
        )


def _check_kinds(state: Mapping[str, Tensor], path: Path, title: str) -> None:
    """Accept plain tensors only; an expanded tensor is small in the file but can have any size in memory."""
    file_size = path.stat().st_size
    for name, value in state.items():
        dtypes = FLOATS if name.endswith((".weight", ".bias")) else FLOATS + INTEGERS
        if value.dtype not in dtypes or value.layout != torch.strided or value.device.type != "cpu":
            kind = f"{value.dtype}, {value.layout}, on {value.device.type}"
            raise ValueError(f"{title}: {name} is not a plain tensor of a supported dtype ({kind})")
        if value.numel() * value.element_size() > file_size:
            raise ValueError(f"{title}: {name} has {value.numel()} values, more than the file has bytes for")


def _read_safetensors(path: Path, title: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a safetensors file and its metadata."""
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{title}: truncated or not a safetensors file ({error})") from None


def _read_torch(path: Path, title: str) -> Any:
    """Read a file of `torch.save` with `weights_only=True`."""
    if _is_compressed(path):  # torch does not compress; the content could have any size in memory
        raise ValueError(f"{title}: is a compressed archive; unpack it and pass the file in it")
    ignored = [type(name, (_Ignored,), {}) for name in LOG_OBJECTS]
    with torch.serialization.safe_globals(list(zip(ignored, LOG_OBJECTS, strict=True))):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            match = re.search(r"GLOBAL (\S+)|Loading global from module (\S+)|class (\S+)", str(error))
            name = f" ({next(filter(None, match.groups()))})" if match else ""
            raise ValueError(f"{title}: refused: contains more than tensors{name}; nothing was executed") from None
        except Exception:  # a corrupted file can raise any exception
            raise ValueError(f"{title}: truncated or not a checkpoint") from None


def _is_compressed(path: Path) -> bool:
    """Return whether the file is a zip archive whose content is larger than the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(part.file_size for part in archive.infolist()) > path.stat().st_size
    except Exception:  # not an archive (torch's old format) or a corrupted one, which torch reports
        return False


def _metadata(content: Any) -> dict[str, Any]:
    """Return OpenMMLab's `meta` of a file's content."""
    meta = content.get("meta") if isinstance(content, dict) else None
    return meta if isinstance(meta, dict) else {}
