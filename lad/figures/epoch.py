"""The figure of an epoch in experiment trackers: the assignment of the networks in training."""

import copy

from matplotlib.figure import Figure

from lad.analysis.assignment import AssignmentAnalysis, analyze, first_images
from lad.assigners import build_assigner
from lad.data.coco import CocoDataset
from lad.figures.assignment import draw_assignments
from lad.models.detector import Detector
from lad.models.student_teacher import detectors_of
from lad.models.transfer import has_classes
from lad.training.trainer import Trainer


def draw_epoch(trainer: Trainer, val_set: CocoDataset) -> Figure:
    """Draw the positives of the networks, and of the teacher if its classes are the run's, in one validation image.

    It is the entry point `assignment` of the group `lad.epoch_figures`.

    Args:
        trainer: The run's trainer, after an epoch; its networks are copied to the CPU.
        val_set: Validation images, with the evaluation transforms; the first one with gts is drawn.

    Raises:
        ValueError: No image has a gt.
    """
    batch = first_images(val_set, 1)
    assigner = build_assigner(trainer.parameters.assigner, trainer.parameters.assigner_options)
    detectors = detectors_of(trainer.evaluated)
    teacher = trainer.teacher
    if isinstance(teacher, Detector) and has_classes(teacher.configuration, val_set.annotations.class_names):
        detectors["teacher"] = teacher

    def analysis_of(detector: Detector) -> AssignmentAnalysis:
        return analyze(copy.deepcopy(detector).cpu(), batch, assigner)

    return draw_assignments(
        batch.images, batch.targets, {name: analysis_of(detector) for name, detector in detectors.items()}
    )
