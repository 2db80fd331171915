"""One step of training: from a batch on the host to losses, and down their gradient."""

import math
from collections.abc import Callable

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from lad.assigners.base import ASSIGNERS, own_assignment
from lad.config.experiment import Parameters
from lad.distillation.assignment_cache import AssignmentCache
from lad.distillation.methods import CO_LEARNING, MethodLoss, find_method, learn_assignment
from lad.distillation.statistics import assignment_statistics
from lad.geometry import make_anchors
from lad.structures import Batch, HeadOutputs, to_device

MIN_SCALE = 2.0**-10  # of the loss in half precision: below it is not the scale that makes gradients overflow

Outputs = dict[str, HeadOutputs]  # of the student and, where it was asked, the teacher


def training_step(
    parameters: Parameters,
    model: nn.Module,
    teacher: nn.Module | None,
    cache: AssignmentCache | None,
    on_host: Batch,
    fabric: Fabric,
    observed: bool = False,
) -> tuple[MethodLoss, Outputs, dict[str, Tensor] | None]:
    """The losses of one batch under the run's method, what the networks said and, if asked for, what `observe` sees."""
    assigner = ASSIGNERS[parameters.assigner]
    # Geometry is the host's: it knows how many candidates there are, and the device need not be waited for.
    host_anchors = make_anchors(on_host.padded_hw)
    candidates = None
    if cache is None or observed:
        candidates = assigner.find_candidates(host_anchors, on_host.targets).to(fabric.device)
    batch, anchors = on_host.to(fabric.device), make_anchors(on_host.padded_hw, fabric.device)
    images = batch.images.contiguous(memory_format=torch.channels_last)
    student_outputs = model(images)
    teacher_outputs: HeadOutputs | None = None
    if cache is not None and teacher is not None:
        gt_index = cache.get(on_host, host_anchors, teacher_assignment(parameters, teacher, fabric))
        gt_index = to_device(gt_index, fabric.device)
        learned = MethodLoss(learn_assignment(student_outputs, gt_index, anchors, batch.targets), gt_index)
    else:
        teacher_outputs = teacher_forward(teacher, images, fabric) if teacher is not None else None
        if parameters.method in CO_LEARNING:
            student_outputs, teacher_outputs = student_outputs
        method = find_method(parameters.method, parameters.assigner, parameters.cost_selection)
        learned = method(student_outputs, teacher_outputs, candidates, anchors, batch.targets)
    outputs = {"student": student_outputs} | ({} if teacher_outputs is None else {"teacher": teacher_outputs})
    if not observed or candidates is None:
        return learned, outputs, None
    return (
        learned,
        outputs,
        assignment_statistics(learned, student_outputs, candidates, anchors, batch.targets, assigner),
    )


def optimizer_step(
    parameters: Parameters, model: nn.Module, optimizer: Optimizer, loss: Tensor, fabric: Fabric
) -> tuple[Tensor, bool]:
    """One step of the optimizer down the gradient of `loss`; returns the gradient's norm before it was clipped, and
    whether it overflowed in half precision: then nothing was learned, the norm counts as 0, and the scaler scales less
    from now on.

    Raises FloatingPointError, before anything is learned, for a loss or gradient that is not finite otherwise.
    """
    optimizer.zero_grad()
    fabric.backward(loss)
    grad_norm = fabric.clip_gradients(
        model, optimizer, max_norm=parameters.clip_grad or math.inf, error_if_nonfinite=False
    )
    assert grad_norm is not None
    # The one place where the host waits for the device: a step that went wrong must not be learned.
    loss_value, norm_value = torch.stack([loss.detach(), grad_norm]).tolist()
    if not math.isfinite(loss_value):
        raise FloatingPointError("the loss is no longer finite")
    overflowed = not math.isfinite(norm_value)
    if overflowed and fabric.strategy.precision.state_dict().get("scale", 0) < MIN_SCALE:
        raise FloatingPointError("the gradient is no longer finite")
    optimizer.step()
    return torch.zeros_like(grad_norm) if overflowed else grad_norm, overflowed


def teacher_forward(teacher: nn.Module, images: Tensor, fabric: Fabric) -> HeadOutputs:
    """What a frozen teacher says of images [N, 3, H, W], at the run's precision."""
    with torch.no_grad(), fabric.autocast():
        return teacher(images)


def teacher_assignment(parameters: Parameters, teacher: nn.Module, fabric: Fabric) -> Callable[[Batch], Tensor]:
    """A function from a batch on the host to the assignment gt_index [N, A] that the teacher makes of it."""
    assigner = ASSIGNERS[parameters.assigner]

    def assign(on_host: Batch) -> Tensor:
        candidates = assigner.find_candidates(make_anchors(on_host.padded_hw), on_host.targets).to(fabric.device)
        batch = on_host.to(fabric.device)
        outputs = teacher_forward(teacher, batch.images.contiguous(memory_format=torch.channels_last), fabric)
        return own_assignment(
            assigner, outputs, make_anchors(batch.padded_hw, fabric.device), batch.targets, candidates
        )

    return assign
