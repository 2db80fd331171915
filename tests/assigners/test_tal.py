"""TAL against plain loops over images, gts and anchors."""

import numpy as np
import pytest

from lad.assigners.tal import TAL


@pytest.mark.parametrize("assigner", [TAL(), TAL(topk=3, iou_power=2)], ids=["defaults", "options"])
@pytest.mark.parametrize("seed", range(6))
def test_the_topk_best_aligned_anchors_within_a_gt_are_positive(assigner, seed, random_scene, assign_by_loops):
    """Conflicts go to the gt of the higher IoU."""

    def offers(gt):
        def alignment(anchor: int) -> float:
            return gt.probability[anchor][gt.label] * gt.predicted_iou[anchor] ** assigner.iou_power

        for anchor in sorted(gt.within(), key=alignment, reverse=True)[: assigner.topk]:
            if gt.predicted_iou[anchor] > 0:
                yield anchor, gt.predicted_iou[anchor]

    scene = random_scene(seed)
    assignment = scene.assignment(assigner)
    assert (assignment >= 0).any()
    assert np.array_equal(assignment, assign_by_loops(scene, offers))
