"""The assigners by name, each as three steps, so that a teacher can supply the middle one."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from lad.assigners.atss import assign_atss
from lad.assigners.candidates import Candidates, match_candidates
from lad.assigners.center_candidates import closest_to_gts, within_gts, within_or_near_gts
from lad.assigners.cost import anchor_cost
from lad.assigners.max_iou import assign_max_iou
from lad.assigners.paa import assign
from lad.assigners.simota import assign_simota, simota_cost
from lad.assigners.tal import alignment_metric, assign_tal
from lad.geometry import Anchors
from lad.structures import HeadOutputs, Targets


class Assigner(NamedTuple):
    """match: which anchors could belong to which gt, from geometry, on the host. weigh: what a network says of these
    candidates, [M, E], with its cost in the first column. assign: the assignment gt_index [N, A] from both. is_static:
    nothing is asked of any network, so that a teacher cannot change the assignment."""

    find_candidates: Callable[[Anchors, Targets], Candidates]
    score: Callable[[HeadOutputs, Candidates, Anchors, Targets], Tensor]
    assign: Callable[[Candidates, Tensor, Anchors, Targets], Tensor]
    is_static: bool = False


def own_assignment(
    assigner: Assigner, outputs: HeadOutputs, anchors: Anchors, targets: Targets, candidates: Candidates | None = None
) -> Tensor:
    """The assignment gt_index [N, A] that a network's outputs make by themselves. candidates: the assigner's, if they
    are at hand."""
    if candidates is None:
        candidates = assigner.find_candidates(anchors, targets)
    return assigner.assign(candidates, assigner.score(outputs, candidates, anchors, targets), anchors, targets)


def _paa_cost(outputs: HeadOutputs, candidates: Candidates, anchors: Anchors, targets: Targets) -> Tensor:
    return anchor_cost(outputs, candidates, anchors, targets)[:, None]


def _paa_assign(candidates: Candidates, candidate_scores: Tensor, anchors: Anchors, targets: Targets) -> Tensor:
    return assign(candidates, candidate_scores[:, 0], anchors, targets)


PAA = Assigner(match_candidates, _paa_cost, _paa_assign)
ASSIGNERS: dict[str, Assigner] = {
    "paa": PAA,
    "tal": Assigner(within_gts, alignment_metric, assign_tal),
    "simota": Assigner(within_or_near_gts, simota_cost, assign_simota),
    # What PAA's cost says of these candidates is for the statistics alone.
    "atss": Assigner(closest_to_gts, _paa_cost, assign_atss, is_static=True),
    "fixed_iou": Assigner(match_candidates, _paa_cost, assign_max_iou, is_static=True),
}
