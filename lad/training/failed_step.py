"""Saving and reading of a training step whose loss or gradient was not finite, so that it can be replayed."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lad.config.experiment import Parameters
from lad.structures import Batch, HeadOutputs, Targets
from lad.utils.atomic_io import atomic_write

FAILED_STEPS = "failed-step-*.pt"  # one per process, named after its rank


@dataclass(frozen=True)
class FailedStep:
    """Inputs and outputs of a failed training step, except the weights.

    Attributes:
        parameters: Parameters of the run.
        epoch: Number of finished epochs.
        step: Number of finished steps of the epoch.
        batch: Images and gts.
        terms: Losses by name.
        outputs: Outputs of the networks, by "student" and "teacher".
    """

    parameters: Parameters
    epoch: int
    step: int
    batch: Batch
    terms: Mapping[str, Tensor]
    outputs: Mapping[str, HeadOutputs]


def save_failed_step(folder: Path, rank: int, model: nn.Module, failed: FailedStep) -> Path:
    """Write a failed step to the run's folder, with the weights before it, and return the file."""
    path = folder / FAILED_STEPS.replace("*", str(rank))
    batch, targets = failed.batch, failed.batch.targets
    state = {
        "parameters": failed.parameters.model_dump(),
        "epoch": failed.epoch,
        "step": failed.step,
        "model": model.state_dict(),
        "images": batch.images,
        "targets": [targets.boxes, targets.labels, targets.image, targets.image_hw],
        "batch": [batch.image_id, batch.original_hw, batch.is_flipped],
        "terms": {name: value.detach() for name, value in failed.terms.items()},
        "outputs": {
            network: [None if output is None else output.detach() for output in outputs]
            for network, outputs in failed.outputs.items()
        },
    }
    content = io.BytesIO()
    torch.save(state, content)
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(content.getbuffer())
    return path


def read_failed_step(path: Path) -> tuple[dict[str, Any], Batch]:
    """Read a file of `save_failed_step`, on the CPU.

    Returns:
        The state as saved, and its batch.

    Raises:
        ValueError: The file is missing or is not a saved step.
    """
    try:
        state = dict(torch.load(path, map_location="cpu", weights_only=True))
        return state, Batch(state["images"], Targets(*state["targets"]), *state["batch"])
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except Exception:  # a corrupted file can raise any exception
        raise ValueError(f"{path}: is not a failed training step; give the failed-step-….pt of a run") from None
