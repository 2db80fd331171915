"""Distillation terms: losses between a student's and a frozen teacher's networks, beside those of a method.

A term is a function `TermInputs`, options → scalar losses by name, with one entry in `TERMS`. `distill: [pkd]` adds it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pydantic.dataclasses
from pydantic import Field
from torch import Tensor, nn

from lad.assigners.base import AssignmentContext
from lad.losses import mean_over_ranks, world_size
from lad.structures import DetectorFeatures
from lad.utils.options import OPTIONS, build_options


@dataclass(frozen=True)
class TermInputs:
    """Inputs of a distillation term, for one batch.

    Attributes:
        student: The student's outputs, with gradients, and the features that the run's terms read, through adapters
            where the networks have different numbers of channels.
        teacher: The teacher's outputs and features, without gradients.
        teacher_head: The teacher's head: its weights get no gradient, but gradients pass through its layers.
        gt_index: [N, A], the assignment that the student learns.
        context: Anchors and gts of the batch.
    """

    student: DetectorFeatures
    teacher: DetectorFeatures
    teacher_head: nn.Module
    gt_index: Tensor
    context: AssignmentContext


def count_positives(gt_index: Tensor) -> Tensor:
    """Return the number of positives, at least 1 in all processes together, averaged over them."""
    return mean_over_ranks((gt_index >= 0).sum().float()).clamp(min=1 / world_size())


@pydantic.dataclasses.dataclass(frozen=True, config=OPTIONS)
class TermOptions:
    """Hyper-parameters that every term has.

    Attributes:
        weight: Factor on the term's losses.
    """

    weight: float = Field(default=1.0, ge=0, le=1000)


TermFunction = Callable[[TermInputs, Any], dict[str, Tensor]]


@dataclass(frozen=True)
class Term:
    """One entry of `TERMS`.

    Attributes:
        title: Name of the term for tables and figures.
        loss: The function that computes the losses, without `weight`.
        options: Pydantic dataclass of the term's hyper-parameters, a subclass of `TermOptions`.
        features: Fields of `DetectorFeatures` that it reads, in which the networks need the same number of channels.
    """

    title: str
    loss: TermFunction
    options: type[TermOptions]
    features: tuple[str, ...]


TERMS: dict[str, Term] = {}


def register_term(
    name: str, title: str, *, options: type[TermOptions] = TermOptions, features: tuple[str, ...] = ()
) -> Callable[[TermFunction], TermFunction]:
    """Register a term under the name that users type; the arguments are the fields of `Term`."""

    def register(loss: TermFunction) -> TermFunction:
        TERMS[name] = Term(title, loss, options, features)
        return loss

    return register


def build_term_options(distill: Sequence[str], given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take the options of terms, which start with the term's name, from `method_options`.

    Args:
        distill: Terms of the run.
        given: Options by name, such as "pkd_weight".

    Returns:
        All options of the terms by name, and the given ones that are not of any term.

    Raises:
        ValueError: An option is unknown, out of range, or of a term that the run does not have.
    """
    for name in given:
        term = term_of_option(name)
        if term is not None and term not in distill:
            raise ValueError(f"parameter 'method_options': {name} is for distill=[{term}]; add it, or leave out {name}")
    built: dict[str, Any] = {}
    for term in distill:
        options = build_options("method_options", f"distill '{term}'", TERMS[term].options, _own_options(term, given))
        built |= {f"{term}_{name}": value for name, value in asdict(options).items()}
    return built, without_term_options(given)


def without_term_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in `method_options` that are of the method itself."""
    return {name: value for name, value in given.items() if term_of_option(name) is None}


def term_of_option(name: str) -> str | None:
    """Return the term whose name starts an option's name; None if there is none."""
    return next((term for term in TERMS if str(name).startswith(f"{term}_")), None)


def _own_options(term: str, given: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(f"{term}_"): value for name, value in given.items() if term_of_option(name) == term}


def term_losses(distill: Sequence[str], method_options: Mapping[str, Any], inputs: TermInputs) -> dict[str, Tensor]:
    """Compute the weighted losses of a run's terms, by name."""
    losses: dict[str, Tensor] = {}
    for name in distill:
        options = TERMS[name].options(**_own_options(name, method_options))
        losses |= {title: options.weight * loss for title, loss in TERMS[name].loss(inputs, options).items()}
    return losses


def features_of_terms(distill: Sequence[str]) -> tuple[str, ...]:
    """Return the fields of `DetectorFeatures` that a run's terms read, in a fixed order."""
    return tuple(sorted({feature for name in distill for feature in TERMS[name].features}))
