"""ATSS against plain loops over images, gts and anchors."""

import math

import numpy as np
import pytest

from lad.assigners.atss import ATSS
from lad.geometry import STRIDES


@pytest.mark.parametrize("assigner", [ATSS(), ATSS(topk=4)], ids=["defaults", "options"])
@pytest.mark.parametrize("seed", range(6))
def test_candidates_that_reach_the_adaptive_iou_threshold_are_positive(assigner, seed, random_scene, assign_by_loops):
    """The threshold is mean + standard deviation; conflicts go to the gt of the higher IoU."""

    def offers(gt):
        closest = []
        for level in range(len(STRIDES)):
            on_level = [anchor for anchor in gt.usable if gt.level[anchor] == level]
            closest += sorted(on_level, key=lambda anchor: math.dist(gt.center[anchor], gt.middle))[: assigner.topk]
        iou = np.array(gt.anchor_iou)
        threshold = iou[closest].mean() + iou[closest].std(ddof=1)
        x0, y0, x1, y1 = gt.box
        for anchor in closest:
            x, y = gt.center[anchor]
            if iou[anchor] >= threshold and min(x - x0, y - y0, x1 - x, y1 - y) > 0.01:
                yield anchor, iou[anchor]

    scene = random_scene(seed)
    assignment = scene.assignment(assigner)
    assert (assignment >= 0).any()
    assert np.array_equal(assignment, assign_by_loops(scene, offers))
