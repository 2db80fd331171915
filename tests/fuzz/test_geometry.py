"""Deltas and overlaps of boxes of every size and position."""

import torch
from hypothesis import given
from strategies import ABSURD, FUZZ, KINDS, scenes

from lad.geometry import MAX_LOG_RATIO, box_giou_loss, box_iou, decode_deltas, encode_deltas, inside_images, valid_grid

WITH_AREA = tuple(kind for kind in KINDS if kind not in ("denormal", "one step", "without area"))


@FUZZ
@given(scenes(kinds=WITH_AREA))
def test_decoding_inverts_encoding(scene):
    """Up to rounding, for boxes whose ratio of sides to the anchor's is within the clamp."""
    anchors, boxes = scene.anchors.boxes, scene.targets.boxes[:50, None]
    decoded = decode_deltas(anchors, encode_deltas(anchors, boxes))
    ratio = (boxes[..., 2:] - boxes[..., :2]).log() - (anchors[:, 2:] - anchors[:, :2]).log()
    is_clamped = (ratio.abs() > MAX_LOG_RATIO).any(dim=-1)
    error = (decoded - boxes).abs().amax(dim=-1)
    assert (error[~is_clamped] < 2e-3).all() and decoded.isfinite().all()


@FUZZ
@given(scenes(ABSURD))
def test_any_deltas_decode_to_boxes_with_corners_in_order(scene):
    hw = scene.targets.image_hw[:, None]
    boxes = decode_deltas(scene.anchors.boxes, scene.outputs.box_deltas)
    assert boxes.isfinite().all() and (boxes[..., 2:] >= boxes[..., :2]).all()
    clipped = decode_deltas(scene.anchors.boxes, scene.outputs.box_deltas, clip_hw=hw)
    assert (clipped[..., 2:] >= clipped[..., :2]).all() and (clipped >= 0).all()
    assert (clipped <= hw.flip(-1).repeat(1, 1, 2)).all()


@FUZZ
@given(scenes(ABSURD))
def test_iou_is_a_fraction_and_the_giou_loss_is_bounded(scene):
    """Of predicted boxes with gts, and of gts with each other, in either order."""
    boxes = decode_deltas(scene.anchors.boxes, scene.outputs.box_deltas)[scene.targets.image[:50]]  # [T, A, 4]
    gts = scene.targets.boxes[:50]
    for first, second in ((boxes, gts[:, None]), (gts, gts[:, None])):
        iou, loss = box_iou(first, second), box_giou_loss(first, second)
        assert ((iou >= 0) & (iou <= 1 + 1e-5)).all()
        assert ((loss >= -1e-5) & (loss <= 2 + 1e-5)).all()
        torch.testing.assert_close(box_iou(second, first), iou, rtol=0, atol=1e-6)
        torch.testing.assert_close(box_giou_loss(second, first), loss, rtol=0, atol=1e-5)


@FUZZ
@given(scenes())
def test_valid_anchors_are_a_rectangle_of_each_levels_grid(scene):
    anchors, image_hw = scene.anchors, scene.targets.image_hw
    inside = inside_images(anchors, image_hw)
    for grid, row in zip(valid_grid(anchors, image_hw), inside, strict=True):
        levels = row.split(anchors.level_counts)
        for level, (rows, columns) in enumerate(grid.tolist()):
            on_level = levels[level].view(*anchors.level_hw[level].tolist())
            assert on_level[:rows, :columns].all() and on_level.sum() == rows * columns > 0
