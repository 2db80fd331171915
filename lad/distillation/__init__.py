"""Distillation: the methods of the LAD paper, their losses and cost selections, and the cache of teacher assignments."""

from lad.distillation.cost_selection import choose_cost_fisher, choose_cost_std_mean
from lad.distillation.soft_label import focal_kl, soft_label_loss

__all__ = [
    "choose_cost_fisher",
    "choose_cost_std_mean",
    "focal_kl",
    "soft_label_loss",
]
