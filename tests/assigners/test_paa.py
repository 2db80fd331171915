"""The assignment as a whole: the reference's labels, and what holds for any outputs and gts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lad.assigners.candidates import Candidates, match_candidates
from lad.assigners.cost import anchor_cost
from lad.assigners.paa import assign, topk_per_level
from lad.geometry import make_anchors
from lad.structures import BACKGROUND, IGNORED, HeadOutputs, Targets

HW = (128, 160)


def outputs_of(case, prefix: str = "") -> HeadOutputs:
    return HeadOutputs(case[f"{prefix}cls_logits"], case[f"{prefix}box_deltas"], case[f"{prefix}iou_logits"])


def labels_of(gt_index: torch.Tensor, targets: Targets, background: int) -> torch.Tensor:
    return torch.where(gt_index >= 0, targets.labels[gt_index.clamp(min=0)], background)


@st.composite
def batches(draw) -> tuple[HeadOutputs, Targets]:
    """Random outputs of 3 images and gts of any shape, tiny and identical ones and none among them."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    num_gts = draw(st.integers(0, 12))
    corner = torch.rand((num_gts, 2), generator=generator) * 120
    sides = torch.rand((num_gts, 2), generator=generator) ** 3 * 100
    image = torch.randint(3, (num_gts,), generator=generator).sort().values
    labels = torch.randint(5, (num_gts,), generator=generator)
    image_hw = torch.tensor([[128, 160], [96, 128], [70, 150]])
    limit = image_hw.flip(1)[image]
    boxes = torch.cat([torch.minimum(corner, limit - 2), torch.minimum(corner + sides + 1, limit)], dim=1)
    num_anchors = len(make_anchors(HW).boxes)
    outputs = HeadOutputs(
        torch.randn((3, num_anchors, 5), generator=generator) * 2,
        torch.randn((3, num_anchors, 4), generator=generator),
        torch.randn((3, num_anchors), generator=generator),
    )
    return outputs, Targets(boxes, labels, image, image_hw)


def run(outputs: HeadOutputs, targets: Targets) -> torch.Tensor:
    anchors = make_anchors(HW)
    candidates = match_candidates(anchors, targets)
    return assign(candidates, anchor_cost(outputs, candidates, anchors, targets), anchors, targets)


@pytest.mark.parametrize("network", ["own", "teacher"])
def test_reference_assignments(golden, network):
    case, teacher = golden("paa_assignment"), golden("lad")
    anchors = make_anchors(tuple(case.padded_hw.tolist()))
    targets = Targets(case.gt_boxes, case.gt_labels, case.gt_image, case.image_hw)
    candidates = match_candidates(anchors, targets)
    outputs, expected = (outputs_of(case), case) if network == "own" else (outputs_of(teacher, "teacher_"), teacher)
    cost = anchor_cost(outputs, candidates, anchors, targets)
    if network == "own":
        torch.testing.assert_close(cost, case.candidate_cost, rtol=1e-4, atol=0)
    gt_index = assign(candidates, cost, anchors, targets)
    assert torch.equal(labels_of(gt_index, targets, int(case.num_classes)), expected.labels)
    assert torch.equal(gt_index == IGNORED, expected.label_weights == 0)
    assert (gt_index >= 0).sum() == expected.num_positive


def test_a_gt_with_a_single_candidate_keeps_it():
    anchors = make_anchors(HW)
    targets = Targets(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([0]), torch.tensor([0]), torch.tensor([list(HW)]))
    one = torch.tensor([7])
    candidates = Candidates(torch.tensor([0]), one, torch.tensor([0]), torch.tensor([0]))
    gt_index = assign(candidates, torch.tensor([3.0]), anchors, targets)
    assert (gt_index >= 0).nonzero().tolist() == [[0, 7]]


def test_pooling_keeps_the_nine_cheapest_of_each_level_in_order():
    gt = torch.tensor([0] * 12 + [1] * 3 + [0] * 2)
    level = torch.tensor([0] * 12 + [2] * 3 + [3] * 2)
    cost = torch.tensor([5.0, 3, 9, 1, 7, 2, 8, 4, 6, 12, 11, 10, 0.5, 0.1, 0.3, 2.5, 20])
    candidates = Candidates(torch.zeros_like(gt), torch.arange(17), gt, level)
    pooled, index, count = topk_per_level(candidates, cost, num_gts=3)
    assert count.tolist() == [11, 3, 0]
    assert pooled[0, :11].tolist() == [1, 2, 2.5, 3, 4, 5, 6, 7, 8, 9, 20]
    assert pooled[1, :3].tolist() == torch.tensor([0.1, 0.3, 0.5]).tolist()
    assert torch.equal(cost[index[0, :11]], pooled[0, :11])
    assert (index[2] == len(cost)).all() and pooled[2].isinf().all()


@settings(max_examples=50, deadline=None)
@given(batches())
def test_every_gt_with_a_candidate_keeps_at_least_one_positive_and_only_of_its_own_image(batch):
    outputs, targets = batch
    gt_index = run(outputs, targets)
    candidates = match_candidates(make_anchors(HW), targets)
    assert set(gt_index[gt_index >= 0].tolist()) == set(candidates.gt.tolist())
    image, _ = (gt_index >= 0).nonzero(as_tuple=True)
    assert torch.equal(targets.image[gt_index[gt_index >= 0]], image)
    assert gt_index.min() >= IGNORED and ((gt_index >= 0).sum(dim=1) <= 45 * targets.image.bincount(minlength=3)).all()


@settings(max_examples=30, deadline=None)
@given(batches(), st.permutations(range(3)))
def test_permuting_the_images_permutes_the_assignment(batch, order):
    outputs, targets = batch
    order = torch.tensor(order)
    rows = torch.cat([(targets.image == image).nonzero().flatten() for image in order])
    new_image = torch.empty(3, dtype=torch.int64).scatter(0, order, torch.arange(3))[targets.image[rows]]
    moved = Targets(targets.boxes[rows], targets.labels[rows], new_image, targets.image_hw[order])
    outputs_moved = HeadOutputs(
        *(field[order] for field in (outputs.cls_logits, outputs.box_deltas, outputs.iou_logits))
    )
    expected = run(outputs, targets)[order]
    new_row = torch.empty(len(rows), dtype=torch.int64).scatter(0, rows, torch.arange(len(rows)))
    if len(rows):
        expected = torch.where(expected >= 0, new_row[expected.clamp(min=0)], expected)
    assert torch.equal(run(outputs_moved, moved), expected)


def test_an_image_without_gts_is_background_and_changes_no_other():
    outputs, targets = _fixed_batch()
    with_empty = run(outputs, targets)
    assert set(with_empty[2].unique().tolist()) <= {BACKGROUND, IGNORED}
    two = HeadOutputs(outputs.cls_logits[:2], outputs.box_deltas[:2], outputs.iou_logits[:2])
    without = run(two, Targets(targets.boxes, targets.labels, targets.image, targets.image_hw[:2]))
    assert torch.equal(with_empty[:2], without)


def test_a_batch_without_gts_has_no_positives():
    outputs, _ = _fixed_batch()
    none = Targets(torch.zeros((0, 4)), *(torch.zeros(0, dtype=torch.int64),) * 2, torch.tensor([list(HW)] * 3))
    assert (run(outputs, none) == BACKGROUND).all()


def _fixed_batch() -> tuple[HeadOutputs, Targets]:
    generator = torch.Generator().manual_seed(3)
    num_anchors = len(make_anchors(HW).boxes)
    outputs = HeadOutputs(
        torch.randn((3, num_anchors, 5), generator=generator),
        torch.randn((3, num_anchors, 4), generator=generator),
        torch.randn((3, num_anchors), generator=generator),
    )
    boxes = torch.tensor([[10.0, 10, 60, 50], [40, 40, 100, 90], [5, 5, 90, 90]])
    targets = Targets(boxes, torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1]), torch.tensor([list(HW)] * 3))
    return outputs, targets
