"""Checkpoints of an unfinished run: the newest two, each with a digest of its bytes in its name."""

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251  an exception, which loads nothing
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from lad.utils.atomic_io import atomic_write
from lad.utils.progress import log

CHECKPOINT_FILES = "checkpoint-*.pt"  # checkpoint-<epochs done>-<steps done in the next>-<digest>.pt
MAX_KEPT = 2
DIGITS = 12  # of the digest


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Attributes:
        epoch: Number of finished epochs.
        step: Number of finished steps of the next epoch.
        sums: Sums of losses and statistics over those steps.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)


def save_checkpoint(
    folder: Path,
    network: nn.Module,
    optimizer: Optimizer,
    fabric: Fabric,
    progress: Progress,
    code: str = "",
    average: nn.Module | None = None,
) -> None:
    """Save weights, their average, optimizer, gradient scaler and progress, and keep one older checkpoint.

    No random state is saved: it follows from the seed and the progress.

    Args:
        folder: Folder of the run.
        network: The network in training.
        optimizer: Optimizer of its weights.
        fabric: Devices and precision.
        progress: Progress of the run.
        code: Digest of the code that decides numbers.
        average: The moving average of the network's weights, if the run has one.

    Raises:
        OSError: The disk is full; the older checkpoints are still there.
    """
    state = {
        "model": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": fabric.strategy.precision.state_dict(),
        "epoch": progress.epoch,
        "step": progress.step,
        "sums": {name: value.cpu() for name, value in progress.sums.items()},
        "code": code,
        "average": None if average is None else average.state_dict(),
    }
    content = io.BytesIO()
    torch.save(state, content)
    digest = hashlib.sha256(content.getbuffer()).hexdigest()[:DIGITS]
    with atomic_write(folder / f"checkpoint-{progress.epoch:05}-{progress.step:07}-{digest}.pt") as unfinished:
        unfinished.write_bytes(content.getbuffer())
    for old in checkpoints(folder)[MAX_KEPT:]:
        old.unlink()


def load_checkpoint(
    folder: Path,
    network: nn.Module,
    optimizer: Optimizer,
    fabric: Fabric,
    code: str = "",
    average: nn.Module | None = None,
) -> Progress:
    """Load the newest intact checkpoint in place.

    A corrupted checkpoint is reported and deleted; the previous one is loaded.

    Args:
        folder: Folder of the run.
        network: The network in training.
        optimizer: Optimizer of its weights.
        fabric: Devices and precision.
        code: Digest of the code that decides numbers.
        average: The moving average of the network's weights, if the run has one.

    Returns:
        The progress of the checkpoint, or of a new run if there is no intact checkpoint.

    Raises:
        ValueError: The checkpoint belongs to another network, or was written by another version of the code.
    """
    corrupted, state = [], None
    for path in checkpoints(folder):
        state = _intact_state(path)
        if state is not None:
            break
        corrupted.append(path)
    fabric.barrier()  # all processes have read before a file is deleted
    if fabric.is_global_zero:
        for file in corrupted:
            resumed = "from the previous checkpoint" if state else "from the beginning"
            log(f"{file}: corrupted checkpoint, deleted; the run resumes {resumed}")
            file.unlink()
    if state is None:
        return Progress()
    if state.get("code", "") != code:
        raise ValueError(f"{path}: was written by another version of the code; delete it to start the run again")
    try:
        network.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        if average is not None:
            average.load_state_dict(state["average"])
        fabric.strategy.precision.load_state_dict(state["scaler"])
    except (KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: is not of this run ({reason}); delete it to start the run again") from None
    return Progress(state["epoch"], state["step"], fabric.to_device(state["sums"]))


def has_intact_checkpoint(folder: Path) -> bool:
    """Return whether `load_checkpoint` would find the weights of an unfinished run in its folder."""
    return any(_intact_state(path) is not None for path in checkpoints(folder))


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, newest first."""
    return sorted(folder.glob(CHECKPOINT_FILES), reverse=True)


def _intact_state(path: Path) -> dict[str, Any] | None:
    """Return the state in a file if its bytes match its digest, else None.

    The file is read once, so that the bytes that are checked are those that are loaded.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest()[:DIGITS] != path.stem.rsplit("-", maxsplit=1)[-1]:
        return None
    try:
        return dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except UnpicklingError:
        raise ValueError(
            f"{path}: refused: it holds more than tensors and numbers (nothing in it was executed)"
        ) from None
