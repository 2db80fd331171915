"""The assigners on batches of every shape."""

import pytest
import torch
from hypothesis import assume, given
from strategies import ABSURD, FUZZ, scenes, targets

from lad.assigners.base import ASSIGNERS, own_assignment
from lad.assigners.candidates import MIN_IOU, match_candidates
from lad.assigners.max_iou import BACKGROUND_IOU, POSITIVE_IOU
from lad.assigners.paa import POOL_SIZE
from lad.assigners.simota import MAX_DYNAMIC_POSITIVES
from lad.assigners.tal import ALIGNED
from lad.data.collate import padded_hw
from lad.geometry import box_iou, inside_images, make_anchors
from lad.structures import IGNORED

MAX_POSITIVES = {"paa": POOL_SIZE, "tal": ALIGNED, "simota": MAX_DYNAMIC_POSITIVES}


@pytest.mark.parametrize("name", ASSIGNERS)
@FUZZ
@given(scenes())
def test_candidates_are_pairs_of_a_gt_and_a_valid_anchor_of_its_image(name, scene):
    candidates = ASSIGNERS[name].find_candidates(scene.anchors, scene.targets)
    assert torch.equal(candidates.image, scene.targets.image[candidates.gt])
    assert torch.equal(candidates.level, scene.anchors.level[candidates.anchor])
    assert inside_images(scene.anchors, scene.targets.image_hw)[candidates.image, candidates.anchor].all()
    pairs = torch.stack([candidates.gt, candidates.anchor])
    assert pairs.unique(dim=1).shape == pairs.shape


@pytest.mark.parametrize("min_iou", [MIN_IOU, BACKGROUND_IOU, POSITIVE_IOU])
@FUZZ
@given(targets())
def test_candidates_are_those_of_all_pairs_of_a_gt_and_an_anchor(min_iou, gts):
    """Only not where a gt's best overlap is below the smallest normal number: unequal ones then round to equal ones."""
    anchors = make_anchors(padded_hw(gts.image_hw.amax(dim=0).tolist()))
    found = match_candidates(anchors, gts, min_iou)
    iou = box_iou(gts.boxes[:, None], anchors.boxes)
    iou = iou.masked_fill(~inside_images(anchors, gts.image_hw)[gts.image], -1)  # [T, A]
    highest = iou.amax(dim=1, keepdim=True)
    assume(not ((highest > 0) & (highest < torch.finfo(iou.dtype).tiny)).any())
    expected = torch.full((len(gts.image_hw), len(anchors.boxes)), -1)
    for image in range(len(gts.image_hw)):
        (rows,) = (gts.image == image).nonzero(as_tuple=True)
        if len(rows) == 0:
            continue
        best, first = iou[rows].max(dim=0)
        expected[image] = torch.where(best >= min_iou, rows[first], -1)
        claims = (iou[rows] == highest[rows]) & (highest[rows] > 0)
        last = torch.where(claims, rows[:, None], -1).amax(dim=0)
        expected[image] = torch.where(last >= 0, last, expected[image])
    image, anchor = (expected >= 0).nonzero(as_tuple=True)
    assert torch.equal(found.image, image) and torch.equal(found.anchor, anchor)
    assert torch.equal(found.gt, expected[image, anchor])


@pytest.mark.parametrize("name", ASSIGNERS)
@FUZZ
@given(scenes(ABSURD))
def test_whatever_a_network_says_an_assignment_is_made_of_candidates(name, scene):
    assigner, (_, gts, outputs) = ASSIGNERS[name], scene
    candidates = assigner.find_candidates(scene.anchors, gts)
    candidate_scores = assigner.score(outputs, candidates, scene.anchors, gts)
    assert not candidate_scores.isnan().any()
    gt_index = own_assignment(assigner, outputs, scene.anchors, gts, candidates)
    assert torch.equal(gt_index, own_assignment(assigner, outputs, scene.anchors, gts))

    inside = inside_images(scene.anchors, gts.image_hw)
    assert (gt_index[~inside] == IGNORED).all() and (gt_index >= IGNORED).all() and (gt_index < len(gts.boxes)).all()
    assert name == "fixed_iou" or (gt_index[inside] != IGNORED).all()
    image, anchor = (gt_index >= 0).nonzero(as_tuple=True)
    num_anchors = gt_index.shape[1]
    pairs = candidates.gt * num_anchors + candidates.anchor
    assert torch.isin(gt_index[image, anchor] * num_anchors + anchor, pairs).all()
    positives = torch.bincount(gt_index[image, anchor], minlength=len(gts.boxes))
    assert (positives <= MAX_POSITIVES.get(name, num_anchors)).all()
    if name == "paa":
        assert torch.equal(positives > 0, torch.bincount(candidates.gt, minlength=len(gts.boxes)) > 0)
