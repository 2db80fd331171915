"""Base class and registry of assigners: candidates from geometry, scores from a network, positives from the scores."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from lad.assigners.candidates import Candidates
from lad.geometry import Anchors
from lad.structures import HeadOutputs, Targets
from lad.utils.options import build_options


@dataclass(frozen=True)
class AssignmentContext:
    """Candidates, anchors and gts of one batch on one device: the input of every step of an assignment.

    Attributes:
        candidates: M candidate pairs of an anchor and a gt.
        anchors: The A anchors of the batch's padded size.
        targets: The T gts of the batch.
    """

    candidates: Candidates
    anchors: Anchors
    targets: Targets

    @property
    def num_gts(self) -> int:
        """Return the number T of gts in the batch."""
        return len(self.targets.boxes)


class Assigner(ABC):
    """A label assignment rule in three steps: find candidates, score them, assign. A teacher can supply the scores.

    A subclass is a frozen dataclass whose fields are its hyper-parameters, registered by `register_assigner`.

    Attributes:
        title: Its name for tables, figures and messages.
        uses_predictions: False if the assignment follows from boxes alone, so that no teacher can change it.
    """

    title: ClassVar[str]
    uses_predictions: ClassVar[bool] = True

    @abstractmethod
    def find_candidates(self, anchors: Anchors, targets: Targets) -> Candidates:
        """Return the pairs of an anchor and a gt that could become positive, from geometry, on the host."""

    @abstractmethod
    def score(self, outputs: HeadOutputs, context: AssignmentContext) -> Tensor:
        """Compute scores of the candidates from a network's outputs, [M, K], with the cost in the first column."""

    @abstractmethod
    def assign(self, candidate_scores: Tensor, context: AssignmentContext) -> Tensor:
        """Return the assignment gt_index [N, A]: ≥ 0 the gt's row, −1 background, −2 ignored."""


AssignerClass = TypeVar("AssignerClass", bound=type[Any])
ASSIGNERS: dict[str, type[Assigner]] = {}


def register_assigner(name: str) -> Callable[[AssignerClass], AssignerClass]:
    """Register an assigner under the name that users type."""

    def register(assigner: AssignerClass) -> AssignerClass:
        ASSIGNERS[name] = assigner
        return assigner

    return register


def build_assigner(name: str, options: Mapping[str, Any] | None = None) -> Assigner:
    """Build a registered assigner.

    Args:
        name: One of `ASSIGNERS`.
        options: Hyper-parameters by name; those that are missing keep their defaults.

    Raises:
        ValueError: An option is unknown or out of range; the message names it.
    """
    return build_options("assigner_options", f"assigner '{name}'", ASSIGNERS[name], options or {})


def assign_by_predictions(
    assigner: Assigner, outputs: HeadOutputs, anchors: Anchors, targets: Targets, candidates: Candidates | None = None
) -> Tensor:
    """Compute the assignment gt_index [N, A] from a network's outputs.

    Args:
        assigner: The rule.
        outputs: Outputs of the network, on the same device as `anchors` and `targets`.
        anchors: The A anchors of the batch.
        targets: The gts of the batch.
        candidates: The assigner's candidates; None finds them here.
    """
    if candidates is None:
        candidates = assigner.find_candidates(anchors, targets)
    context = AssignmentContext(candidates, anchors, targets)
    return assigner.assign(assigner.score(outputs, context), context)
