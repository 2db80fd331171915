"""Label assigners: candidates from geometry, their scores from a network, positives from the scores."""

from lad.assigners.base import ASSIGNERS, PAA, Assigner, own_assignment
from lad.assigners.candidates import Candidates, match_candidates
from lad.assigners.cost import anchor_cost, cost_terms
from lad.assigners.gmm import Mixture, fit_mixture
from lad.assigners.paa import assign, select_positives, topk_per_level

__all__ = [
    "ASSIGNERS",
    "PAA",
    "Assigner",
    "Candidates",
    "Mixture",
    "anchor_cost",
    "assign",
    "cost_terms",
    "fit_mixture",
    "match_candidates",
    "own_assignment",
    "select_positives",
    "topk_per_level",
]
