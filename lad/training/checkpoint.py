"""Where an unfinished run goes on: its state on disk, the newest two, each with a digest of its bytes in its name."""

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from lad.utils.atomic_io import atomic_write
from lad.utils.progress import log

CHECKPOINT_FILES = "checkpoint-*.pt"  # checkpoint-<epochs done>-<steps done in the next>-<digest>.pt
KEPT = 2
DIGITS = 12  # of the digest


@dataclass(frozen=True)
class Progress:
    """How far a run has come: whole epochs, steps of the next one, and the sums over those steps."""

    epoch: int = 0
    step: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)


def save_checkpoint(folder: Path, network: nn.Module, optimizer: Optimizer, fabric: Fabric, progress: Progress) -> None:
    """Write weights, optimizer, gradient scaler and progress, and keep one older checkpoint. Nothing that is random needs
    to be kept: it follows from the seed and the progress.

    Raises OSError when the disk is full; the older ones are still there.
    """
    state = {
        "model": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": fabric.strategy.precision.state_dict(),
        "epoch": progress.epoch,
        "step": progress.step,
        "sums": {name: value.cpu() for name, value in progress.sums.items()},
    }
    content = io.BytesIO()
    torch.save(state, content)
    digest = hashlib.sha256(content.getbuffer()).hexdigest()[:DIGITS]
    with atomic_write(folder / f"checkpoint-{progress.epoch:05}-{progress.step:07}-{digest}.pt") as unfinished:
        unfinished.write_bytes(content.getbuffer())
    for old in checkpoints(folder)[KEPT:]:
        old.unlink()


def load_checkpoint(folder: Path, network: nn.Module, optimizer: Optimizer, fabric: Fabric) -> Progress:
    """Load the newest checkpoint that is whole, in progress; the progress of a run's beginning if there is none. A damaged
    one is said and removed, and the one before is taken.

    Raises ValueError naming a whole one of another network.
    """
    damaged, state = [], None
    for path in checkpoints(folder):
        state = _whole(path)
        if state is not None:
            break
        damaged.append(path)
    fabric.barrier()  # all have read before any is removed
    if fabric.is_global_zero:
        for one in damaged:
            log(f"{one}: damaged and removed; the run goes on from {'the one before' if state else 'its beginning'}")
            one.unlink()
    if state is None:
        return Progress()
    try:
        network.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        fabric.strategy.precision.load_state_dict(state["scaler"])
    except (KeyError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: is not of this run ({why}); remove it, and the run begins anew") from None
    return Progress(state["epoch"], state["step"], fabric.to_device(state["sums"]))


def checkpoints(folder: Path) -> list[Path]:
    """Of a run, newest first."""
    return sorted(folder.glob(CHECKPOINT_FILES), reverse=True)


def _whole(path: Path) -> dict[str, Any] | None:
    """The state in a file whose bytes are those that were written, or None. Read once, so that what was checked is what
    is loaded."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest()[:DIGITS] != path.stem.rsplit("-", maxsplit=1)[-1]:
        return None
    try:
        return dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except UnpicklingError:
        raise ValueError(f"{path}: refused, as it holds more than tensors and numbers; nothing in it was run") from None
