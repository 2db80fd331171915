"""What is logged about an assignment while it is learned."""

import pytest
import torch

from lad.assigners.candidates import match_candidates
from lad.distillation.methods import METHODS, find_method
from lad.distillation.statistics import assignment_statistics, jaccard
from lad.geometry import make_anchors
from lad.structures import HeadOutputs


def outputs(seed: int) -> HeadOutputs:
    generator = torch.Generator().manual_seed(seed)
    count = len(make_anchors((96, 128)).boxes)
    logits, deltas, iou = (torch.randn(2, count, size, generator=generator) for size in (3, 4, 1))
    return HeadOutputs(logits, 0.3 * deltas, iou[..., 0])


def test_jaccard_counts_positives_of_the_same_gt():
    first, second = torch.tensor([0, 0, 1, -1, -1, -2]), torch.tensor([0, 1, 1, 1, -1, -2])
    assert jaccard(first, second).item() == pytest.approx(2 / 4)
    assert jaccard(first, first).item() == 1
    assert jaccard(torch.full((4,), -1), torch.full((4,), -1)).item() == 0


def test_a_network_agrees_with_itself_and_less_with_a_teacher(targets):
    anchors = make_anchors((96, 128))
    scene = (match_candidates(anchors, targets), anchors, targets)
    student, teacher = outputs(0), outputs(1)
    own = assignment_statistics(METHODS["baseline"](student, None, *scene), student, *scene)
    assert own["agreement"] == 1 and "teacher_chosen" not in own
    taught = assignment_statistics(METHODS["lad"](student, teacher, *scene), student, *scene)
    assert taught["agreement"] < 1
    assert own["cost_mean"] > 0 and own["cost_std"] > 0


@pytest.mark.parametrize(("cost_selection", "share"), [("student", 0), ("teacher", 1)])
def test_co_learning_says_how_often_each_was_chosen(targets, cost_selection, share):
    anchors = make_anchors((96, 128))
    scene = (match_candidates(anchors, targets), anchors, targets)
    student, teacher = outputs(0), outputs(1)
    learned = find_method("colad", cost_selection=cost_selection)(student, teacher, *scene)
    seen = assignment_statistics(learned, student, *scene)
    assert seen["teacher_chosen"] == share
    assert (seen["agreement"] == 1) == (cost_selection == "student")
    mixed = assignment_statistics(find_method("colad")(student, teacher, *scene), student, *scene)
    assert 0 < mixed["teacher_chosen"] < 1
