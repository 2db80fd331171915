"""Replay of a failed training step, to find the first module whose output is not finite.

lad replay runs/<run>/failed-step-0.pt
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from lad.config.consistency import NO_INIT
from lad.config.experiment import Parameters
from lad.distillation.methods import METHODS
from lad.experiments.runner import runs_of_other_teachers, teacher_run
from lad.experiments.setup import build_networks, frozen_teacher
from lad.structures import Batch
from lad.training.devices import find_accelerator
from lad.training.failed_step import read_failed_step
from lad.training.step import accumulate_gradients, mean_terms
from lad.utils.old_command import run_command


@dataclass(frozen=True)
class Replay:
    """A failed step, as saved and as replayed.

    Attributes:
        parameters: Parameters of the run.
        epoch: Epoch of the step, from 0.
        step: Step within the epoch, from 0.
        images: Ids of the images.
        saved_terms: Loss terms of the failed step.
        terms: Loss terms of the replayed step.
        nonfinite_outputs: Saved outputs that are not finite, such as "student cls_logits".
        nonfinite_module: The first module in order of execution whose replayed output is not finite; None if all are.
        nonfinite_gradients: Names of the weights whose replayed gradients are not finite.
    """

    parameters: Parameters
    epoch: int
    step: int
    images: list[int]
    saved_terms: dict[str, float]
    terms: dict[str, float]
    nonfinite_outputs: list[str]
    nonfinite_module: str | None
    nonfinite_gradients: list[str]

    @property
    def is_reproduced(self) -> bool:
        """Return whether the replayed step failed, too."""
        return not all(map(_is_finite, self.terms.values())) or bool(self.nonfinite_gradients)


def replay(path: Path) -> Replay:
    """Replay a saved step with the same weights, images and gts.

    It runs on a GPU in the run's precision, or without a GPU on the CPU in single precision.

    Args:
        path: A file failed-step-<rank>.pt of a run's folder.

    Raises:
        ValueError: If the file is not a saved step, or the teacher's run is missing.
    """
    state, batch = read_failed_step(path)
    parameters = Parameters(**state["parameters"])
    accelerator = find_accelerator("auto")
    precision = parameters.precision if accelerator == "cuda" else "32-true"
    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    classes = [str(label) for label in range(state["outputs"]["student"][0].shape[-1])]
    run = teacher_run(parameters)
    others = [frozen_teacher(other.load_detector(), fabric.device) for other in runs_of_other_teachers(parameters)]
    parameters = parameters.model_copy(update=NO_INIT)  # the failed step holds all weights
    trained_teacher = run.load_detector() if run is not None else None
    network, teacher = build_networks(parameters, classes, trained_teacher, fabric.device)
    network.load_state_dict(state["model"])
    model = fabric.setup_module(network.train())
    nonfinite_module, terms = _run_step(
        parameters.in_epoch(state["epoch"]), model, network, teacher, others, batch, fabric
    )
    names = ("cls_logits", "box_deltas", "iou_logits")
    return Replay(
        parameters,
        state["epoch"],
        state["step"],
        batch.image_id.tolist(),
        {name: float(value) for name, value in state["terms"].items()},
        {name: float(value) for name, value in terms.items()},
        [
            f"{network_name} {name}"
            for network_name, outputs in state["outputs"].items()
            for name, output in zip(names, outputs, strict=True)
            if output is not None and not _is_finite(output)
        ],
        nonfinite_module,
        [
            name
            for name, weight in network.named_parameters()
            if weight.grad is not None and not _is_finite(weight.grad)
        ],
    )


def _run_step(
    parameters: Parameters,
    model: nn.Module,
    network: nn.Module,
    teacher: nn.Module | None,
    other_teachers: Sequence[nn.Module],
    batch: Batch,
    fabric: Fabric,
) -> tuple[str | None, dict[str, Tensor]]:
    """Run forward and backward; return the first module whose output is not finite, and the loss terms."""
    nonfinite: list[str] = []

    def add_hook(name: str, module: nn.Module) -> None:
        def record_nonfinite(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not _is_finite(output):
                nonfinite.append(name)

        module.register_forward_hook(record_nonfinite)

    for name, module in network.named_modules():
        if not any(module.children()):
            add_hook(name, module)
    results = accumulate_gradients(
        parameters, model, batch, fabric, teacher,
        other_teachers=other_teachers if METHODS[parameters.method].averages_costs else (),
    )  # fmt: skip
    return nonfinite[0] if nonfinite else None, mean_terms(results)


def _is_finite(value: Tensor | float) -> bool:
    return bool(torch.as_tensor(value).isfinite().all())


def format_replay(result: Replay) -> str:
    """Return a report of the replay, one fact per line."""
    parameters = result.parameters
    terms = (f"{name} {result.saved_terms[name]:.4g} / {value:.4g}" for name, value in result.terms.items())
    lines = [
        f"{parameters.run_name}, epoch {result.epoch + 1}, step {result.step + 1}, images {result.images}",
        f"loss terms, saved / replayed: {', '.join(terms)}",
        f"saved outputs that are not finite: {', '.join(result.nonfinite_outputs) or 'none'}",
        f"first module whose output is not finite: {result.nonfinite_module or 'none'}",
        f"gradients that are not finite: {_abbreviate(result.nonfinite_gradients)}",
    ]
    if not result.is_reproduced:
        lines.append(
            "not reproduced: all values are finite now; the cause is the precision, the device or a hardware fault"
        )
    return "\n".join(lines)


def _abbreviate(names: list[str]) -> str:
    if not names:
        return "none"
    return f"{len(names)}, {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"


if __name__ == "__main__":
    sys.exit(run_command("replay"))
