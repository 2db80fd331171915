"""Fixed IoU thresholds against plain loops over images, gts and anchors."""

import numpy as np
import pytest

from lad.assigners import build_assigner
from lad.assigners.max_iou import MaxIoU
from lad.geometry import box_iou, inside_images
from lad.structures import BACKGROUND, IGNORED


@pytest.mark.parametrize(
    "assigner", [MaxIoU(), MaxIoU(positive_iou=0.6, background_iou=0.3)], ids=["defaults", "options"]
)
@pytest.mark.parametrize("seed", range(6))
def test_anchors_above_the_threshold_and_each_gts_best_anchors_are_positive(assigner, seed, random_scene):
    """Anchors between the two thresholds are ignored; the later of two gts wins a shared best anchor."""
    scene = random_scene(seed)
    targets = scene.targets
    expected = np.where(inside_images(scene.anchors, targets.image_hw).numpy(), BACKGROUND, IGNORED)
    iou = box_iou(targets.boxes[:, None], scene.anchors.boxes).numpy()  # [T, A]
    for image in range(3):
        gts = np.flatnonzero(targets.image.numpy() == image)
        usable = np.flatnonzero(expected[image] == BACKGROUND)
        if len(gts) == 0:
            continue
        for anchor in usable:
            gt = gts[iou[gts, anchor].argmax()]
            if iou[gt, anchor] >= assigner.background_iou:
                expected[image, anchor] = gt if iou[gt, anchor] >= assigner.positive_iou else IGNORED
        for gt in gts:
            highest = iou[gt, usable].max()
            for anchor in usable:
                if highest > 0 and iou[gt, anchor] == highest:
                    expected[image, anchor] = gt
    assignment = scene.assignment(assigner)
    assert (assignment >= 0).any() and np.array_equal(assignment, expected)


def test_a_background_threshold_above_the_positive_one_is_refused():
    with pytest.raises(
        ValueError, match=r"^parameter 'assigner_options' of assigner 'fixed_iou': background_iou = 0.6"
    ):
        build_assigner("fixed_iou", {"background_iou": 0.6})
