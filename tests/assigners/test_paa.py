"""PAA's assignment: the published code's labels, and properties that hold for any outputs and gts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import label_map, reference_context, reference_outputs

from lad.assigners.base import assign_by_predictions
from lad.assigners.candidates import Candidates, match_candidates
from lad.assigners.gmm import Mixture, fit_mixture
from lad.assigners.paa import DEFAULT_ASSIGNER, PAA, assign, select_ignored, select_positives, topk_per_level
from lad.geometry import inside_images, make_anchors
from lad.losses import detection_loss
from lad.structures import BACKGROUND, IGNORED, HeadOutputs, Targets

HW = (128, 160)


@st.composite
def batches(draw) -> tuple[HeadOutputs, Targets]:
    """Random outputs for 3 images, and up to 12 gts of any shape, tiny ones among them."""
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


def assignment(outputs: HeadOutputs, targets: Targets, assigner: PAA = DEFAULT_ASSIGNER) -> torch.Tensor:
    return assign_by_predictions(assigner, outputs, make_anchors(HW), targets)


def separate(mixture: Mixture, cost: torch.Tensor, separation: str) -> tuple[list[float], list[float]]:
    """Return the positive and the ignored costs of the only row."""
    count = torch.tensor([cost.shape[1]])
    positive = select_positives(mixture, cost, count, separation)
    ignored = select_ignored(mixture, cost, count, positive, separation)
    return cost[positive].tolist(), cost[ignored].tolist()


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_assignments_are_those_of_the_published_code(golden, network):
    case, teacher_case = golden("paa_assignment"), golden("lad")
    expected = case if network == "student" else teacher_case
    outputs = reference_outputs(case) if network == "student" else reference_outputs(teacher_case, "teacher_")
    context, assigner = reference_context(case), PAA()
    gt_index = assigner.assign(assigner.score(outputs, context), context)
    assert torch.equal(label_map(gt_index, context.targets, int(case.num_classes)), expected.labels)
    assert torch.equal(gt_index == IGNORED, expected.label_weights == 0)
    assert (gt_index >= 0).sum() == expected.num_positive


def test_topk_limits_the_positives_of_a_gt_on_a_level(golden):
    case = golden("paa_assignment")
    context, outputs = reference_context(case), reference_outputs(case)
    for topk in (1, 4):
        assigner = PAA(topk=topk)
        gt_index = assigner.assign(assigner.score(outputs, context), context)
        image, anchor = (gt_index >= 0).nonzero(as_tuple=True)
        group = gt_index[image, anchor] * 5 + context.anchors.level[anchor]
        assert 0 < group.bincount().max() <= topk
        assert torch.equal(gt_index[gt_index >= 0].unique(), context.candidates.gt.unique())


def test_a_gt_with_a_single_candidate_keeps_it():
    anchors = make_anchors(HW)
    targets = Targets(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([0]), torch.tensor([0]), torch.tensor([list(HW)]))
    candidates = Candidates(torch.tensor([0]), torch.tensor([7]), torch.tensor([0]), torch.tensor([0]))
    gt_index = assign(candidates, torch.tensor([3.0]), anchors, targets)
    assert (gt_index >= 0).nonzero().tolist() == [[0, 7]]


def test_pooling_keeps_the_nine_candidates_of_lowest_cost_per_level_in_order():
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
def test_every_gt_with_a_candidate_keeps_a_positive_and_positives_lie_in_its_own_image(batch):
    outputs, targets = batch
    gt_index = assignment(outputs, targets)
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
    expected = assignment(outputs, targets)[order]
    new_row = torch.empty(len(rows), dtype=torch.int64).scatter(0, rows, torch.arange(len(rows)))
    if len(rows):
        expected = torch.where(expected >= 0, new_row[expected.clamp(min=0)], expected)
    assert torch.equal(assignment(outputs_moved, moved), expected)


def test_an_image_without_gts_is_background_and_changes_no_other_image():
    outputs, targets = _fixed_batch()
    with_empty = assignment(outputs, targets)
    assert set(with_empty[2].unique().tolist()) <= {BACKGROUND, IGNORED}
    two = HeadOutputs(outputs.cls_logits[:2], outputs.box_deltas[:2], outputs.iou_logits[:2])
    without = assignment(two, Targets(targets.boxes, targets.labels, targets.image, targets.image_hw[:2]))
    assert torch.equal(with_empty[:2], without)


def test_a_batch_without_gts_has_no_positives():
    outputs, _ = _fixed_batch()
    without_gts = Targets(torch.zeros((0, 4)), *(torch.zeros(0, dtype=torch.int64),) * 2, torch.tensor([list(HW)] * 3))
    assert (assignment(outputs, without_gts) == BACKGROUND).all()


@pytest.mark.parametrize(
    ("separation", "positive", "ignored"),
    [
        ("a", [1, 2, 3, 4], []),
        ("b", [1, 2], [3, 4, 5, 6]),
        ("c", [1, 2], []),
        ("d", [1, 2], [3, 4]),
    ],
)
def test_each_separation_draws_its_boundaries_at_the_peaks_or_where_the_components_are_equally_probable(
    separation, positive, ignored
):
    cost = torch.arange(1.0, 10)[None]
    component = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1, 1]])
    log_density = torch.tensor([[-2.0, -1, -3, -4, -5, -3, -0.5, -1, -2]])  # peaks at costs 2 and 7
    none = torch.zeros(1, 2)
    mixture = Mixture(component, log_density, none, none, none, torch.zeros(1, dtype=torch.int64))
    assert separate(mixture, cost, separation) == (positive, ignored)


@pytest.mark.parametrize(
    ("separation", "positive", "ignored"),
    [
        ("a", [0.75, 0.875, 1, 1.125, 1.25], []),
        ("b", [0.75, 0.875, 1], [1.125, 1.25, 3.75, 3.875]),
        ("c", [0.75, 0.875, 1], []),
        ("d", [0.75, 0.875, 1], [1.125, 1.25]),
    ],
)
def test_of_two_equal_clusters_the_peaks_are_the_middles(separation, positive, ignored):
    cost = torch.tensor([[0.75, 0.875, 1, 1.125, 1.25, 3.75, 3.875, 4, 4.125, 4.25]])
    assert separate(fit_mixture(cost, torch.tensor([10])), cost, separation) == (positive, ignored)


@pytest.mark.parametrize("separation", "abcd")
def test_a_gt_without_a_foreground_keeps_all_samples_and_ignores_none(separation):
    cost, none = torch.tensor([[1.0, 2, 3]]), torch.zeros(1, 2)
    iterations = torch.zeros(1, dtype=torch.int64)
    all_background = Mixture(torch.ones(1, 3, dtype=torch.int64), -cost, none, none, none, iterations)
    assert separate(all_background, cost, separation) == ([1, 2, 3], [])
    alone = torch.tensor([[1.0]])
    assert separate(fit_mixture(alone, torch.tensor([1])), alone, separation) == ([1], [])


def test_without_a_second_component_b_ignores_none():
    cost, none = torch.tensor([[1.0, 2, 3]]), torch.zeros(1, 2)
    iterations = torch.zeros(1, dtype=torch.int64)
    all_foreground = Mixture(torch.zeros(1, 3, dtype=torch.int64), -(cost - 2).abs(), none, none, none, iterations)
    assert separate(all_foreground, cost, "b") == ([1, 2], [])
    assert separate(all_foreground, cost, "d") == ([1, 2], [3])


@settings(max_examples=30, deadline=None)
@given(batches(), st.booleans())
def test_the_separations_agree_on_sure_positives_and_ignore_only_candidates(batch, normalize_cost):
    outputs, targets = batch
    a, b, c, d = (assignment(outputs, targets, PAA(separation=name, normalize_cost=normalize_cost)) for name in "abcd")
    inside = inside_images(make_anchors(HW), targets.image_hw)
    for narrow in (b, c, d):
        assert torch.equal(narrow >= 0, c >= 0)
        assert torch.equal(narrow[c >= 0], a[c >= 0])
        assert (narrow[~inside] == IGNORED).all()
    assert not (inside & ((a == IGNORED) | (c == IGNORED))).any()
    assert torch.equal((d == IGNORED) & inside, (a >= 0) & (c < 0))  # the rest of component 0
    candidates = match_candidates(make_anchors(HW), targets)
    is_candidate = torch.zeros_like(inside)
    is_candidate[candidates.image, candidates.anchor] = True
    assert not (inside & (b == IGNORED) & ~is_candidate).any()


@pytest.mark.parametrize("separation", "bd")
def test_ignored_candidates_have_no_loss(separation):
    outputs, targets = _fixed_batch()
    outputs = HeadOutputs(*(field.requires_grad_() for field in outputs))
    anchors = make_anchors(HW)
    gt_index = assignment(outputs, targets, PAA(separation=separation))
    ignored = (gt_index == IGNORED) & inside_images(anchors, targets.image_hw)
    assert ignored.any()
    sum(detection_loss(outputs, gt_index, anchors, targets, "iou").values()).backward()
    assert not any(field.grad[ignored].any() for field in outputs)
    assert outputs.cls_logits.grad[gt_index == BACKGROUND].any()


def test_normalized_costs_change_the_assignment_but_not_that_every_gt_has_a_positive(golden):
    case = golden("paa_assignment")
    context, outputs = reference_context(case), reference_outputs(case)
    plain, normalized = (assign_by_predictions(paa, outputs, context.anchors, context.targets, context.candidates)
                         for paa in (PAA(), PAA(normalize_cost=True)))  # fmt: skip
    assert not torch.equal(plain, normalized)
    assert set(normalized[normalized >= 0].tolist()) == set(context.candidates.gt.tolist())


def test_normalized_costs_make_the_assignment_independent_of_their_scale():
    _, targets = _fixed_batch()
    anchors = make_anchors(HW)
    candidates = match_candidates(anchors, targets)
    cost = torch.rand(len(candidates.gt), generator=torch.Generator().manual_seed(0))
    for separation in "abcd":
        one, thousand = (
            assign(candidates, factor * cost, anchors, targets, separation=separation, normalize_cost=True)
            for factor in (1, 1024)
        )
        assert torch.equal(one, thousand)


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
