"""Candidates by the position of an anchor's center, and the choice between gts, against plain Python."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lad.assigners import AssignmentContext, Candidates
from lad.assigners.center_candidates import (
    closest_to_gts,
    is_within_and_near,
    resolve_conflicts,
    within_gts,
    within_or_near_gts,
)
from lad.geometry import STRIDES, Anchors, inside_images, make_anchors
from lad.structures import BACKGROUND, IGNORED, Targets

HW = (128, 160)
BOXES = [[10.0, 12, 70, 90], [64, 64, 64, 64], [40, 30, 44, 34], [0, 0, 160, 128], [5, 5, 60, 60]]


@pytest.fixture
def anchors() -> Anchors:
    return make_anchors(HW)


@pytest.fixture
def targets() -> Targets:
    """Four gts of all sizes, one of them without area, on one image, and a gt on a smaller image."""
    image = torch.tensor([0, 0, 0, 0, 1])
    return Targets(torch.tensor(BOXES), torch.zeros(5, dtype=torch.int64), image, torch.tensor([HW, (60, 60)]))


def pairs(candidates: Candidates) -> list[tuple[int, int]]:
    return list(zip(candidates.gt.tolist(), candidates.anchor.tolist(), strict=True))


def is_within(anchors: Anchors, anchor: int, box: list[float]) -> bool:
    x, y = anchors.center[anchor].tolist()
    return box[0] < x < box[2] and box[1] < y < box[3]


def is_near(anchors: Anchors, anchor: int, box: list[float], radius: float) -> bool:
    x, y = anchors.center[anchor].tolist()
    offset = max(abs(x - (box[0] + box[2]) / 2), abs(y - (box[1] + box[3]) / 2))
    return offset < radius * float(anchors.stride[anchor])


def valid_pairs(anchors: Anchors, targets: Targets) -> list[tuple[int, int]]:
    inside = inside_images(anchors, targets.image_hw)
    return [
        (gt, anchor)
        for gt, image in enumerate(targets.image.tolist())
        for anchor in range(len(anchors.boxes))
        if inside[image, anchor]
    ]


def test_anchors_within_a_gt_are_its_candidates(anchors, targets):
    expected = [(gt, anchor) for gt, anchor in valid_pairs(anchors, targets) if is_within(anchors, anchor, BOXES[gt])]
    candidates = within_gts(anchors, targets)
    assert pairs(candidates) == expected
    assert torch.equal(candidates.image, targets.image[candidates.gt])
    assert torch.equal(candidates.level, anchors.level[candidates.anchor])


@pytest.mark.parametrize("radius", [1.0, 2.5])
def test_anchors_near_the_center_of_a_gt_are_candidates_even_outside_its_box(radius, anchors, targets):
    is_candidate = {
        (gt, anchor): (is_within(anchors, anchor, BOXES[gt]), is_near(anchors, anchor, BOXES[gt], radius))
        for gt, anchor in valid_pairs(anchors, targets)
    }
    candidates = within_or_near_gts(anchors, targets, radius)
    assert pairs(candidates) == [pair for pair, conditions in is_candidate.items() if any(conditions)]
    is_both = is_within_and_near(AssignmentContext(candidates, anchors, targets), radius)
    assert is_both.tolist() == [all(is_candidate[pair]) for pair in pairs(candidates)]


@pytest.mark.parametrize("topk", [1, 9, 1000])
def test_the_closest_centers_of_each_level_are_candidates_the_first_of_equals(topk, anchors, targets):
    expected = []
    for gt, box in enumerate(BOXES):
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2

        def distance(anchor: int, x: float = x, y: float = y) -> float:
            return (float(anchors.center[anchor, 0]) - x) ** 2 + (float(anchors.center[anchor, 1]) - y) ** 2

        usable = [anchor for row, anchor in valid_pairs(anchors, targets) if row == gt]
        for level in range(len(STRIDES)):
            on_level = [anchor for anchor in usable if anchors.level[anchor] == level]
            expected += [(gt, anchor) for anchor in sorted(on_level, key=distance)[:topk]]
    assert pairs(closest_to_gts(anchors, targets, topk)) == sorted(expected)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.booleans(), st.integers(0, 2)), max_size=25))
def test_an_anchor_of_several_gts_goes_to_the_selected_one_of_highest_priority_the_first_of_equals(choices):
    anchors = make_anchors(HW)
    image = torch.tensor([0, 0, 0, 0, 1])
    targets = Targets(torch.tensor(BOXES), torch.zeros(5, dtype=torch.int64), image, torch.tensor([HW, (60, 60)]))
    gt, anchor = (torch.tensor([choice[column] for choice in choices], dtype=torch.int64) for column in (0, 1))
    selected = torch.tensor([choice[2] for choice in choices], dtype=torch.bool)
    priority = torch.tensor([choice[3] for choice in choices], dtype=torch.float32)
    candidates = Candidates(image[gt], anchor, gt, anchors.level[anchor])
    gt_index = resolve_conflicts(selected, priority, AssignmentContext(candidates, anchors, targets))
    expected = torch.where(inside_images(anchors, targets.image_hw), BACKGROUND, IGNORED)
    best: dict[tuple[int, int], int] = {}
    for row, place, is_selected, value in choices:
        location = (int(image[row]), place)
        if is_selected and value > best.get(location, -1):
            best[location] = value
            expected[location] = row
    assert torch.equal(gt_index, expected)
