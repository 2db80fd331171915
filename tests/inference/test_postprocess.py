"""Detections equal the published ones; candidates, voting and pixels follow their definitions."""

import pytest
import torch

from lad.geometry import Anchors, decode_deltas, make_anchors
from lad.inference.postprocess import MIN_SCORE, TOP_PER_LEVEL, class_scores, detect, score_candidates, vote_boxes
from lad.structures import Detections, HeadOutputs


@pytest.mark.parametrize(("vote", "kind"), [(False, "nms"), (True, "voted")])
def test_detections_equal_the_published(golden, vote, kind):
    """The boxes are the same per image, class and score. A box without area, which voting turns into NaN in the
    reference, is unchanged here and compared by class and score alone."""
    case = golden("postprocess")
    anchors = make_anchors(tuple(case.padded_hw.tolist()))
    outputs = HeadOutputs(case.cls_logits, case.box_deltas, case.iou_logits)
    scale = case.scale_factor_wh[None].expand(3, 2)
    for image, detections in enumerate(detect(outputs, anchors, case.image_hw, scale=scale, vote=vote)):
        is_image = case[f"{kind}_image"] == image
        boxes, scores, labels = (case[f"{kind}_{name}"][is_image] for name in ("boxes", "scores", "labels"))
        assert len(detections.boxes) == len(boxes)
        assert (detections.scores.diff() <= 0).all()
        for box, score, label in zip(detections.boxes, detections.scores, detections.labels, strict=True):
            same = (labels == label) & ((scores - score).abs() < 1e-5)
            assert same.any()
            errors = (boxes[same] - box).abs().amax(dim=1)
            assert (errors < 1e-2).any() or errors.isnan().any()


def random_outputs(anchors: Anchors, has_iou_branch: bool, dtype: torch.dtype = torch.float32) -> HeadOutputs:
    """Make outputs for two images and five classes with almost half of the scores above the threshold."""
    count = len(anchors.boxes)
    fields = 3 * torch.randn(2, count, 5) - 5, torch.randn(2, count, 4), torch.randn(2, count)
    outputs = HeadOutputs(*(field.to(dtype) for field in fields))
    return outputs if has_iou_branch else outputs._replace(iou_logits=None)


@pytest.mark.parametrize("has_iou_branch", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_candidates_equal_those_of_scoring_every_anchor_and_class(seed, has_iou_branch):
    """P3 has more anchors than are kept. Torch rounds σ slightly differently at the end of an array."""
    torch.manual_seed(seed)
    anchors, hw = make_anchors((256, 320)), torch.tensor([[256, 320], [200, 320]])
    outputs = random_outputs(anchors, has_iou_branch)
    first = [sum(anchors.level_counts[:level]) for level in range(5)]
    score = class_scores(outputs)
    for image, candidates in enumerate(score_candidates(outputs, anchors, hw)):
        on_levels = score[image].amax(dim=1).split(anchors.level_counts)
        best = [level.topk(min(TOP_PER_LEVEL, len(level))).indices for level in on_levels]
        keep = torch.cat([start + index for start, index in zip(first, best, strict=True)])
        boxes = decode_deltas(anchors.boxes[keep], outputs.box_deltas[image, keep], clip_hw=hw[image])
        row, label = (score[image, keep] > MIN_SCORE).nonzero(as_tuple=True)
        expected = Detections(boxes[row], score[image, keep[row], label], label)
        torch.testing.assert_close(in_order(candidates), in_order(expected), rtol=0, atol=1e-6)


def in_order(detections: Detections) -> torch.Tensor:
    """Return boxes, labels and scores as sorted rows [D, 6]."""
    columns = [detections.boxes, detections.labels[:, None], detections.scores[:, None]]
    return torch.cat(columns, dim=1).unique(dim=0)


def test_half_precision_outputs_are_scored_and_decoded_in_float32():
    torch.manual_seed(0)
    anchors, hw = make_anchors((256, 320)), torch.tensor([[256, 320], [200, 320]])
    half = random_outputs(anchors, True, torch.bfloat16)
    full = HeadOutputs(*(field.float() for field in half))
    for actual, expected in zip(score_candidates(half, anchors, hw), score_candidates(full, anchors, hw), strict=True):
        assert torch.equal(actual.boxes, expected.boxes) and torch.equal(actual.scores, expected.scores)


def one_box_outputs(logits: torch.Tensor) -> tuple[HeadOutputs, torch.Tensor]:
    """Make outputs of class `logits` [A, C] in which every anchor predicts itself."""
    num_anchors = len(make_anchors((64, 64)).boxes)
    return HeadOutputs(logits[None], torch.zeros(1, num_anchors, 4), torch.full((1, num_anchors), 20.0)), num_anchors


def test_boxes_are_in_pixels_of_the_original_image_if_its_size_or_scale_is_given():
    anchors = make_anchors((64, 64))
    logits = torch.full((len(anchors.boxes), 1), -20.0)
    logits[0, 0] = 5.0
    outputs, _ = one_box_outputs(logits)
    size = torch.tensor([[64, 48]])
    (resized,) = detect(outputs, anchors, size)
    (by_hw,) = detect(outputs, anchors, size, original_hw=torch.tensor([[128, 192]]))
    (by_scale,) = detect(outputs, anchors, size, scale=torch.tensor([[0.25, 0.5]]))
    assert resized.boxes.tolist() == [[0, 0, 32, 32]]
    assert by_hw.boxes.tolist() == by_scale.boxes.tolist() == [[0, 0, 128, 64]]


def test_an_image_where_nothing_passes_the_threshold_has_no_detections():
    anchors = make_anchors((64, 64))
    outputs, _ = one_box_outputs(torch.full((len(anchors.boxes), 3), -20.0))
    (none,) = detect(outputs, anchors, torch.tensor([[64, 64]]))
    assert none.boxes.shape == (0, 4) and none.scores.shape == (0,) and none.labels.shape == (0,)


def test_voting_takes_the_weighted_mean_of_boxes_of_the_same_class():
    boxes = torch.tensor([[0.0, 0, 100, 100], [0.0, 0, 100, 90], [0.0, 0, 100, 90], [200.0, 200, 300, 300]])
    candidates = Detections(boxes, torch.tensor([0.9, 0.6, 0.6, 0.8]), torch.tensor([0, 0, 1, 0]))
    (voted,) = vote_boxes(candidates, torch.tensor([0]))
    weight = 0.6 * torch.exp(torch.tensor(-((1 - 0.9) ** 2) / 0.025))
    expected = (0.9 * boxes[0] + weight * boxes[1]) / (0.9 + weight)
    torch.testing.assert_close(voted, expected)


def test_voting_does_not_change_a_box_without_area():
    boxes = torch.tensor([[50.0, 50, 50, 80], [40.0, 40, 60, 90]])
    candidates = Detections(boxes, torch.tensor([0.9, 0.5]), torch.tensor([0, 0]))
    assert torch.equal(vote_boxes(candidates, torch.tensor([0])), boxes[:1])


def test_an_image_has_at_most_a_hundred_detections():
    anchors = make_anchors((256, 256))
    logits = torch.linspace(1, 3, len(anchors.boxes))[:, None].expand(-1, 2)
    outputs = HeadOutputs(logits[None], torch.zeros(1, len(logits), 4), torch.full((1, len(logits)), 20.0))
    (detections,) = detect(outputs, anchors, torch.tensor([[256, 256]]), nms_iou=0.99)
    assert len(detections.scores) == 100
