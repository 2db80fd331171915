"""Statistics of an assignment while it is learned."""

import pytest
import torch

from lad.assigners import PAA, AssignmentContext, match_candidates
from lad.assigners.tal import TAL
from lad.distillation.methods import baseline_loss, build_method, lad_loss
from lad.distillation.statistics import assignment_statistics, jaccard
from lad.geometry import make_anchors
from lad.structures import HeadOutputs, Targets


def random_outputs(seed: int) -> HeadOutputs:
    generator = torch.Generator().manual_seed(seed)
    count = len(make_anchors((96, 128)).boxes)
    logits, deltas, iou = (torch.randn(2, count, size, generator=generator) for size in (3, 4, 1))
    return HeadOutputs(logits, 0.3 * deltas, iou[..., 0])


@pytest.fixture
def context(targets: Targets) -> AssignmentContext:
    anchors = make_anchors((96, 128))
    return AssignmentContext(match_candidates(anchors, targets), anchors, targets)


def test_jaccard_counts_positives_of_the_same_gt():
    first, second = torch.tensor([0, 0, 1, -1, -1, -2]), torch.tensor([0, 1, 1, 1, -1, -2])
    assert jaccard(first, second).item() == pytest.approx(2 / 4)
    assert jaccard(first, first).item() == 1
    assert jaccard(torch.full((4,), -1), torch.full((4,), -1)).item() == 0


def test_a_student_agrees_with_its_own_assignment_and_less_with_a_teachers(context):
    student, teacher = random_outputs(0), random_outputs(1)
    own = assignment_statistics(baseline_loss(student, None, context), student, context)
    assert own["agreement"] == 1 and "teacher_chosen" not in own
    assert own["cost_mean"] > 0 and own["cost_std"] > 0
    assert assignment_statistics(lad_loss(student, teacher, context), student, context)["agreement"] < 1


def test_the_students_own_assignment_is_that_of_the_runs_assigner(targets):
    assigner, anchors, student = TAL(topk=5), make_anchors((96, 128)), random_outputs(0)
    context = AssignmentContext(assigner.find_candidates(anchors, targets), anchors, targets)
    loss = baseline_loss(student, None, context, assigner)
    assert assignment_statistics(loss, student, context, assigner)["agreement"] == 1
    assert assignment_statistics(loss, student, context, TAL(topk=1))["agreement"] < 1


@pytest.mark.parametrize(("cost_selection", "share"), [("student", 0), ("teacher", 1)])
def test_co_learning_has_the_share_of_candidates_with_the_teachers_cost(context, cost_selection, share):
    student, teacher = random_outputs(0), random_outputs(1)
    loss = build_method("colad", PAA(), cost_selection=cost_selection)(student, teacher, context)
    statistics = assignment_statistics(loss, student, context)
    assert statistics["teacher_chosen"] == share
    assert (statistics["agreement"] == 1) == (cost_selection == "student")
    mixed = assignment_statistics(build_method("colad", PAA())(student, teacher, context), student, context)
    assert 0 < mixed["teacher_chosen"] < 1


def test_without_candidates_the_statistics_are_finite():
    anchors, empty = make_anchors((96, 128)), torch.zeros(0, dtype=torch.int64)
    targets = Targets(torch.zeros(0, 4), empty, empty, torch.tensor([[96, 128]] * 2))
    context = AssignmentContext(match_candidates(anchors, targets), anchors, targets)
    student, teacher = random_outputs(0), random_outputs(1)
    loss = build_method("colad", PAA())(student, teacher, context)
    statistics = assignment_statistics(loss, student, context)
    assert set(statistics) == {"agreement", "cost_mean", "cost_std", "teacher_chosen"}
    assert all(value == 0 for value in statistics.values())
