"""Detections of any outputs, and of a few against plain loops."""

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import ABSURD, FUZZ, scenes

from lad.geometry import decode_deltas
from lad.inference.postprocess import VOTE_MIN_IOU, VOTE_SIGMA, class_scores, detect

SCORES = st.sampled_from([0.0, 1e-6, 0.05, 0.5, 0.999])


@FUZZ
@given(scenes(ABSURD), SCORES, st.sampled_from([0.0, 0.5, 0.6, 1.0]), st.integers(1, 100), st.booleans(), st.data())
def test_detections_are_few_sorted_and_in_their_image(scene, min_score, nms_iou, most, vote, data):
    """Up to rounding: a voted box is a mean of boxes, and a mean of equal numbers may differ from them in its last
    digit."""
    hw = scene.targets.image_hw
    sides = st.lists(st.integers(1, 300), min_size=2, max_size=2)
    original = data.draw(st.none() | st.lists(sides, min_size=len(hw), max_size=len(hw)).map(torch.tensor))
    found = detect(scene.outputs, scene.anchors, hw, original, None, vote, min_score, nms_iou, most)
    assert len(found) == len(hw)
    for one, limit in zip(found, (hw if original is None else original).flip(1).repeat(1, 2), strict=True):
        assert len(one.boxes) == len(one.scores) == len(one.labels) <= most
        assert (one.boxes >= 0).all() and (one.boxes <= limit * (1 + 1e-5)).all()  # and not NaN
        assert (one.boxes[:, 2:] >= one.boxes[:, :2] - 1e-3).all()
        assert (one.scores > min_score).all() and (one.scores <= 1).all() and (one.scores.diff() <= 0).all()
        assert ((one.labels >= 0) & (one.labels < scene.outputs.cls_logits.shape[2])).all()


@FUZZ
@given(scenes((1.0, 2.0), sides=(33, 64)), st.sampled_from([0.3, 0.6]), st.integers(1, 30), st.booleans())
def test_detections_are_those_of_plain_loops(scene, nms_iou, most, vote):
    """Where no two boxes overlap by just the limits of NMS and voting, and no two scores are equal: there rounding may
    decide either way."""
    hw, outputs = scene.targets.image_hw, scene.outputs
    outputs = outputs._replace(cls_logits=outputs.cls_logits - 3)  # a few dozen boxes an image
    scores = class_scores(outputs)
    boxes = decode_deltas(scene.anchors.boxes, outputs.box_deltas, clip_hw=hw[:, None])
    found = detect(outputs, scene.anchors, hw, vote=vote, nms_iou=nms_iou, max_detections=most)
    for image, one in enumerate(found):
        anchor, label = (scores[image] > 0.05).nonzero(as_tuple=True)
        expected = by_loops(
            boxes[image, anchor].double().numpy(),
            scores[image, anchor, label].numpy(),
            label.numpy(),
            nms_iou,
            most,
            vote,
        )
        np.testing.assert_allclose(one.boxes, expected[0], atol=2e-3)
        np.testing.assert_allclose(one.scores, expected[1], rtol=1e-6)
        np.testing.assert_array_equal(one.labels, expected[2])


def by_loops(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, nms_iou: float, most: int, vote: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    same = labels[:, None] == labels
    wh = (np.minimum(boxes[:, None, 2:], boxes[:, 2:]) - np.maximum(boxes[:, None, :2], boxes[:, :2])).clip(0)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    union = area[:, None] + area - wh.prod(axis=2)
    iou = wh.prod(axis=2) / union.clip(1e-6)
    for limit in (nms_iou, VOTE_MIN_IOU):
        assume(not (same & (abs(iou - limit) < 1e-5)).any())
    assume(len(np.unique(scores)) == len(scores))
    kept: list[int] = []
    for one in np.argsort(-scores):
        if not any(same[one, other] and iou[one, other] > nms_iou for other in kept):
            kept.append(int(one))
    kept = kept[:most]
    voted = boxes[kept]
    for row, one in enumerate(kept if vote else []):
        voters = same[one] & (iou[one] > VOTE_MIN_IOU)
        if area[one] > 0 and voters.any():
            weight = scores[voters] * np.exp(-((1 - iou[one, voters]) ** 2) / VOTE_SIGMA)
            voted[row] = weight @ boxes[voters] / weight.sum()
    return voted, scores[kept], labels[kept]
