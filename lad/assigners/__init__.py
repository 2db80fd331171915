"""Label assigners: candidates from geometry, their scores from a network, positives from the scores.

Every module of this folder is imported here, so that a new assigner is one new file.
"""

import importlib
import pkgutil

from lad.assigners.base import (
    ASSIGNERS,
    Assigner,
    AssignmentContext,
    assign_by_predictions,
    build_assigner,
    register_assigner,
)
from lad.assigners.candidates import Candidates, match_candidates
from lad.assigners.cost import anchor_cost, cost_terms
from lad.assigners.gmm import Mixture, fit_mixture
from lad.assigners.paa import PAA, assign, select_positives, topk_per_level

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "ASSIGNERS",
    "PAA",
    "Assigner",
    "AssignmentContext",
    "Candidates",
    "Mixture",
    "anchor_cost",
    "assign",
    "assign_by_predictions",
    "build_assigner",
    "cost_terms",
    "fit_mixture",
    "match_candidates",
    "register_assigner",
    "select_positives",
    "topk_per_level",
]
