"""Figures of the notebooks and reports. Each `draw_…` function returns a matplotlib Figure and shows nothing."""

from lad.figures.assignment import draw_assignments, draw_levels, draw_mixtures
from lad.figures.comparison import draw_comparison, draw_gains, draw_verdicts
from lad.figures.detection import draw_detections, draw_errors, draw_evaluated, draw_precision_recall
from lad.figures.distillation import draw_distillation
from lad.figures.explorer import draw_anchors, draw_cost_maps, draw_positives
from lad.figures.history import draw_history, save_animation
from lad.figures.style import BOTH, DISTILLED, GT, NEITHER, STUDENT, TEACHER, denormalize, network_color, to_svg
from lad.figures.teacher_quality import draw_teacher_quality
from lad.figures.training import draw_training

__all__ = [
    "BOTH",
    "DISTILLED",
    "GT",
    "NEITHER",
    "STUDENT",
    "TEACHER",
    "denormalize",
    "draw_anchors",
    "draw_assignments",
    "draw_comparison",
    "draw_cost_maps",
    "draw_detections",
    "draw_distillation",
    "draw_errors",
    "draw_evaluated",
    "draw_gains",
    "draw_history",
    "draw_levels",
    "draw_mixtures",
    "draw_positives",
    "draw_precision_recall",
    "draw_teacher_quality",
    "draw_training",
    "draw_verdicts",
    "network_color",
    "save_animation",
    "to_svg",
]
