"""A training step: forward, loss, backward, optimizer update."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from lad.assigners import Assigner, AssignmentContext, build_assigner
from lad.config.experiment import Parameters
from lad.distillation.assignment_cache import AssignmentCache
from lad.distillation.methods import METHODS, MethodLoss, build_method, given_assignment_loss, mean_scores
from lad.distillation.statistics import assignment_statistics
from lad.distillation.terms import TermInputs, features_of_terms, term_losses
from lad.geometry import make_anchors
from lad.structures import Batch, DetectorFeatures, HeadOutputs, to_device

MIN_SCALE = 2.0**-10  # of the loss in half precision; gradients that overflow at a smaller scale are an error


@dataclass(frozen=True)
class StepResult:
    """The forward part of a training step.

    Attributes:
        loss: Losses and assignment of the batch under the run's method.
        outputs: Outputs of the "student" and, unless the assignment came from the cache, of the "teacher".
        statistics: Statistics of the assignment, if requested.
    """

    loss: MethodLoss
    outputs: dict[str, HeadOutputs]
    statistics: dict[str, Tensor] | None = None

    def total(self) -> Tensor:
        """Return the sum of the loss terms."""
        return torch.stack(list(self.loss.terms.values())).sum()

    def detach(self) -> "StepResult":
        """Return the same values without their graph, whose activations would stay in memory."""
        outputs = {
            network: HeadOutputs._make(output if output is None else output.detach() for output in of_network)
            for network, of_network in self.outputs.items()
        }
        terms = {name: term.detach() for name, term in self.loss.terms.items()}
        return replace(self, loss=replace(self.loss, terms=terms), outputs=outputs)


def training_step(
    parameters: Parameters,
    model: nn.Module,
    host_batch: Batch,
    fabric: Fabric,
    teacher: nn.Module | None = None,
    cache: AssignmentCache | None = None,
    with_statistics: bool = False,
    other_teachers: Sequence[nn.Module] = (),
) -> StepResult:
    """Run the networks on a batch and compute the losses of the run's method and of its distillation terms.

    Args:
        parameters: Parameters of the run.
        model: The network in training, or the pair of co-learning.
        host_batch: The batch on the host; this function moves it to the device.
        fabric: Device and precision.
        teacher: The frozen teacher, if the method has one.
        cache: Cache of the teacher's assignments; only for a method that uses nothing else of the teacher.
        with_statistics: Whether to compute `assignment_statistics`.
        other_teachers: Further frozen teachers, whose costs are averaged with the teacher's.
    """
    assigner = build_assigner(parameters.assigner, parameters.assigner_options)
    # Candidates are found on the host: on the device, reading their number would cause a synchronization.
    host_anchors = make_anchors(host_batch.padded_hw)
    context = None
    batch, anchors = host_batch.to(fabric.device), make_anchors(host_batch.padded_hw, fabric.device)
    if cache is None or with_statistics:
        candidates = assigner.find_candidates(host_anchors, host_batch.targets).to(fabric.device)
        context = AssignmentContext(candidates, anchors, batch.targets)
    images = batch.images.contiguous(memory_format=torch.channels_last)
    taught: DetectorFeatures | None = None
    if METHODS[parameters.method].trains_teacher:
        student, taught = map(DetectorFeatures, model(images))
    else:
        student = _forward(model, images, _needs_features(parameters))
    if cache is not None and teacher is not None:
        assign = teacher_assignment(parameters, (teacher, *other_teachers), fabric)
        gt_index = to_device(cache.get(host_batch, host_anchors, assign), fabric.device)
        loss = MethodLoss(given_assignment_loss(student.outputs, gt_index, anchors, batch.targets), gt_index)
    else:
        assert context is not None
        if teacher is not None and parameters.needs_teacher:
            taught = teacher_forward(teacher, images, fabric, _needs_features(parameters))
        others = [teacher_forward(other, images, fabric).outputs for other in other_teachers]
        loss = _method_loss(parameters, student, taught, others, context)
        if parameters.distill and teacher is not None and taught is not None:
            inputs = TermInputs(student, taught, _head(teacher), loss.gt_index, context)
            with fabric.autocast():  # CrossKD runs layers of the teacher
                terms = term_losses(parameters.distill, parameters.method_options, inputs)
            loss = replace(loss, terms=loss.terms | terms)
    outputs = {"student": student.outputs} | ({} if taught is None else {"teacher": taught.outputs})
    if not with_statistics or context is None:
        return StepResult(loss, outputs)
    return StepResult(loss, outputs, assignment_statistics(loss, student.outputs, context, assigner))


def _method_loss(
    parameters: Parameters,
    student: DetectorFeatures,
    teacher: DetectorFeatures | None,
    other_teachers: Sequence[HeadOutputs],
    context: AssignmentContext,
) -> MethodLoss:
    assigner = build_teacher_assigner(parameters)
    method = build_method(parameters.method, assigner, parameters.method_options, parameters.cost_selection)
    others = {"other_teachers": other_teachers} if other_teachers else {}
    return method(student.outputs, None if teacher is None else teacher.outputs, context, **others)


def accumulate_gradients(
    parameters: Parameters,
    model: nn.Module,
    host_batch: Batch,
    fabric: Fabric,
    teacher: nn.Module | None = None,
    cache: AssignmentCache | None = None,
    with_statistics: bool = False,
    other_teachers: Sequence[nn.Module] = (),
) -> list[StepResult]:
    """Run forward and backward on a batch in `accumulate` parts, which add up their gradients.

    The gradient is the mean over the parts. Each part normalizes its losses by its own number of positives and its own
    sum of IoUs, as each device does, so the gradient equals that of the undivided batch only where these agree.

    The arguments are those of `training_step`.

    Returns:
        The results of the parts, detached from their graphs; the first has the statistics.
    """
    parts = host_batch.split(parameters.accumulate)
    results = []
    for index, part in enumerate(parts):
        # Several devices average their gradients only once, in the last backward pass.
        with fabric.no_backward_sync(model, enabled=index + 1 < len(parts)):  # type: ignore[arg-type]
            has_statistics = with_statistics and index == 0
            result = training_step(parameters, model, part, fabric, teacher, cache, has_statistics, other_teachers)
            fabric.backward(result.total() / len(parts))
        results.append(result.detach())
    return results


def mean_terms(results: Sequence[StepResult]) -> dict[str, Tensor]:
    """Return the loss terms of a batch: the means over its parts."""
    names = results[0].loss.terms
    return {name: torch.stack([result.loss.terms[name] for result in results]).mean() for name in names}


def merge_outputs(results: Sequence[StepResult]) -> dict[str, HeadOutputs]:
    """Return the networks' outputs of a batch from those of its parts."""
    merged = {}
    for network in results[0].outputs:
        fields = zip(*(result.outputs[network] for result in results), strict=True)
        merged[network] = HeadOutputs._make(None if parts[0] is None else torch.cat(parts) for parts in fields)
    return merged


def optimizer_step(parameters: Parameters, optimizer: Optimizer, loss: Tensor, fabric: Fabric) -> tuple[Tensor, bool]:
    """Update the weights by the accumulated gradients, and reset these.

    Args:
        parameters: Parameters of the run.
        optimizer: Optimizer of the weights of the network in training, as `fabric.setup` returned it.
        loss: The total loss behind the gradients, a scalar.
        fabric: Device and precision.

    Returns:
        The gradient's norm before clipping, and whether the gradient overflowed in half precision. If it did, the
        update is skipped, the norm is 0, and the scaler lowers its scale.

    Raises:
        FloatingPointError: The loss is not finite, or the gradient is not for another reason; the weights are not
            updated.
    """
    fabric.strategy.precision.unscale_gradients(optimizer.optimizer)  # type: ignore[attr-defined]
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    grad_norm = get_total_norm([weight.grad for weight in weights if weight.grad is not None])
    # The only device synchronization of a step: losses that are not finite must not update the weights.
    loss_value, norm_value = torch.stack([loss.detach(), grad_norm]).tolist()
    if not math.isfinite(loss_value):
        raise FloatingPointError("the loss is not finite")
    overflowed = not math.isfinite(norm_value)
    if overflowed and fabric.strategy.precision.state_dict().get("scale", 0) < MIN_SCALE:
        raise FloatingPointError("the gradient is not finite")
    # Fabric's clip_gradients would multiply all gradients in any case, by 1: a second pass over the memory.
    if parameters.clip_grad and norm_value > parameters.clip_grad:
        clip_grads_with_norm_(weights, parameters.clip_grad, grad_norm)
    optimizer.step()
    optimizer.zero_grad()
    return torch.zeros_like(grad_norm) if overflowed else grad_norm, overflowed


def build_teacher_assigner(parameters: Parameters) -> Assigner:
    """Build the assigner that makes the assignment; with teacher_cost "box", without a class term in its scores."""
    options = parameters.assigner_options | ({"class_weight": 0.0} if parameters.teacher_cost == "box" else {})
    return build_assigner(parameters.assigner, options)


def teacher_forward(
    teacher: nn.Module, images: Tensor, fabric: Fabric, with_features: bool = False
) -> DetectorFeatures:
    """Run a frozen teacher on images [N, 3, H, W] at the run's precision."""
    with torch.no_grad(), fabric.autocast():
        return _forward(teacher, images, with_features)


def _forward(network: nn.Module, images: Tensor, with_features: bool) -> DetectorFeatures:
    return network(images, with_features=True) if with_features else DetectorFeatures(network(images))


def _needs_features(parameters: Parameters) -> bool:
    return bool(features_of_terms(parameters.distill))


def _head(network: nn.Module) -> nn.Module:
    head = network.head
    assert isinstance(head, nn.Module)
    return head


def teacher_assignment(
    parameters: Parameters, teachers: Sequence[nn.Module], fabric: Fabric
) -> Callable[[Batch], Tensor]:
    """Return a function that computes the assignment gt_index [N, A] of a batch on the host by its teachers."""
    assigner = build_teacher_assigner(parameters)

    def assign(host_batch: Batch) -> Tensor:
        candidates = assigner.find_candidates(make_anchors(host_batch.padded_hw), host_batch.targets)
        batch, anchors = host_batch.to(fabric.device), make_anchors(host_batch.padded_hw, fabric.device)
        images = batch.images.contiguous(memory_format=torch.channels_last)
        outputs = [teacher_forward(teacher, images, fabric).outputs for teacher in teachers]
        context = AssignmentContext(candidates.to(fabric.device), anchors, batch.targets)
        return assigner.assign(mean_scores(assigner, outputs, context), context)

    return assign
