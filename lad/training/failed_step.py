"""A training step whose numbers went wrong, kept as it was."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lad.config.experiment import Parameters
from lad.structures import Batch, HeadOutputs, Targets
from lad.utils.atomic_io import atomic_write

FAILED_STEPS = "failed-step-*.pt"  # one of each process, with its rank


def save_failed_step(
    folder: Path,
    rank: int,
    parameters: Parameters,
    model: nn.Module,
    batch: Batch,
    terms: Mapping[str, Tensor],
    outputs: Mapping[str, HeadOutputs],
    epoch: int,
    step: int,
) -> Path:
    """Write all that the step follows from, and what came of it, to the run's folder: its images and gts, the weights
    before it, the outputs and the losses."""
    path = folder / FAILED_STEPS.replace("*", str(rank))
    targets = batch.targets
    state = {
        "parameters": parameters.model_dump(),
        "epoch": epoch,
        "step": step,
        "model": model.state_dict(),
        "images": batch.images,
        "targets": [targets.boxes, targets.labels, targets.image, targets.image_hw],
        "batch": [batch.image_id, batch.original_hw, batch.is_flipped],
        "terms": {name: value.detach() for name, value in terms.items()},
        "outputs": {name: [None if one is None else one.detach() for one in said] for name, said in outputs.items()},
    }
    content = io.BytesIO()
    torch.save(state, content)
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(content.getbuffer())
    return path


def read_failed_step(path: Path) -> tuple[dict[str, Any], Batch]:
    """What `save_failed_step` wrote, on the CPU, and its batch. Raises ValueError for any other file."""
    try:
        state = dict(torch.load(path, map_location="cpu", weights_only=True))
        return state, Batch(state["images"], Targets(*state["targets"]), *state["batch"])
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except Exception:  # a damaged file fails in every way there is
        raise ValueError(f"{path}: is not a step that a training run kept; give its failed-step-….pt") from None
