"""Distillation: methods, terms beside them, cost selection of co-learning, and the cache of teacher assignments.

Every module of this folder is imported here, so that a new method or term is one new file.
"""

import importlib
import pkgutil

from lad.distillation.bckd import bckd_loss
from lad.distillation.cost_selection import choose_cost_fisher, choose_cost_std_mean
from lad.distillation.crosskd import crosskd_loss
from lad.distillation.methods import METHODS, build_method, register_method
from lad.distillation.pkd import pkd_loss
from lad.distillation.soft_label import focal_kl, soft_label_loss
from lad.distillation.terms import TERMS, register_term

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "METHODS",
    "TERMS",
    "bckd_loss",
    "build_method",
    "choose_cost_fisher",
    "choose_cost_std_mean",
    "crosskd_loss",
    "focal_kl",
    "pkd_loss",
    "register_method",
    "register_term",
    "soft_label_loss",
]
