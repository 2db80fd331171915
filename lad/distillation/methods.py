"""The methods of Nguyen et al. (WACV 2022), which differ in whose outputs make the assignment that the student learns.

A method is a function (student outputs, teacher outputs or None, context, assigner, options) → `MethodLoss`, with one
entry in `METHODS` that lists what it needs.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pydantic.dataclasses
import torch
from pydantic import Field
from torch import Tensor

from lad.assigners.base import Assigner, AssignmentContext
from lad.assigners.paa import DEFAULT_ASSIGNER
from lad.distillation.cost_selection import COST_SELECTIONS, CostSelection, choose_cost_std_mean
from lad.distillation.soft_label import soft_label_loss
from lad.geometry import Anchors
from lad.losses import BOX_WEIGHT, BoxWeighting, detection_loss
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
    """

    title: str
    loss: Callable[..., MethodLoss]
    options: type
    needs_teacher: bool
    learns_assignment: bool
    trains_teacher: bool


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
) -> Callable[[LossFunction], LossFunction]:
    """Register a method under the name that users type; the arguments are the fields of `Method`.

    The function is called with (student outputs, teacher outputs or None, context) and the keywords `assigner` and
    `options`; with `trains_teacher` also with `select_cost`, one of `COST_SELECTIONS`.
    """

    def register(loss: LossFunction) -> LossFunction:
        METHODS[name] = Method(title, loss, options, needs_teacher, learns_assignment, trains_teacher)
        return loss

    return register


def build_method_options(name: str, given: Mapping[str, Any]) -> Any:
    """Build the options of a method from values by name.

    Raises:
        ValueError: An option is unknown or out of range; the message names it.
    """
    return build_options("method_options", f"method '{name}'", METHODS[name].options, given)


def build_method(
    name: str, assigner: Assigner, options: Mapping[str, Any] | None = None, cost_selection: str = "std_mean"
) -> Callable[[HeadOutputs, HeadOutputs | None, AssignmentContext], MethodLoss]:
    """Bind a method to its assigner and options.

    Args:
        name: One of `METHODS`.
        assigner: The rule that makes the assignment.
        options: Hyper-parameters by name; those that are missing keep their defaults.
        cost_selection: One of `COST_SELECTIONS`, for a method that trains its teacher.

    Returns:
        A function of the student's outputs, the teacher's outputs or None, and the context.
    """
    entry = METHODS[name]
    loss = functools.partial(entry.loss, assigner=assigner, options=build_method_options(name, options or {}))
    return functools.partial(loss, select_cost=COST_SELECTIONS[cost_selection]) if entry.trains_teacher else loss


@register_method("baseline", "plain")
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


@register_method("lad", "LAD", needs_teacher=True, learns_assignment=True)
def lad_loss(
    student: HeadOutputs,
    teacher: HeadOutputs | None,
    context: AssignmentContext,
    assigner: Assigner = DEFAULT_ASSIGNER,
    options: NoOptions = NO_OPTIONS,
) -> MethodLoss:
    """Compute the losses of label assignment distillation: the teacher's outputs make the assignment.

    The student learns nothing else from the teacher.
    """
    candidate_scores = assigner.score(_required(teacher, "lad"), context)
    gt_index = assigner.assign(candidate_scores, context)
    terms = given_assignment_loss(student, gt_index, context.anchors, context.targets)
    return MethodLoss(terms, gt_index, candidate_scores[:, 0])


def given_assignment_loss(
    student: HeadOutputs, gt_index: Tensor, anchors: Anchors, targets: Targets
) -> dict[str, Tensor]:
    """Compute the losses of a student on a given assignment gt_index [N, A]."""
    return detection_loss(student, gt_index, anchors, targets, box_weighting="none")


@pydantic.dataclasses.dataclass(frozen=True, config=OPTIONS)
class SoftLabelOptions:
    """Hyper-parameters of soft-label distillation.

    Attributes:
        cls_weight: Weight of the focal-KL term of the class logits.
        iou_weight: Weight of the focal-KL term of the IoU logits.
        box_weight: Weight of the GIoU term between the two networks' boxes.
        min_iou: IoU of a teacher's box with a gt above which the box's location counts for boxes and IoU logits.
    """

    cls_weight: float = Field(default=10.0, ge=0, le=1000)
    iou_weight: float = Field(default=10.0, ge=0, le=1000)
    box_weight: float = Field(default=BOX_WEIGHT, ge=0, le=1000)
    min_iou: float = Field(default=0.1, ge=0, lt=1)


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
    return MethodLoss(_soft_terms(student, teacher, context, options), gt_index, candidate_scores[:, 0])


@pydantic.dataclasses.dataclass(frozen=True, config=OPTIONS)
class SoLADOptions(SoftLabelOptions):
    """Hyper-parameters of SoLAD: those of its soft labels, with the paper's weights for the sum with LAD's losses."""

    cls_weight: float = Field(default=2.0, ge=0, le=1000)
    min_iou: float = Field(default=0.5, ge=0, lt=1)


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
        assigned.terms | _soft_terms(student, teacher, context, options), assigned.gt_index, assigned.cost
    )


@register_method("colad", "CoLAD", needs_teacher=True, learns_assignment=True, trains_teacher=True)
def colad_loss(
    student: HeadOutputs,
    teacher: HeadOutputs | None,
    context: AssignmentContext,
    assigner: Assigner = DEFAULT_ASSIGNER,
    options: NoOptions = NO_OPTIONS,
    select_cost: CostSelection = choose_cost_std_mean,
) -> MethodLoss:
    """Compute the losses of co-learning LAD: two networks train on one assignment.

    For each gt the network that `select_cost` prefers supplies the candidates' scores. The total is the sum of both
    networks' losses.
    """
    teacher = _required(teacher, "colad")
    student_scores, teacher_scores = (assigner.score(outputs, context) for outputs in (student, teacher))
    cost, from_teacher = select_cost(student_scores[:, 0], teacher_scores[:, 0], context.candidates, context.targets)
    gt_index = assigner.assign(torch.where(from_teacher[:, None], teacher_scores, student_scores), context)
    terms, teacher_terms = (
        given_assignment_loss(outputs, gt_index, context.anchors, context.targets) for outputs in (student, teacher)
    )
    terms |= {f"teacher_{name}": term for name, term in teacher_terms.items()}
    return MethodLoss(terms, gt_index, cost, from_teacher)


def _soft_terms(
    student: HeadOutputs, teacher: HeadOutputs, context: AssignmentContext, options: SoftLabelOptions
) -> dict[str, Tensor]:
    return soft_label_loss(
        student,
        teacher,
        context.anchors,
        context.targets,
        cls_weight=options.cls_weight,
        iou_weight=options.iou_weight,
        box_weight=options.box_weight,
        min_iou=options.min_iou,
    )


def _required(teacher: HeadOutputs | None, method: str) -> HeadOutputs:
    if teacher is None:
        raise ValueError(f"method '{method}' needs a teacher's outputs")
    return teacher
