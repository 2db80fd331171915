"""Probabilistic anchor assignment: from the candidates' costs to positives (steps 3 to 5)."""

import torch
from torch import Tensor

from lad.assigners.candidates import Candidates, group_sizes
from lad.assigners.gmm import Mixture, fit_mixture
from lad.geometry import STRIDES, Anchors, inside_images
from lad.structures import BACKGROUND, IGNORED, Targets

TOPK_PER_LEVEL = 9
TIE = 1e-9  # log-densities closer than this are equal
POOL_SIZE = TOPK_PER_LEVEL * len(STRIDES)


@torch.no_grad()
def assign(candidates: Candidates, cost: Tensor, anchors: Anchors, targets: Targets) -> Tensor:
    """The assignment gt_index [N, A] int64: ≥ 0 the row of the gt whose positive the anchor is, −1 background,
    −2 ignored (padding).

    cost: [M], of the candidates; whose network it comes from is the whole difference between PAA and LAD.
    Source: PAA, Kim and Lee, ECCV 2020, as in OpenMMLab's PAAHead.
    """
    pooled_cost, pooled_candidate, count = topk_per_level(candidates, cost, num_gts=targets.boxes.shape[0])
    positive = select_positives(fit_mixture(pooled_cost, count), pooled_cost, count)  # [T, 45]

    inside = inside_images(anchors, targets.image_hw)
    gt_index = torch.where(inside, BACKGROUND, IGNORED)
    # One place too many takes what is not positive, so that shapes do not depend on values and the host need not wait.
    flat = torch.cat([gt_index.flatten(), gt_index.new_full((1,), BACKGROUND)])
    location = torch.cat([candidates.image * inside.shape[1] + candidates.anchor, flat.new_full((1,), len(flat) - 1)])
    pooled_location = torch.where(positive, location[pooled_candidate], len(flat) - 1)
    row = torch.arange(len(positive), device=flat.device)[:, None].expand_as(positive)
    return flat.scatter(0, pooled_location.flatten(), row.flatten())[:-1].view_as(gt_index)


def topk_per_level(candidates: Candidates, cost: Tensor, num_gts: int) -> tuple[Tensor, Tensor, Tensor]:
    """Per gt and level the 9 cheapest candidates, pooled over the levels and sorted by cost.

    Returns cost [T, 45] (inf beyond the count), candidate [T, 45] (row of `candidates`; M beyond the count) and
    count [T].
    """
    cost = cost.nan_to_num(nan=torch.finfo(cost.dtype).max)  # what overflowed is dear, and not lost
    group = candidates.gt * len(STRIDES) + candidates.level
    num_groups = num_gts * len(STRIDES)
    by_cost = cost.argsort(stable=True)
    order = by_cost[group[by_cost].argsort(stable=True)]  # by gt and level, then cost
    group_size = group_sizes(group, num_groups)
    rank = _rank_in_group(group[order], group_size)

    # Every gt and level has 9 places, and one place too many takes what is not among its cheapest.
    num_places = num_groups * TOPK_PER_LEVEL
    place = torch.where(rank < TOPK_PER_LEVEL, group[order] * TOPK_PER_LEVEL + rank, num_places)
    candidate = torch.full((num_places + 1,), len(cost), device=cost.device).scatter(0, place, order)
    candidate = candidate[:-1].view(num_gts, POOL_SIZE)
    pooled_cost = torch.cat([cost, cost.new_full((1,), torch.inf)])[candidate]
    pooled_cost, by_cost = pooled_cost.sort(dim=1, stable=True)
    count = group_size.view(num_gts, len(STRIDES)).clamp(max=TOPK_PER_LEVEL).sum(dim=1)
    return pooled_cost, candidate.gather(1, by_cost), count


def select_positives(mixture: Mixture, cost: Tensor, count: Tensor) -> Tensor:
    """Which pooled samples are positive, [T, K] bool: of component 0, in cost order, all up to the one of highest
    mixture density, the cheapest of equals; samples of equal cost stay together.

    cost: [T, K] ascending, count: [T], as given to `fit_mixture`.
    Differs from OpenMMLab: a gt with one candidate or with nothing in component 0 keeps all of its samples, as in the
    original PAA; there it is left without a positive.
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


def _rank_in_group(group: Tensor, group_size: Tensor) -> Tensor:
    """Progress of each element within its group; `group` [M] ascending, group_size [number of groups]."""
    start = group_size.cumsum(0) - group_size
    return torch.arange(len(group), device=group.device) - start[group]
