"""The pairs found in closed form hold all that matters, by comparison with all pairs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lad.assigners.sparse_iou import sparse_iou_pairs
from lad.geometry import box_iou, inside_images, make_anchors
from lad.structures import Targets

SIDE = st.integers(1, 320)
COORDINATE = st.one_of(
    st.floats(-50, 400, width=32),
    st.integers(-8, 50).map(lambda cell: cell * 8.0),  # on the anchors' own grid: ties
    st.sampled_from([0.0, 1e-3, 320.0, 1e4]),
)


@st.composite
def targets_strategy(draw) -> Targets:
    image_hw = draw(st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=3))
    corners = draw(st.lists(st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE), max_size=6))
    boxes = torch.tensor(corners, dtype=torch.float32).reshape(-1, 2, 2).sort(dim=1).values.flatten(1)
    image = sorted(draw(st.lists(st.integers(0, len(image_hw) - 1), min_size=len(boxes), max_size=len(boxes))))
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    return Targets(boxes, labels, torch.tensor(image, dtype=torch.int64), torch.tensor(image_hw))


@settings(max_examples=300, deadline=None)
@given(targets_strategy(), st.sampled_from([0.1, 0.4, 0.5]))
def test_no_pair_that_matters_is_missing_and_none_is_in_the_padding(targets, min_iou):
    anchors = make_anchors((320, 320))
    gt, anchor = sparse_iou_pairs(anchors, targets, min_iou)
    found = torch.zeros(len(targets.boxes), len(anchors.boxes), dtype=torch.int64)
    found.index_put_((gt, anchor), torch.ones_like(gt), accumulate=True)
    inside = inside_images(anchors, targets.image_hw)[targets.image]
    iou = box_iou(targets.boxes[:, None], anchors.boxes).masked_fill(~inside, -1)
    # Below the smallest normal number unequal IoUs round to equal ones: such a box is best at anything or nothing.
    is_best = (iou == iou.amax(dim=1, keepdim=True)) & (iou >= torch.finfo(iou.dtype).tiny)
    assert (found[(iou >= min_iou) | is_best] == 1).all()
    assert (found[~inside] == 0).all() and (found <= 1).all()


@pytest.mark.parametrize("box", [[100, 100, 110, 110], [50, 50, 400, 350], [0, 0, 1300, 6], [0, 0, 1333, 800]])
def test_a_gt_has_a_few_hundred_pairs_among_22400_anchors(box):
    targets = Targets(torch.tensor([box]).float(), torch.tensor([0]), torch.tensor([0]), torch.tensor([[800, 1333]]))
    gt, _ = sparse_iou_pairs(make_anchors((800, 1344)), targets, min_iou=0.1)
    assert 0 < len(gt) < 1500


def test_gts_are_in_order():
    boxes = torch.tensor([[10.0, 10, 60, 60], [50, 30, 120, 100], [0, 0, 5, 5]])
    targets = Targets(boxes, torch.zeros(3, dtype=torch.int64), torch.tensor([0, 0, 1]), torch.tensor([[128, 128]] * 2))
    gt, _ = sparse_iou_pairs(make_anchors((128, 128)), targets, min_iou=0.1)
    assert (gt.diff() >= 0).all() and set(gt.tolist()) == {0, 1, 2}
