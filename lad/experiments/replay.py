"""A training step that went wrong, run again, to see where its numbers cease to be finite.

lad replay runs/<run>/failed-step-0.pt
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from lad.config.experiment import Parameters
from lad.experiments.runner import build_networks, teacher_run
from lad.structures import Batch
from lad.training.devices import find_accelerator
from lad.training.failed_step import read_failed_step
from lad.training.step import training_step
from lad.utils.progress import log


@dataclass(frozen=True)
class Replay:
    """A step and its second run. images: ids. then, now: the loss terms. broken_outputs: which of the networks' kept
    outputs are not finite, such as "student cls_logits". begins_in: the first module whose output is not finite this
    time, in order of execution. broken_gradients: names of the weights whose gradients are not."""

    parameters: Parameters
    epoch: int
    step: int
    images: list[int]
    then: dict[str, float]
    now: dict[str, float]
    broken_outputs: list[str]
    begins_in: str | None
    broken_gradients: list[str]

    @property
    def is_repeated(self) -> bool:
        """Whether it went wrong again."""
        return not all(map(_is_finite, self.now.values())) or bool(self.broken_gradients)


def replay(path: Path) -> Replay:
    """Run the step in a file that training kept again: same weights, images and gts. It is run on a GPU where there is
    one, else in single precision on the CPU. Raises ValueError for a file that is none, or a teacher that is gone."""
    state, batch = read_failed_step(path)
    parameters = Parameters(**state["parameters"])
    accelerator = find_accelerator("auto")
    precision = parameters.precision if accelerator == "cuda" else "32-true"
    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    classes = [str(label) for label in range(state["outputs"]["student"][0].shape[-1])]
    network, teacher = build_networks(parameters, classes, teacher_run(parameters), fabric.device)
    network.load_state_dict(state["model"])
    model = fabric.setup_module(network.train())
    begins_in, terms = _learned(parameters, model, network, teacher, batch, fabric)
    names = ("cls_logits", "box_deltas", "iou_logits")
    return Replay(
        parameters,
        state["epoch"],
        state["step"],
        batch.image_id.tolist(),
        {name: float(value) for name, value in state["terms"].items()},
        {name: float(value) for name, value in terms.items()},
        [
            f"{network} {name}"
            for network, said in state["outputs"].items()
            for name, one in zip(names, said, strict=True)
            if one is not None and not _is_finite(one)
        ],
        begins_in,
        [
            name
            for name, weight in network.named_parameters()
            if weight.grad is not None and not _is_finite(weight.grad)
        ],
    )


def _learned(
    parameters: Parameters,
    model: nn.Module,
    network: nn.Module,
    teacher: nn.Module | None,
    batch: Batch,
    fabric: Fabric,
) -> tuple[str | None, dict[str, Tensor]]:
    """The first module whose output is not finite, and the losses; the gradients are the weights'."""
    broken: list[str] = []

    def watch(name: str, module: nn.Module) -> None:
        def look(_module: nn.Module, _given: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not _is_finite(output):
                broken.append(name)

        module.register_forward_hook(look)

    for name, module in network.named_modules():
        if not any(module.children()):
            watch(name, module)
    learned, _, _ = training_step(parameters, model, teacher, None, batch, fabric)
    fabric.backward(torch.stack(list(learned.terms.values())).sum())
    return broken[0] if broken else None, {name: value.detach() for name, value in learned.terms.items()}


def _is_finite(value: Tensor | float) -> bool:
    return bool(torch.as_tensor(value).isfinite().all())


def report(one: Replay) -> str:
    """For people."""
    lines = [
        f"{one.parameters.run_name}, epoch {one.epoch + 1}, step {one.step + 1}, images {one.images}",
        "loss terms, then and now: "
        + ", ".join(f"{name} {one.then[name]:.4g} {value:.4g}" for name, value in one.now.items()),
        f"kept outputs that are not finite: {', '.join(one.broken_outputs) or 'none'}",
        f"first module whose output is not finite: {one.begins_in or 'none'}",
        f"gradients that are not finite: {_shortened(one.broken_gradients)}",
    ]
    if not one.is_repeated:
        lines.append("This time all is finite: it came of another precision or device, or of a fault of the machine.")
    return "\n".join(lines)


def _shortened(names: list[str]) -> str:
    if not names:
        return "none"
    return f"{len(names)}, {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="lad replay", description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, help="failed-step-<rank>.pt in a run's folder")
    given = parser.parse_args(arguments)
    try:
        log(report(replay(given.file)))
    except ValueError as error:
        log(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
