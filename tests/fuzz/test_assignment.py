"""The assigners on batches of every shape."""

import pytest
import torch
from hypothesis import assume, given
from strategies import ABSURD, FUZZ, scenes, targets

from lad.assigners import ASSIGNERS, assign_by_predictions, build_assigner
from lad.assigners.candidates import MIN_IOU, match_candidates
from lad.assigners.max_iou import BACKGROUND_IOU, POSITIVE_IOU
from lad.assigners.paa import PAA
from lad.assigners.simota import SimOTA
from lad.assigners.tal import TAL
from lad.data.collate import padded_hw
from lad.geometry import STRIDES, box_iou, inside_images, make_anchors
from lad.structures import IGNORED

MAX_POSITIVES = {"paa": len(STRIDES) * PAA().topk, "tal": TAL().topk, "simota": SimOTA().topk_ious}  # per gt


@pytest.mark.parametrize("name", ASSIGNERS)
@FUZZ
@given(scenes())
def test_candidates_are_distinct_pairs_of_a_gt_and_a_valid_anchor_of_its_image(name, scene):
    candidates = scene.context(build_assigner(name)).candidates
    assert torch.equal(candidates.image, scene.targets.image[candidates.gt])
    assert torch.equal(candidates.level, scene.anchors.level[candidates.anchor])
    assert inside_images(scene.anchors, scene.targets.image_hw)[candidates.image, candidates.anchor].all()
    pairs = torch.stack([candidates.gt, candidates.anchor])
    assert pairs.unique(dim=1).shape == pairs.shape


@pytest.mark.parametrize("min_iou", [MIN_IOU, BACKGROUND_IOU, POSITIVE_IOU])
@FUZZ
@given(targets())
def test_matched_candidates_follow_from_the_iou_of_all_pairs(min_iou, gts):
    """Except if a gt's highest IoU is below the smallest normal number, where unequal IoUs round to equal ones."""
    anchors = make_anchors(padded_hw(gts.image_hw.amax(dim=0).tolist()))
    candidates = match_candidates(anchors, gts, min_iou)
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
    assert torch.equal(candidates.image, image) and torch.equal(candidates.anchor, anchor)
    assert torch.equal(candidates.gt, expected[image, anchor])


@pytest.mark.parametrize("name", ASSIGNERS)
@FUZZ
@given(scenes(ABSURD))
def test_positives_are_candidates_for_any_outputs(name, scene):
    assigner, gts = build_assigner(name), scene.targets
    context = scene.context(assigner)
    candidates, candidate_scores = context.candidates, assigner.score(scene.outputs, context)
    assert not candidate_scores.isnan().any()
    gt_index = assigner.assign(candidate_scores, context)
    assert torch.equal(gt_index, assign_by_predictions(assigner, scene.outputs, scene.anchors, gts))

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
