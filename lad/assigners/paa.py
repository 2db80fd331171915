"""Probabilistic anchor assignment: from the candidates' costs to positives (steps 3 to 5)."""

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from lad.assigners.base import Assigner, AssignmentContext, register_assigner
from lad.assigners.candidates import MIN_IOU, Candidates, match_candidates
from lad.assigners.cost import anchor_cost
from lad.assigners.gmm import Mixture, fit_mixture
from lad.assigners.indexing import group_sizes, rank_in_group, scatter_selected
from lad.geometry import STRIDES, Anchors, inside_images
from lad.losses import BOX_WEIGHT
from lad.structures import BACKGROUND, IGNORED, HeadOutputs, Targets
from lad.utils.options import OPTIONS

TOPK_PER_LEVEL = 9
TIE = 1e-9  # log-densities closer than this are equal


@register_assigner("paa")
@dataclass(frozen=True, config=OPTIONS)
class PAA(Assigner):
    """Probabilistic anchor assignment: a Gaussian mixture of each gt's costs separates positives from background.

    Attributes:
        topk: Candidates of lowest cost that are kept per gt and level.
        min_iou: Lowest IoU of an anchor with its gt for it to be a candidate.
        box_weight: Weight of the GIoU term in the cost.
        class_weight: Weight of the class term in the cost; 0 scores candidates by their boxes alone.

    Source: PAA (Kim and Lee, ECCV 2020), as in OpenMMLab's PAAHead.
    """

    title: ClassVar[str] = "PAA"
    topk: int = Field(default=TOPK_PER_LEVEL, ge=1, le=1000)
    min_iou: float = Field(default=MIN_IOU, gt=0, lt=1)
    box_weight: float = Field(default=BOX_WEIGHT, ge=0, le=100)
    class_weight: float = Field(default=1.0, ge=0, le=100)

    def find_candidates(self, anchors: Anchors, targets: Targets) -> Candidates:
        """Return the candidates of `match_candidates`."""
        return match_candidates(anchors, targets, self.min_iou)

    def score(self, outputs: HeadOutputs, context: AssignmentContext) -> Tensor:
        """Return the candidates' costs, [M, 1]."""
        weights = (self.box_weight, self.class_weight)
        return anchor_cost(outputs, context.candidates, context.anchors, context.targets, *weights)[:, None]

    def assign(self, candidate_scores: Tensor, context: AssignmentContext) -> Tensor:
        """Return the assignment gt_index [N, A] of `assign`."""
        return assign(context.candidates, candidate_scores[:, 0], context.anchors, context.targets, self.topk)


DEFAULT_ASSIGNER = PAA()


@torch.no_grad()
def assign(
    candidates: Candidates, cost: Tensor, anchors: Anchors, targets: Targets, topk: int = TOPK_PER_LEVEL
) -> Tensor:
    """Assign anchors to gts by the candidates' costs.

    Args:
        candidates: M pairs of an anchor and a gt, with distinct anchors.
        cost: [M]. PAA takes it from the network in training, LAD from the teacher: their only difference here.
        anchors: The A anchors of the batch.
        targets: The T gts of the batch.
        topk: Candidates of lowest cost that are kept per gt and level.

    Returns:
        gt_index [N, A] int64: ≥ 0 the row of the gt whose positive the anchor is, −1 background, −2 ignored (padding).

    Source: PAA (Kim and Lee, ECCV 2020), as in OpenMMLab's PAAHead.
    """
    pooled_cost, pooled_candidate, count = topk_per_level(candidates, cost, len(targets.boxes), topk)
    positive = select_positives(fit_mixture(pooled_cost, count), pooled_cost, count)  # [T, 5 · topk]

    inside = inside_images(anchors, targets.image_hw)
    gt_index = torch.where(inside, BACKGROUND, IGNORED)
    location = candidates.image * inside.shape[1] + candidates.anchor
    location = torch.cat([location, location.new_zeros(1)])[pooled_candidate]  # [T, 5 · topk]
    gt = torch.arange(len(positive), device=location.device)[:, None].expand_as(positive)
    return scatter_selected(
        gt_index.flatten(), location.flatten(), gt.flatten(), positive.flatten()
    ).view_as(gt_index)  # fmt: skip


def topk_per_level(
    candidates: Candidates, cost: Tensor, num_gts: int, topk: int = TOPK_PER_LEVEL
) -> tuple[Tensor, Tensor, Tensor]:
    """Keep the topk candidates of lowest cost per gt and level, pool the levels, and sort by cost.

    Overflowed (NaN) costs become the largest finite cost: the candidate is kept and ranked last.

    Args:
        candidates: M pairs of an anchor and a gt.
        cost: [M].
        num_gts: T.
        topk: Candidates that are kept per gt and level.

    Returns:
        cost [T, 5 · topk], ascending, inf beyond the count; candidate [T, 5 · topk], row of `candidates`, M beyond the
        count; count [T].
    """
    cost = cost.nan_to_num(nan=torch.finfo(cost.dtype).max)
    group = candidates.gt * len(STRIDES) + candidates.level
    num_groups = num_gts * len(STRIDES)
    rank = rank_in_group(cost, group, num_groups)
    row = torch.arange(len(cost), device=cost.device)
    slots = row.new_full((num_groups * topk,), len(cost))
    candidate = scatter_selected(slots, group * topk + rank, row, rank < topk).view(num_gts, len(STRIDES) * topk)
    pooled_cost = torch.cat([cost, cost.new_full((1,), torch.inf)])[candidate]
    pooled_cost, by_cost = pooled_cost.sort(dim=1, stable=True)
    count = group_sizes(group, num_groups).view(num_gts, len(STRIDES)).clamp(max=topk).sum(dim=1)
    return pooled_cost, candidate.gather(1, by_cost), count


def select_positives(mixture: Mixture, cost: Tensor, count: Tensor) -> Tensor:
    """Select the positives among the pooled samples: those of component 0 up to the peak of the mixture's density.

    In cost order, everything up to the sample of highest density is positive. If several samples have that density, the
    one of lowest cost counts; samples of equal cost are selected together.
    Differs from OpenMMLab: a gt with one candidate or with nothing in component 0 keeps all of its samples, as in the
    original PAA; there it is left without a positive.

    Args:
        mixture: The fit to `cost` and `count`.
        cost: [T, K] ascending.
        count: [T], number of valid samples of each row.

    Returns:
        [T, K] bool.
    """
    valid = torch.arange(cost.shape[1], device=cost.device) < count[:, None]
    foreground = valid & (mixture.component == 0)
    density = mixture.log_density.masked_fill(~foreground, -torch.inf)
    # Where component 0 holds two samples, they lie at equal density by symmetry: rounding must not choose between them.
    is_peak = density >= density.amax(dim=1, keepdim=True) - TIE
    peak_cost = cost.masked_fill(~is_peak, torch.inf).amin(dim=1, keepdim=True)
    up_to_peak = cost <= peak_cost
    keep_all = (count == 1) | ~foreground.any(dim=1)
    return torch.where(keep_all[:, None], valid, foreground & up_to_peak)
