"""Test-time augmentation on cases whose answer is known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lad.geometry import box_iou
from lad.inference.tta import ATSS_TTA_VIEWS, TTAView, flipped_too, joined, seen_in_original, soft_vote
from lad.structures import Detections


def detections(*rows: tuple[list[float], float, int]) -> Detections:
    boxes, scores, labels = zip(*rows, strict=True)
    return Detections(torch.tensor(boxes, dtype=torch.float32), torch.tensor(scores), torch.tensor(labels))


def test_a_mirrored_view_is_mirrored_back():
    found = detections(([10, 20, 50, 60], 0.9, 0))
    back = seen_in_original(found, TTAView(100, 100, flip=True), (1.0, 1.0), original_width=200)
    assert back.boxes.tolist() == [[150, 20, 190, 60]]
    assert torch.equal(seen_in_original(back, TTAView(100, 100, flip=True), (1.0, 1.0), 200).boxes, found.boxes)


def test_a_view_keeps_the_boxes_of_its_range_in_its_own_pixels():
    """The same box is 40 pixels in the original, 80 in a view of twice the size."""
    found = detections(([0, 0, 40, 40], 0.9, 0), ([0, 0, 100, 100], 0.8, 1))
    kept = seen_in_original(found, TTAView(800, 1333, smallest=96), (2.0, 2.0), 500)
    assert kept.labels.tolist() == [1]
    kept = seen_in_original(found, TTAView(800, 1333, largest=96), (2.0, 2.0), 500)
    assert kept.labels.tolist() == [0]
    assert len(seen_in_original(found, TTAView(800, 1333), (2.0, 2.0), 500).boxes) == 2


def test_a_range_that_keeps_nothing_is_refused():
    with pytest.raises(ValueError, match="a view from 96 to 64 pixels would keep no box"):
        TTAView(800, 1333, smallest=96, largest=64)


@pytest.mark.parametrize("size", [(0, 100), (100, 0), (-5, 100)])
def test_a_view_without_pixels_is_refused(size):
    with pytest.raises(ValueError, match="would show nothing"):
        TTAView(*size)


def test_without_a_threshold_voted_boxes_are_not_repeated():
    merged = soft_vote(detections(([0, 0, 9, 9], 0.9, 0), ([50, 50, 90, 90], 0.5, 1)), min_score=0)
    assert merged.scores.tolist() == pytest.approx([0.9, 0.5])


def test_the_strongest_views_are_those_of_the_published_configuration():
    sides = [view.short_side for view in ATSS_TTA_VIEWS if not view.flip]
    assert sides == [800, 400, 500, 600, 640, 700, 900, 1000, 1100, 1200, 1300, 1400, 1800]
    assert len(ATSS_TTA_VIEWS) == 26 and flipped_too(ATSS_TTA_VIEWS[::2]) == ATSS_TTA_VIEWS
    by_side = {view.short_side: (view.smallest, view.largest, view.long_side) for view in ATSS_TTA_VIEWS}
    assert by_side[400] == (96, math.inf, 1333) and by_side[1800] == (0, 96, 3000)
    assert by_side[700] == (64, math.inf, 1333) and by_side[1200] == (0, 256, 3000)


def test_soft_voting_by_hand():
    """Three boxes of one class: the best gathers the second (IoU .8), not the third; the other class stays out."""
    best, near, far = [0, 0, 100, 100], [0, 0, 100, 80], [200, 200, 300, 300]
    merged = soft_vote(detections((near, 0.6, 0), (best, 0.9, 0), (far, 0.5, 0), (near, 0.3, 1)))
    height = (0.9 * 100 + 0.6 * 80) / 1.5
    expected = detections(
        ([0, 0, 100, height], 0.9, 0),
        (far, 0.5, 0),
        (near, 0.3, 1),
        (near, 0.6 * (1 - 0.8), 0),  # what was gathered stays, softened
    )
    torch.testing.assert_close(merged.boxes, expected.boxes)
    torch.testing.assert_close(merged.scores, expected.scores)
    assert torch.equal(merged.labels, expected.labels)


def test_softened_boxes_below_the_threshold_go():
    merged = soft_vote(detections(([0, 0, 100, 100], 0.9, 0), ([0, 0, 100, 99], 0.8, 0)))
    assert len(merged.boxes) == 1  # .8 · (1 − .99) is less than .05


def published_soft_vote(boxes: torch.Tensor, scores: torch.Tensor) -> list[tuple[list[float], float]]:
    """The loop of the published code, for one class."""
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
def test_soft_voting_is_the_published_loop(seed, count):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 40
    boxes = torch.cat([corner, corner + 30 + 30 * torch.rand(count, 2, generator=generator)], dim=1)
    scores, labels = torch.rand(count, generator=generator), torch.randint(2, (count,), generator=generator)
    merged = soft_vote(Detections(boxes, scores, labels), max_detections=1000)
    assert (merged.scores.diff() <= 0).all()
    for label in (0, 1):
        expected = published_soft_vote(boxes[labels == label], scores[labels == label])
        mine = merged.labels == label
        torch.testing.assert_close(merged.scores[mine].tolist(), [score for _, score in expected], atol=1e-6, rtol=0)
        torch.testing.assert_close(
            merged.boxes[mine].flatten().tolist(), [v for box, _ in expected for v in box], atol=1e-3, rtol=0
        )


def test_boxes_without_area_and_no_boxes_at_all_pass_through():
    flat = detections(([5, 5, 5, 9], 0.5, 0))
    assert torch.equal(soft_vote(flat).boxes, flat.boxes)
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert soft_vote(joined([nothing, nothing])).boxes.shape == (0, 4)
