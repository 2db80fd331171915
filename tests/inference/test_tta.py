"""Views are undone exactly; soft voting equals the published loop."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lad.geometry import box_iou
from lad.inference.tta import ATSS_TTA_VIEWS, TTAView, concatenate_detections, soft_vote, to_original_image, with_flips
from lad.structures import Detections


def make_detections(*rows: tuple[list[float], float, int]) -> Detections:
    boxes, scores, labels = zip(*rows, strict=True)
    return Detections(torch.tensor(boxes, dtype=torch.float32), torch.tensor(scores), torch.tensor(labels))


def test_mirroring_is_undone():
    mirrored = make_detections(([10, 20, 50, 60], 0.9, 0))
    original = to_original_image(mirrored, TTAView(100, 100, flip=True), (1.0, 1.0), original_width=200)
    assert original.boxes.tolist() == [[150, 20, 190, 60]]
    again = to_original_image(original, TTAView(100, 100, flip=True), (1.0, 1.0), 200)
    assert torch.equal(again.boxes, mirrored.boxes)


def test_a_view_keeps_the_boxes_within_its_range_in_pixels_of_the_view():
    """A box of 40 pixels in the original has 80 in a view of twice the size."""
    original = make_detections(([0, 0, 40, 40], 0.9, 0), ([0, 0, 100, 100], 0.8, 1))
    kept = to_original_image(original, TTAView(800, 1333, min_box_side=96), (2.0, 2.0), 500)
    assert kept.labels.tolist() == [1]
    kept = to_original_image(original, TTAView(800, 1333, max_box_side=96), (2.0, 2.0), 500)
    assert kept.labels.tolist() == [0]
    assert len(to_original_image(original, TTAView(800, 1333), (2.0, 2.0), 500).boxes) == 2


def test_an_empty_range_is_refused():
    with pytest.raises(ValueError, match="view with box sides from 96 to 64 pixels: no box would be kept"):
        TTAView(800, 1333, min_box_side=96, max_box_side=64)


@pytest.mark.parametrize("size", [(0, 100), (100, 0), (-5, 100)])
def test_a_view_without_pixels_is_refused(size):
    with pytest.raises(ValueError, match="both sides must be 1 or more"):
        TTAView(*size)


def test_without_a_threshold_the_best_box_of_a_cluster_is_not_kept_beside_its_mean():
    merged = soft_vote(make_detections(([0, 0, 9, 9], 0.9, 0), ([50, 50, 90, 90], 0.5, 1)), min_score=0)
    assert merged.scores.tolist() == pytest.approx([0.9, 0.5])


def test_the_views_of_atss_are_those_of_its_published_configuration():
    sides = [view.short_side for view in ATSS_TTA_VIEWS if not view.flip]
    assert sides == [800, 400, 500, 600, 640, 700, 900, 1000, 1100, 1200, 1300, 1400, 1800]
    assert len(ATSS_TTA_VIEWS) == 26 and with_flips(ATSS_TTA_VIEWS[::2]) == ATSS_TTA_VIEWS
    by_side = {view.short_side: (view.min_box_side, view.max_box_side, view.long_side) for view in ATSS_TTA_VIEWS}
    assert by_side[400] == (96, math.inf, 1333) and by_side[1800] == (0, 96, 3000)
    assert by_side[700] == (64, math.inf, 1333) and by_side[1200] == (0, 256, 3000)


def test_soft_voting_by_hand():
    """The best of three boxes of a class forms a cluster with the second (IoU 0.8), not with the third nor with another
    class."""
    best, near, far = [0, 0, 100, 100], [0, 0, 100, 80], [200, 200, 300, 300]
    merged = soft_vote(make_detections((near, 0.6, 0), (best, 0.9, 0), (far, 0.5, 0), (near, 0.3, 1)))
    height = (0.9 * 100 + 0.6 * 80) / 1.5
    expected = make_detections(
        ([0, 0, 100, height], 0.9, 0),
        (far, 0.5, 0),
        (near, 0.3, 1),
        (near, 0.6 * (1 - 0.8), 0),  # kept beside the mean with a softened score
    )
    torch.testing.assert_close(merged.boxes, expected.boxes)
    torch.testing.assert_close(merged.scores, expected.scores)
    assert torch.equal(merged.labels, expected.labels)


def test_softened_boxes_below_the_threshold_are_dropped():
    merged = soft_vote(make_detections(([0, 0, 100, 100], 0.9, 0), ([0, 0, 100, 99], 0.8, 0)))
    assert len(merged.boxes) == 1  # .8 · (1 − .99) is less than .05


def published_soft_vote(boxes: torch.Tensor, scores: torch.Tensor) -> list[tuple[list[float], float]]:
    """Run the loop of the published code for one class."""
    order = scores.argsort(descending=True, stable=True)
    boxes, scores, result = boxes[order], scores[order], []
    while len(boxes):
        overlap = box_iou(boxes[:1], boxes)
        overlap[0] = 1.0
        taken = overlap > 0.66
        weight = scores[taken, None]
        result.append((((boxes[taken] * weight).sum(0) / weight.sum()).tolist(), scores[0].item()))
        softened = scores * (1 - overlap)
        result += [
            (boxes[i].tolist(), softened[i].item()) for i in range(len(boxes)) if taken[i] and softened[i] >= 0.05
        ]
        boxes, scores = boxes[~taken], scores[~taken]
    return sorted(result, key=lambda pair: -pair[1])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(0, 60))
def test_soft_voting_equals_the_published_loop(seed, count):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 40
    boxes = torch.cat([corner, corner + 30 + 30 * torch.rand(count, 2, generator=generator)], dim=1)
    scores, labels = torch.rand(count, generator=generator), torch.randint(2, (count,), generator=generator)
    merged = soft_vote(Detections(boxes, scores, labels), max_detections=1000)
    assert (merged.scores.diff() <= 0).all()
    for label in (0, 1):
        expected = published_soft_vote(boxes[labels == label], scores[labels == label])
        is_label = merged.labels == label
        torch.testing.assert_close(
            merged.scores[is_label].tolist(), [score for _, score in expected], atol=1e-6, rtol=0
        )
        torch.testing.assert_close(
            merged.boxes[is_label].flatten().tolist(), [v for box, _ in expected for v in box], atol=1e-3, rtol=0
        )


def test_soft_voting_accepts_boxes_without_area_and_no_boxes():
    flat = make_detections(([5, 5, 5, 9], 0.5, 0))
    assert torch.equal(soft_vote(flat).boxes, flat.boxes)
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert soft_vote(concatenate_detections([nothing, nothing])).boxes.shape == (0, 4)
