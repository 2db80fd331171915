"""Detections of random outputs keep their invariants and equal those of plain loops."""

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
def test_detections_are_limited_sorted_and_inside_their_image(scene, min_score, nms_iou, max_detections, vote, data):
    """Inside up to rounding: a voted box is a mean of boxes, and the mean of equal numbers may differ from them in the
    last digit."""
    hw = scene.targets.image_hw
    sides = st.lists(st.integers(1, 300), min_size=2, max_size=2)
    original = data.draw(st.none() | st.lists(sides, min_size=len(hw), max_size=len(hw)).map(torch.tensor))
    detections = detect(scene.outputs, scene.anchors, hw, original, None, vote, min_score, nms_iou, max_detections)
    assert len(detections) == len(hw)
    for of_image, limit in zip(detections, (hw if original is None else original).flip(1).repeat(1, 2), strict=True):
        boxes, scores, labels = of_image.boxes, of_image.scores, of_image.labels
        assert len(boxes) == len(scores) == len(labels) <= max_detections
        assert (boxes >= 0).all() and (boxes <= limit * (1 + 1e-5)).all()  # and not NaN
        assert (boxes[:, 2:] >= boxes[:, :2] - 1e-3).all()
        assert (scores > min_score).all() and (scores <= 1).all() and (scores.diff() <= 0).all()
        assert ((labels >= 0) & (labels < scene.outputs.cls_logits.shape[2])).all()


@FUZZ
@given(scenes((1.0, 2.0), sides=(33, 64)), st.sampled_from([0.3, 0.6]), st.integers(1, 30), st.booleans())
def test_detections_equal_those_of_plain_loops(scene, nms_iou, max_detections, vote):
    """Scenes with an IoU at the threshold of NMS or voting, or with equal scores, are skipped: rounding decides."""
    hw, outputs = scene.targets.image_hw, scene.outputs
    outputs = outputs._replace(cls_logits=outputs.cls_logits - 3)  # a few dozen boxes per image
    scores = class_scores(outputs)
    boxes = decode_deltas(scene.anchors.boxes, outputs.box_deltas, clip_hw=hw[:, None])
    detections = detect(outputs, scene.anchors, hw, vote=vote, nms_iou=nms_iou, max_detections=max_detections)
    for image, of_image in enumerate(detections):
        anchor, label = (scores[image] > 0.05).nonzero(as_tuple=True)
        expected = by_loops(
            boxes[image, anchor].double().numpy(),
            scores[image, anchor, label].numpy(),
            label.numpy(),
            nms_iou,
            max_detections,
            vote,
        )
        np.testing.assert_allclose(of_image.boxes, expected[0], atol=2e-3)
        np.testing.assert_allclose(of_image.scores, expected[1], rtol=1e-6)
        np.testing.assert_array_equal(of_image.labels, expected[2])


def by_loops(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, nms_iou: float, max_detections: int, vote: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute boxes, scores and labels of an image by loops."""
    same = labels[:, None] == labels
    wh = (np.minimum(boxes[:, None, 2:], boxes[:, 2:]) - np.maximum(boxes[:, None, :2], boxes[:, :2])).clip(0)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    union = area[:, None] + area - wh.prod(axis=2)
    iou = wh.prod(axis=2) / union.clip(1e-6)
    for limit in (nms_iou, VOTE_MIN_IOU):
        assume(not (same & (abs(iou - limit) < 1e-5)).any())
    assume(len(np.unique(scores)) == len(scores))
    kept: list[int] = []
    for index in np.argsort(-scores):
        if not any(same[index, other] and iou[index, other] > nms_iou for other in kept):
            kept.append(int(index))
    kept = kept[:max_detections]
    voted = boxes[kept]
    for row, index in enumerate(kept if vote else []):
        voters = same[index] & (iou[index] > VOTE_MIN_IOU)
        if area[index] > 0 and voters.any():
            weight = scores[voters] * np.exp(-((1 - iou[index, voters]) ** 2) / VOTE_SIGMA)
            voted[row] = weight @ boxes[voters] / weight.sum()
    return voted, scores[kept], labels[kept]
