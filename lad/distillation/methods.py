"""The methods of Nguyen et al. (WACV 2022), which differ in whose outputs make the assignment that the student learns.

A method is a function (student outputs, teacher outputs or None, context, assigner, options) → `MethodLoss`, with one
entry in `METHODS` that lists what it needs.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pydantic.dataclasses
import torch
from torch import Tensor

from lad.assigners.base import Assigner, AssignmentContext
from lad.assigners.paa import DEFAULT_ASSIGNER
from lad.distillation.cost_selection import COST_SELECTIONS, CostSelection, choose_cost_std_mean
from lad.distillation.soft_label import SoftLabelOptions, SoLADOptions, weighted_soft_label_loss
from lad.distillation.terms import build_term_options, without_term_options
from lad.geometry import Anchors
from lad.losses import BoxWeighting, detection_loss
from lad.structures import HeadOutputs, Targets
from lad.utils.options import OPTIONS, build_options


@dataclass(frozen=True)
class MethodLoss:
    """The losses and the assignment that a method computes for one batch.

    Attributes:
        terms: Scalar losses by name, weighted, ready to sum; those of a second network start with `teacher_`.
        gt_index: [N, A], the assignment that the student learns.
        cost: [M], the candidates' costs behind the assignment; None for an assignment from the cache.
        from_teacher: [M] bool, in co-learning: whether the teacher's cost was selected.
    """

    terms: dict[str, Tensor]
    gt_index: Tensor
    cost: Tensor | None = None
    from_teacher: Tensor | None = None


@pydantic.dataclasses.dataclass(frozen=True, config=OPTIONS)
class NoOptions:
    """The options of a method that has no hyper-parameters."""


NO_OPTIONS = NoOptions()


@dataclass(frozen=True)
class Method:
    """One entry of `METHODS`.

    Attributes:
        title: Name of the method for tables and figures.
        loss: The function that computes the losses.
        options: Pydantic dataclass of the method's hyper-parameters.
        needs_teacher: Whether the method uses a second network's outputs.
        learns_assignment: Whether the student learns an assignment that depends on the teacher.
        trains_teacher: Whether the teacher trains together with the student; otherwise it is a finished run, frozen.
        averages_costs: Whether it learns nothing but costs from a teacher, so that those of several can be averaged.
        has_detection_loss: Whether its losses are detection losses alone, to which distillation terms can be added.
    """

    title: str
    loss: Callable[..., MethodLoss]
    options: type
    needs_teacher: bool
    learns_assignment: bool
    trains_teacher: bool
    averages_costs: bool
    has_detection_loss: bool


METHODS: dict[str, Method] = {}
LossFunction = Callable[..., MethodLoss]


def register_method(
    name: str,
    title: str,
    *,
    options: type = NoOptions,
    needs_teacher: bool = False,
    learns_assignment: bool = False,
    trains_teacher: bool = False,
    averages_costs: bool = False,
    has_detection_loss: bool = False,
) -> Callable[[LossFunction], LossFunction]:
    """Register a method under the name that users type; the arguments are the fields of `Method`.

    The function is called with (student outputs, teacher outputs or None, context) and the keywords `assigner` and
    `options`; with `trains_teacher` also with `select_cost`, one of `COST_SELECTIONS`, and with `averages_costs` also
    with `other_teachers`, the outputs of further teachers.
    """

    def register(loss: LossFunction) -> LossFunction:
        flags = (needs_teacher, learns_assignment, trains_teacher, averages_costs, has_detection_loss)
        METHODS[name] = Method(title, loss, options, *flags)
        return loss

    return register


def build_method_options(name: str, given: Mapping[str, Any]) -> Any:
    """Build the options of a method from values by name, without those of distillation terms.

    Raises:
        ValueError: An option is unknown or out of range; the message names it.
    """
    return build_options("method_options", f"method '{name}'", METHODS[name].options, given)


def resolve_method_options(name: str, distill: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a method and of the terms beside it by name; those that are missing get their defaults.

    Raises:
        ValueError: An option is unknown or out of range; the message names it.
    """
    of_terms, own = build_term_options(distill, given)
    return asdict(build_method_options(name, own)) | of_terms


def build_method(
    name: str, assigner: Assigner, options: Mapping[str, Any] | None = None, cost_selection: str = "std_mean"
) -> Callable[..., MethodLoss]:
    """Bind a method to its assigner and options.

    Args:
        name: One of `METHODS`.
        assigner: The rule that makes the assignment.
        options: Hyper-parameters by name; those that are missing keep their defaults, those of terms are not used.
        cost_selection: One of `COST_SELECTIONS`, for a method that trains its teacher.

    Returns:
        A function of the student's outputs, the teacher's outputs or None, and the context; for a method that averages
        costs, also of the keyword `other_teachers`, the outputs of further ones.
    """
    entry = METHODS[name]
    own = build_method_options(name, without_term_options(options or {}))
    loss = functools.partial(entry.loss, assigner=assigner, options=own)
    return functools.partial(loss, select_cost=COST_SELECTIONS[cost_selection]) if entry.trains_teacher else loss


@register_method("baseline", "plain", has_detection_loss=True)
def baseline_loss(
    student: HeadOutputs,
    teacher: HeadOutputs | None,
    context: AssignmentContext,
    assigner: Assigner = DEFAULT_ASSIGNER,
    options: NoOptions = NO_OPTIONS,
) -> MethodLoss:
    """Compute the losses of plain training: the student's own outputs make the assignment.

    The teacher is not used. The box loss is weighted by the IoU, but not for a head without the IoU branch, as in the
    published code.
    """
    candidate_scores = assigner.score(student, context)
    gt_index = assigner.assign(candidate_scores, context)
    weighting: BoxWeighting = "none" if student.iou_logits is None else "iou"
    terms = detection_loss(student, gt_index, context.anchors, context.targets, weighting)
    return MethodLoss(terms, gt_index, candidate_scores[:, 0])


@register_method("lad", "LAD", needs_teacher=True, learns_assignment=True, averages_costs=True, has_detection_loss=True)
def lad_loss(
    student: HeadOutputs,
    teacher: HeadOutputs | None,
    context: AssignmentContext,
    assigner: Assigner = DEFAULT_ASSIGNER,
    options: NoOptions = NO_OPTIONS,
    other_teachers: Sequence[HeadOutputs] = (),
) -> MethodLoss:
    """Compute the losses of label assignment distillation: the teacher's outputs make the assignment.

    The student learns nothing else from the teacher. With several teachers, their scores are averaged per candidate.
    """
    candidate_scores = mean_scores(assigner, (_required(teacher, "lad"), *other_teachers), context)
    gt_index = assigner.assign(candidate_scores, context)
    terms = given_assignment_loss(student, gt_index, context.anchors, context.targets)
    return MethodLoss(terms, gt_index, candidate_scores[:, 0])


def mean_scores(assigner: Assigner, teachers: Sequence[HeadOutputs], context: AssignmentContext) -> Tensor:
    """Compute the mean over several teachers of each candidate's scores, [M, K]."""
    scores = [assigner.score(outputs, context) for outputs in teachers]
    return scores[0] if len(scores) == 1 else torch.stack(scores).mean(dim=0)


def given_assignment_loss(
    student: HeadOutputs, gt_index: Tensor, anchors: Anchors, targets: Targets
) -> dict[str, Tensor]:
    """Compute the losses of a student on a given assignment gt_index [N, A]."""
    return detection_loss(student, gt_index, anchors, targets, box_weighting="none")


SOFT_LABEL_OPTIONS = SoftLabelOptions()


@register_method("soft_label", "soft-label", options=SoftLabelOptions, needs_teacher=True)
def imitation_loss(
    student: HeadOutputs,
    teacher: HeadOutputs | None,
    context: AssignmentContext,
    assigner: Assigner = DEFAULT_ASSIGNER,
    options: SoftLabelOptions = SOFT_LABEL_OPTIONS,
) -> MethodLoss:
    """Compute the losses of classical distillation: the student imitates the teacher's outputs.

    The student learns no assignment; the one returned for the statistics is the teacher's.
    """
    teacher = _required(teacher, "soft_label")
    candidate_scores = assigner.score(teacher, context)
    gt_index = assigner.assign(candidate_scores, context)
    return MethodLoss(weighted_soft_label_loss(student, teacher, context, options), gt_index, candidate_scores[:, 0])


SOLAD_OPTIONS = SoLADOptions()


@register_method("solad", "SoLAD", options=SoLADOptions, needs_teacher=True, learns_assignment=True)
def solad_loss(
    student: HeadOutputs,
    teacher: HeadOutputs | None,
    context: AssignmentContext,
    assigner: Assigner = DEFAULT_ASSIGNER,
    options: SoLADOptions = SOLAD_OPTIONS,
) -> MethodLoss:
    """Compute the losses of SoLAD: the teacher's assignment and its soft labels."""
    teacher = _required(teacher, "solad")
    assigned = lad_loss(student, teacher, context, assigner)
    return MethodLoss(
        assigned.terms | weighted_soft_label_loss(student, teacher, context, options), assigned.gt_index, assigned.cost
    )


@register_method("colad", "CoLAD", needs_teacher=True, learns_assignment=True, trains_teacher=True, averages_costs=True)
def colad_loss(
    student: HeadOutputs,
    teacher: HeadOutputs | None,
    context: AssignmentContext,
    assigner: Assigner = DEFAULT_ASSIGNER,
    options: NoOptions = NO_OPTIONS,
    select_cost: CostSelection = choose_cost_std_mean,
    other_teachers: Sequence[HeadOutputs] = (),
) -> MethodLoss:
    """Compute the losses of co-learning LAD: two networks train on one assignment.

    For each gt the network that `select_cost` prefers supplies the candidates' scores. The total is the sum of both
    networks' losses. The scores of other teachers, which are frozen, are averaged with those of the second network.
    """
    teacher = _required(teacher, "colad")
    student_scores = assigner.score(student, context)
    teacher_scores = mean_scores(assigner, (teacher, *other_teachers), context)
    cost, from_teacher = select_cost(student_scores[:, 0], teacher_scores[:, 0], context.candidates, context.targets)
    gt_index = assigner.assign(torch.where(from_teacher[:, None], teacher_scores, student_scores), context)
    terms, teacher_terms = (
        given_assignment_loss(outputs, gt_index, context.anchors, context.targets) for outputs in (student, teacher)
    )
    terms |= {f"teacher_{name}": term for name, term in teacher_terms.items()}
    return MethodLoss(terms, gt_index, cost, from_teacher)


def _required(teacher: HeadOutputs | None, method: str) -> HeadOutputs:
    if teacher is None:
        raise ValueError(f"method '{method}' needs a teacher's outputs")
    return teacher
