"""Label assignment: candidates → cost → mixture → the map of positives. Each step is a function of flat tensors."""

from lad.assignment.assigner import ASSIGNERS, PAA, Assigner, own_assignment
from lad.assignment.candidates import Candidates, match_candidates
from lad.assignment.colad import CRITERIA, choose_cost_fisher, choose_cost_std_mean
from lad.assignment.cost import anchor_cost, cost_terms
from lad.assignment.mixture import Mixture, fit_mixture
from lad.assignment.paa import assign, pool_cheapest, separate

__all__ = [
    "ASSIGNERS",
    "CRITERIA",
    "PAA",
    "Assigner",
    "Candidates",
    "Mixture",
    "anchor_cost",
    "assign",
    "choose_cost_fisher",
    "choose_cost_std_mean",
    "cost_terms",
    "fit_mixture",
    "match_candidates",
    "own_assignment",
    "pool_cheapest",
    "separate",
]
