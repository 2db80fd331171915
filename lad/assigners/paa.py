"""Probabilistic anchor assignment: from the candidates' costs to positives (steps 3 to 5)."""

from typing import ClassVar, Literal

import torch
from pydantic import Field, StrictBool
from pydantic.dataclasses import dataclass
from torch import Tensor

from lad.assigners.base import Assigner, AssignmentContext, register_assigner
from lad.assigners.candidates import MIN_IOU, Candidates, match_candidates
from lad.assigners.cost import anchor_cost
from lad.assigners.gmm import Mixture, fit_mixture, fit_normalized_mixture
from lad.assigners.indexing import group_sizes, rank_in_group, scatter_selected
from lad.geometry import STRIDES, Anchors, inside_images
from lad.losses import BOX_WEIGHT
from lad.structures import BACKGROUND, IGNORED, HeadOutputs, Targets
from lad.utils.options import OPTIONS

TOPK_PER_LEVEL = 9
TIE = 1e-9  # log-densities closer than this are equal
Separation = Literal["a", "b", "c", "d"]


@register_assigner("paa")
@dataclass(frozen=True, config=OPTIONS)
class PAA(Assigner):
    """Probabilistic anchor assignment: a Gaussian mixture of each gt's costs separates positives from background.

    Attributes:
        topk: Candidates of lowest cost that are kept per gt and level.
        min_iou: Lowest IoU of an anchor with its gt for it to be a candidate.
        box_weight: Weight of the GIoU term in the cost.
        class_weight: Weight of the class term in the cost; 0 scores candidates by their boxes alone.
        separation: Scheme that separates positives, ignored anchors and background, by its letter in Figure 3 of PAA:
            see `select_positives` and `select_ignored`.
        normalize_cost: Whether the mixture is fitted to each gt's costs scaled to 0 … 1, called `norm_loss` in the LAD
            authors' code: see `fit_normalized_mixture`.

    Source: PAA (Kim and Lee, ECCV 2020), as in OpenMMLab's PAAHead.
    """

    title: ClassVar[str] = "PAA"
    topk: int = Field(default=TOPK_PER_LEVEL, ge=1, le=1000)
    min_iou: float = Field(default=MIN_IOU, gt=0, lt=1)
    box_weight: float = Field(default=BOX_WEIGHT, ge=0, le=100)
    class_weight: float = Field(default=1.0, ge=0, le=100)
    separation: Separation = "c"
    normalize_cost: StrictBool = False

    def find_candidates(self, anchors: Anchors, targets: Targets) -> Candidates:
        """Return the candidates of `match_candidates`."""
        return match_candidates(anchors, targets, self.min_iou)

    def score(self, outputs: HeadOutputs, context: AssignmentContext) -> Tensor:
        """Return the candidates' costs, [M, 1]."""
        weights = (self.box_weight, self.class_weight)
        return anchor_cost(outputs, context.candidates, context.anchors, context.targets, *weights)[:, None]

    def assign(self, candidate_scores: Tensor, context: AssignmentContext) -> Tensor:
        """Return the assignment gt_index [N, A] of `assign`."""
        options = (self.topk, self.separation, self.normalize_cost)
        return assign(context.candidates, candidate_scores[:, 0], context.anchors, context.targets, *options)


DEFAULT_ASSIGNER = PAA()


@torch.no_grad()
def assign(
    candidates: Candidates,
    cost: Tensor,
    anchors: Anchors,
    targets: Targets,
    topk: int = TOPK_PER_LEVEL,
    separation: Separation = "c",
    normalize_cost: bool = False,
) -> Tensor:
    """Assign anchors to gts by the candidates' costs.

    Args:
        candidates: M pairs of an anchor and a gt, with distinct anchors.
        cost: [M]. PAA takes it from the network in training, LAD from the teacher: their only difference here.
        anchors: The A anchors of the batch.
        targets: The T gts of the batch.
        topk: Candidates of lowest cost that are kept per gt and level.
        separation: As in `PAA`.
        normalize_cost: As in `PAA`.

    Returns:
        gt_index [N, A] int64: ≥ 0 the row of the gt whose positive the anchor is, −1 background, −2 ignored (padding,
        and with separation "b" and "d" also candidates).

    Source: PAA (Kim and Lee, ECCV 2020), as in OpenMMLab's PAAHead.
    """
    pooled_cost, pooled_candidate, count = topk_per_level(candidates, cost, len(targets.boxes), topk)
    mixture = (fit_normalized_mixture if normalize_cost else fit_mixture)(pooled_cost, count)
    positive = select_positives(mixture, pooled_cost, count, separation)  # [T, 5 · topk]
    ignored = select_ignored(mixture, pooled_cost, count, positive, separation)

    inside = inside_images(anchors, targets.image_hw)
    gt_index = torch.where(inside, BACKGROUND, IGNORED)
    location = candidates.image * inside.shape[1] + candidates.anchor
    location = torch.cat([location, location.new_zeros(1)])[pooled_candidate]  # [T, 5 · topk]
    gt = torch.arange(len(positive), device=location.device)[:, None].expand_as(positive)
    value, is_selected = torch.where(positive, gt, IGNORED), positive | ignored
    return scatter_selected(
        gt_index.flatten(), location.flatten(), value.flatten(), is_selected.flatten()
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


def select_positives(mixture: Mixture, cost: Tensor, count: Tensor, separation: Separation = "c") -> Tensor:
    """Select the positives among the pooled samples, from component 0 of the mixture, that of the low costs.

    Separation "a": all of component 0, the samples for which it is at least as probable as component 1. "b", "c" and
    "d": of these, in cost order, everything up to the sample where the mixture's density is highest. If several samples
    have that density, the one of lowest cost counts; samples of equal cost are selected together.
    Differs from OpenMMLab: a gt with one candidate or with nothing in component 0 keeps all of its samples, as in the
    original PAA; there it is left without a positive.

    Args:
        mixture: The fit to `cost` and `count`.
        cost: [T, K] ascending.
        count: [T], number of valid samples of each row.
        separation: As in `PAA`.

    Returns:
        [T, K] bool.
    """
    valid = torch.arange(cost.shape[1], device=cost.device) < count[:, None]
    foreground = valid & (mixture.component == 0)
    selected = foreground if separation == "a" else foreground & (cost <= _peak_cost(mixture, cost, foreground))
    keep_all = (count == 1) | ~foreground.any(dim=1)
    return torch.where(keep_all[:, None], valid, selected)


def select_ignored(
    mixture: Mixture, cost: Tensor, count: Tensor, positive: Tensor, separation: Separation = "c"
) -> Tensor:
    """Select the ignored among the pooled samples that are not positive; the others are background.

    Separation "a" and "c": none. "b": those between the two peaks, of lower cost than the sample of component 1 where
    the mixture's density is highest; none if component 1 is empty. "d": those of component 0, so that background begins
    where component 1 is the more probable one.
    Differs from the original PAA in "b": its code counts the position of the second peak from the wrong end of the row,
    so that its background begins elsewhere.

    Args:
        mixture: The fit to `cost` and `count`.
        cost: [T, K] ascending.
        count: [T], number of valid samples of each row.
        positive: [T, K] bool, as of `select_positives`.
        separation: As in `PAA`.

    Returns:
        [T, K] bool.

    Source: the first version of the original PAA's code, where "b" is in use and "a" and "d" are comments; its last
    version has "c".
    """
    if separation in ("a", "c"):
        return torch.zeros_like(positive)
    valid = torch.arange(cost.shape[1], device=cost.device) < count[:, None]
    if separation == "d":
        return valid & ~positive & (mixture.component == 0)
    background = valid & (mixture.component == 1)
    before_peak = background.any(dim=1, keepdim=True) & (cost < _peak_cost(mixture, cost, background))
    return valid & ~positive & before_peak


def _peak_cost(mixture: Mixture, cost: Tensor, samples: Tensor) -> Tensor:
    """Return the lowest cost [T, 1] at which the density of the mixture is highest among `samples` [T, K] bool."""
    density = mixture.log_density.masked_fill(~samples, -torch.inf)
    # Where a component holds two samples, they lie at equal density by symmetry: rounding must not choose between them.
    is_peak = density >= density.amax(dim=1, keepdim=True) - TIE
    return cost.masked_fill(~is_peak, torch.inf).amin(dim=1, keepdim=True)
