"""Cost selection of co-learning LAD: which of the two networks in training supplies the costs of a gt."""

from collections.abc import Callable

import torch
from torch import Tensor

from lad.assigners.candidates import Candidates
from lad.assigners.gmm import fit_mixture
from lad.assigners.indexing import group_sizes
from lad.assigners.paa import topk_per_level
from lad.geometry import STRIDES
from lad.structures import Targets


@torch.no_grad()
def choose_cost_std_mean(
    student_cost: Tensor, teacher_cost: Tensor, candidates: Candidates, targets: Targets
) -> tuple[Tensor, Tensor]:
    """Choose, per gt and level, the network whose costs have the larger std / mean over the candidates.

    The std is unbiased; with a single candidate, the smaller cost is chosen.

    Args:
        student_cost: [M].
        teacher_cost: [M].
        candidates: M pairs of an anchor and a gt.
        targets: The T gts of the batch.

    Returns:
        The chosen cost [M], and from_teacher [M] bool.

    Source: Co-learning LAD, Nguyen et al., WACV 2022.
    """
    group = candidates.gt * len(STRIDES) + candidates.level
    num_groups = len(targets.boxes) * len(STRIDES)
    size = group_sizes(group, num_groups)
    student, teacher = (_std_over_mean(cost, group, size) for cost in (student_cost, teacher_cost))
    spreads_more = (teacher > student)[group]
    from_teacher = torch.where(size[group] == 1, teacher_cost < student_cost, spreads_more)
    return torch.where(from_teacher, teacher_cost, student_cost), from_teacher


@torch.no_grad()
def choose_cost_fisher(
    student_cost: Tensor, teacher_cost: Tensor, candidates: Candidates, targets: Targets
) -> tuple[Tensor, Tensor]:
    """Choose, per gt, the network whose fitted mixture has the larger Fisher criterion (μ₁ − μ₀)² / (σ₀² + σ₁²).

    Arguments and results are those of `choose_cost_std_mean`.

    Source: Co-learning LAD, Nguyen et al., WACV 2022.
    """
    student, teacher = (_fisher(cost, candidates, len(targets.boxes)) for cost in (student_cost, teacher_cost))
    from_teacher = (teacher > student)[candidates.gt]
    return torch.where(from_teacher, teacher_cost, student_cost), from_teacher


def choose_student(
    student_cost: Tensor, teacher_cost: Tensor, candidates: Candidates, targets: Targets
) -> tuple[Tensor, Tensor]:
    """Choose the student's costs everywhere, for comparison; arguments and results as in `choose_cost_std_mean`."""
    return student_cost, torch.zeros_like(student_cost, dtype=torch.bool)


def choose_teacher(
    student_cost: Tensor, teacher_cost: Tensor, candidates: Candidates, targets: Targets
) -> tuple[Tensor, Tensor]:
    """Choose the teacher's costs everywhere, for comparison; arguments and results as in `choose_cost_std_mean`."""
    return teacher_cost, torch.ones_like(teacher_cost, dtype=torch.bool)


CostSelection = Callable[[Tensor, Tensor, Candidates, Targets], tuple[Tensor, Tensor]]
COST_SELECTIONS: dict[str, CostSelection] = {
    "std_mean": choose_cost_std_mean,
    "fisher": choose_cost_fisher,
    "student": choose_student,
    "teacher": choose_teacher,
}


def _std_over_mean(cost: Tensor, group: Tensor, size: Tensor) -> Tensor:
    """Compute std / mean of each group's costs, [number of groups]; 0 for a group of fewer than two costs."""
    cost = cost.double()
    zeros = cost.new_zeros(len(size))
    mean = zeros.scatter_add(0, group, cost) / size.clamp(min=1)
    squares = zeros.scatter_add(0, group, (cost - mean[group]) ** 2)
    return (squares / (size - 1).clamp(min=1)).sqrt() / mean.clamp(min=1e-12)


def _fisher(cost: Tensor, candidates: Candidates, num_gts: int) -> Tensor:
    pooled_cost, _, count = topk_per_level(candidates, cost, num_gts)
    mixture = fit_mixture(pooled_cost, count)
    return (mixture.mean[:, 1] - mixture.mean[:, 0]) ** 2 / mixture.variance.sum(dim=1)
