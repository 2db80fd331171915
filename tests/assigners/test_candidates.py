"""PAA's candidates: which anchors could become positives of which gt."""

import torch
from reference import reference_context

from lad.assigners.candidates import Candidates, match_candidates
from lad.geometry import box_iou, make_anchors
from lad.structures import Targets


def targets_of(boxes: list[list[float]], image: list[int], image_hw: list[list[int]]) -> Targets:
    return Targets(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.zeros(len(boxes), dtype=torch.int64),
        torch.tensor(image, dtype=torch.int64),
        torch.tensor(image_hw),
    )


def test_the_candidates_are_those_of_the_published_code(golden):
    case = golden("paa_assignment")
    context = reference_context(case)
    candidates: Candidates = context.candidates
    first_gt = torch.searchsorted(case.gt_image, torch.arange(3))
    assert torch.equal(candidates.image, case.candidate_image)
    assert torch.equal(candidates.anchor, case.candidate_anchor)
    assert torch.equal(candidates.gt - first_gt[candidates.image], case.candidate_gt)
    assert torch.equal(candidates.level, context.anchors.level[candidates.anchor])


def test_a_lower_min_iou_gives_more_candidates_and_keeps_each_gts_best():
    anchors, targets = make_anchors((128, 128)), targets_of([[20, 20, 80, 80], [3, 3, 5, 5]], [0, 0], [[128, 128]])
    lower, default, higher = (match_candidates(anchors, targets, min_iou) for min_iou in (0.05, 0.1, 0.6))
    assert len(lower.gt) > len(default.gt) > len(higher.gt)
    assert set(higher.gt.tolist()) == {0, 1}


def test_every_overlapping_gt_has_its_best_anchor_however_small():
    anchors = make_anchors((128, 128))
    targets = targets_of([[3, 3, 5, 5], [60, 60, 61, 61], [10, 90, 13, 91]], [0, 0, 0], [[128, 128]])
    candidates = match_candidates(anchors, targets)
    for gt, box in enumerate(targets.boxes):
        assert box_iou(anchors.boxes, box).argmax() in candidates.anchor[candidates.gt == gt]


def test_a_gt_that_overlaps_no_anchor_has_no_candidates_and_takes_none_from_others():
    """Of zero width, or outside every valid anchor: the published matcher gives such a gt every zero-IoU anchor."""
    anchors = make_anchors((128, 128))
    alone = targets_of([[20, 20, 80, 80]], [0], [[128, 128]])
    beside = targets_of([[20, 20, 80, 80], [50, 50, 50, 70], [900, 900, 950, 950]], [0, 0, 0], [[128, 128]])
    before, after = match_candidates(anchors, alone), match_candidates(anchors, beside)
    assert torch.equal(before.anchor, after.anchor)
    assert (after.gt == 0).all()


def test_the_later_of_two_equal_gts_wins_its_best_anchors_and_the_earlier_keeps_the_rest():
    anchors = make_anchors((128, 128))
    targets = targets_of([[32, 32, 96, 96], [32, 32, 96, 96]], [0, 0], [[128, 128]])
    candidates = match_candidates(anchors, targets)
    exact = ((anchors.boxes == targets.boxes[0]).all(dim=1)).nonzero().item()
    assert candidates.gt[candidates.anchor == exact].tolist() == [1]
    assert (candidates.gt == 0).sum() > (candidates.gt == 1).sum()


def test_an_image_has_the_same_candidates_alone_and_in_a_batch():
    anchors = make_anchors((128, 128))
    boxes = [[10, 10, 60, 60], [50, 30, 120, 100]]
    together = match_candidates(anchors, targets_of(boxes, [0, 2], [[128, 128]] * 3))
    for image, box in ((0, boxes[0]), (2, boxes[1])):
        alone = match_candidates(anchors, targets_of([box], [0], [[128, 128]]))
        assert torch.equal(together.anchor[together.image == image], alone.anchor)
    assert not (together.image == 1).any()


def test_a_batch_without_gts_has_no_candidates():
    candidates = match_candidates(make_anchors((64, 64)), targets_of([], [], [[64, 64], [64, 64]]))
    assert len(candidates.gt) == 0
