"""Agreement of the assignments of a trained student and of its teacher on the validation images."""

import math

import torch

from lad.analysis.assignment import open_validation_set
from lad.assigners import assign_by_predictions
from lad.data.collate import collate
from lad.distillation.statistics import jaccard
from lad.experiments.run_store import Run
from lad.geometry import make_anchors

IMAGES_PER_BATCH = 8


@torch.no_grad()
def teacher_agreement(student: Run, teacher: Run, images: int = 64) -> float:
    """Compute the mean Jaccard index of the two networks' assignments over validation images.

    Each assignment follows from the outputs of one network; the assigner, the images and their size are those of the
    student's run.

    Args:
        student: The run of the trained student.
        teacher: The run of the teacher.
        images: Number of images: the first ones with gts, or all of them if there are fewer.

    Returns:
        The mean over the images, 0 … 1; NaN if no image has a gt.
    """
    dataset, assigner = open_validation_set(student.parameters), student.assigner
    with_gts = [index for index, record in enumerate(dataset.annotations.records) if len(record.boxes)][:images]
    networks = student.load_detector(), teacher.load_detector()
    values: list[float] = []
    for first in range(0, len(with_gts), IMAGES_PER_BATCH):
        batch = collate([dataset[index] for index in with_gts[first : first + IMAGES_PER_BATCH]])
        anchors = make_anchors(batch.padded_hw)
        own, other = (
            assign_by_predictions(assigner, network(batch.images), anchors, batch.targets) for network in networks
        )
        values += [jaccard(*of_image).item() for of_image in zip(own, other, strict=True)]
    return sum(values) / len(values) if values else math.nan
