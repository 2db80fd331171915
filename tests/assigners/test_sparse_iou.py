"""The pairs in closed form contain all pairs that matter, by comparison with the IoU of all pairs."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lad.assigners.candidates import match_candidates
from lad.assigners.sparse_iou import dense_iou_pairs, sparse_iou_pairs
from lad.geometry import box_iou, inside_images, make_anchors
from lad.structures import Targets

SIDE = st.integers(1, 320)
MIN_IOU = st.sampled_from([0.1, 0.4, 0.5])
COORDINATE = st.one_of(
    st.floats(-50, 400, width=32),
    st.integers(-8, 50).map(lambda cell: cell * 8.0),  # on the anchors' own grid: ties
    st.sampled_from([0.0, 1e-3, 320.0, 1e4]),
)
CORNERS = st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE)


@st.composite
def random_targets(draw: st.DrawFn) -> Targets:
    """Up to three images with up to six gts: tiny and huge ones, outside the image, without area, equal to others."""
    image_hw = draw(st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=3))
    corners = draw(st.lists(CORNERS, max_size=6))
    if corners and draw(st.booleans()):
        corners.append(draw(st.sampled_from(corners)))
    boxes = torch.tensor(corners, dtype=torch.float32).reshape(-1, 2, 2).sort(dim=1).values.flatten(1)
    image = sorted(draw(st.lists(st.integers(0, len(image_hw) - 1), min_size=len(boxes), max_size=len(boxes))))
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    return Targets(boxes, labels, torch.tensor(image, dtype=torch.int64), torch.tensor(image_hw))


@settings(max_examples=300, deadline=None)
@given(random_targets(), MIN_IOU)
def test_no_pair_that_matters_is_missing_and_none_is_in_the_padding(targets, min_iou):
    anchors = make_anchors((320, 320))
    gt, anchor = sparse_iou_pairs(anchors, targets, min_iou)
    times = torch.zeros(len(targets.boxes), len(anchors.boxes), dtype=torch.int64)
    times.index_put_((gt, anchor), torch.ones_like(gt), accumulate=True)
    inside = inside_images(anchors, targets.image_hw)[targets.image]
    iou = box_iou(targets.boxes[:, None], anchors.boxes).masked_fill(~inside, -1)
    # Below the smallest normal number unequal IoUs round to equal ones: such a box is best at anything or nothing.
    is_best = (iou == iou.amax(dim=1, keepdim=True)) & (iou >= torch.finfo(iou.dtype).tiny)
    assert (times[(iou >= min_iou) | is_best] == 1).all()
    assert (times[~inside] == 0).all() and (times <= 1).all()


@settings(max_examples=300, deadline=None)
@given(random_targets(), MIN_IOU)
def test_candidates_are_the_same_from_the_sparse_pairs_and_from_all_pairs(targets, min_iou):
    anchors = make_anchors((320, 320))
    inside = inside_images(anchors, targets.image_hw)[targets.image]
    highest = (box_iou(targets.boxes[:, None], anchors.boxes) * inside).amax(dim=1)
    assume(not ((highest > 0) & (highest < torch.finfo(highest.dtype).tiny)).any())
    sparse = match_candidates(anchors, targets, min_iou)
    dense = match_candidates(anchors, targets, min_iou, iou_pairs=dense_iou_pairs)
    assert torch.equal(sparse.image, dense.image) and torch.equal(sparse.anchor, dense.anchor)
    assert torch.equal(sparse.gt, dense.gt) and torch.equal(sparse.level, dense.level)


@pytest.mark.parametrize("box", [[100, 100, 110, 110], [50, 50, 400, 350], [0, 0, 1300, 6], [0, 0, 1333, 800]])
def test_a_gt_has_a_few_hundred_pairs_among_22400_anchors(box):
    targets = Targets(torch.tensor([box]).float(), torch.tensor([0]), torch.tensor([0]), torch.tensor([[800, 1333]]))
    gt, _ = sparse_iou_pairs(make_anchors((800, 1344)), targets, min_iou=0.1)
    assert 0 < len(gt) < 1500


@pytest.mark.parametrize("iou_pairs", [sparse_iou_pairs, dense_iou_pairs])
def test_pairs_are_ordered_by_gt(iou_pairs):
    boxes = torch.tensor([[10.0, 10, 60, 60], [50, 30, 120, 100], [0, 0, 5, 5]])
    targets = Targets(boxes, torch.zeros(3, dtype=torch.int64), torch.tensor([0, 0, 1]), torch.tensor([[128, 128]] * 2))
    gt, _ = iou_pairs(make_anchors((128, 128)), targets, 0.1)
    assert (gt.diff() >= 0).all() and set(gt.tolist()) == {0, 1, 2}
