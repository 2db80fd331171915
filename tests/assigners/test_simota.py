"""SimOTA against plain loops over images, gts and anchors."""

import math

import numpy as np
import pytest

from lad.assigners.simota import OUTSIDE_COST, SimOTA


@pytest.mark.parametrize(
    "assigner", [SimOTA(), SimOTA(topk_ious=4, iou_weight=1, center_radius=1.5)], ids=["defaults", "options"]
)
@pytest.mark.parametrize("seed", range(6))
def test_the_k_candidates_of_lowest_cost_are_positive(assigner, seed, random_scene, assign_by_loops):
    """k is the sum of the gt's highest IoUs; conflicts go to the gt of the lower cost."""

    def offers(gt):
        within, near = set(gt.within()), set(gt.near(assigner.center_radius))
        cost = {}
        for anchor in sorted(within | near):
            entropy = -sum(
                math.log(score if label == gt.label else 1 - score) for label, score in enumerate(gt.score[anchor])
            )
            iou_cost = -assigner.iou_weight * math.log(gt.predicted_iou[anchor] + 1e-8)
            cost[anchor] = entropy + iou_cost + OUTSIDE_COST * (anchor not in within & near)
        highest = sorted((gt.predicted_iou[anchor] for anchor in cost), reverse=True)[: assigner.topk_ious]
        for anchor in sorted(cost, key=cost.__getitem__)[: max(1, int(sum(highest)))]:
            yield anchor, -cost[anchor]

    scene = random_scene(seed)
    assignment = scene.assignment(assigner)
    assert (assignment >= 0).any()
    assert np.array_equal(assignment, assign_by_loops(scene, offers))
