"""Anchors, deltas and overlaps: equal to the reference, and properties for any boxes."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from lad.geometry import (  # fmt: skip
    STRIDES,
    box_giou_loss,
    box_iou,
    clip_boxes,
    decode_deltas,
    encode_deltas,
    inside_images,
    level_sizes,
    make_anchors,
)


def boxes_strategy(count: int) -> st.SearchStrategy[torch.Tensor]:
    corner, side = st.floats(-50, 300, width=32), st.floats(2, 400, width=32)
    box = st.tuples(corner, corner, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])
    return st.lists(box, min_size=count, max_size=count).map(torch.tensor)


def test_anchors_equal_the_reference(golden):
    case = golden("geometry")
    anchors = make_anchors(tuple(case.image_hw.tolist()))
    torch.testing.assert_close(anchors.boxes, case.anchors, atol=1e-4, rtol=0)
    assert level_sizes(tuple(case.image_hw.tolist())) == [tuple(size) for size in case.level_hw.tolist()]


def test_deltas_equal_the_reference(golden):
    case = golden("geometry")
    torch.testing.assert_close(encode_deltas(case.anchors, case.boxes), case.deltas_of_boxes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(decode_deltas(case.anchors, case.deltas), case.decoded, atol=1e-4, rtol=0)
    clipped = decode_deltas(case.anchors, case.deltas, clip_hw=tuple(case.image_hw.tolist()))
    torch.testing.assert_close(clipped, case.decoded_clipped, atol=1e-4, rtol=0)


def test_anchor_fields_are_consistent():
    anchors = make_anchors((96, 160))
    assert anchors.stride.tolist() == [STRIDES[level] for level in anchors.level.tolist()]
    torch.testing.assert_close((anchors.boxes[:, :2] + anchors.boxes[:, 2:]) / 2, anchors.center)
    torch.testing.assert_close(anchors.boxes[:, 2] - anchors.boxes[:, 0], 8 * anchors.stride)
    assert (anchors.center[:3] == torch.tensor([[0.0, 0], [8, 0], [16, 0]])).all()  # row-major from the corner


@given(boxes_strategy(5))
def test_decoding_inverts_encoding(boxes):
    anchors = make_anchors((64, 64)).boxes[:5]
    torch.testing.assert_close(decode_deltas(anchors, encode_deltas(anchors, boxes)), boxes, atol=1e-2, rtol=1e-4)


def test_absurd_deltas_decode_to_finite_boxes():
    decoded = decode_deltas(torch.tensor([0.0, 0, 64, 64]), torch.tensor([0.0, 0, 1e4, -1e4]))
    assert decoded.isfinite().all()
    torch.testing.assert_close(decoded[2] - decoded[0], torch.tensor(64 * 1000 / 16))


def test_clipping_accepts_a_size_per_image():
    boxes = torch.tensor([[[-5.0, -5, 500, 500]], [[-5.0, -5, 500, 500]]])
    clipped = clip_boxes(boxes, torch.tensor([[100, 200], [300, 50]])[:, None])
    assert clipped.tolist() == [[[0, 0, 200, 100]], [[0, 0, 50, 300]]]


@given(boxes_strategy(4), boxes_strategy(3))
def test_iou_is_symmetric_bounded_and_one_for_equal_boxes(boxes, others):
    iou = box_iou(boxes[:, None], others)
    torch.testing.assert_close(iou, box_iou(others[:, None], boxes).T)
    assert ((iou >= 0) & (iou <= 1 + 1e-5)).all()
    torch.testing.assert_close(box_iou(boxes, boxes), torch.ones(4), atol=1e-4, rtol=0)
    giou_loss = box_giou_loss(boxes[:, None], others)
    assert ((giou_loss >= 1 - iou - 1e-5) & (giou_loss <= 2 + 1e-5)).all()


def test_boxes_without_area_have_no_overlap_and_finite_gradients():
    boxes = torch.tensor([[10.0, 10, 10, 10]], requires_grad=True)
    loss = box_giou_loss(boxes, torch.tensor([[10.0, 10, 10, 10]]))
    loss.sum().backward()
    assert loss.isfinite().all() and boxes.grad.isfinite().all()
    assert box_iou(boxes.detach(), torch.tensor([[0.0, 0, 20, 20]])).item() == 0


def test_boxes_whose_hull_area_overflows_have_the_maximal_loss():
    """The area of a hull of 1e30 pixels a side overflows float32, which gave NaN."""
    boxes = torch.tensor([[1e30, 1e30, 1e30, 1e30], [0.0, 0, 10, 10]], requires_grad=True)
    loss = box_giou_loss(boxes, torch.tensor([[0.0, 0, 10, 10], [-1e30, -1e30, -1e30, -1e30]]))
    loss.sum().backward()
    assert loss.tolist() == [2, 2] and boxes.grad.isfinite().all()


def test_only_anchors_on_the_image_rounded_up_to_32_are_inside():
    anchors = make_anchors((96, 128))
    inside = inside_images(anchors, torch.tensor([[33, 64], [96, 128]]))
    assert inside[1].all()
    on_first_level = inside[0][anchors.level == 0].view(12, 16)
    assert on_first_level[:8, :8].all() and on_first_level.sum() == 64
    # A stride larger than the image still has its first location: ⌈64 / 128⌉ = 1.
    assert inside[0][anchors.level == 4].sum() == 1
