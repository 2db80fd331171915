"""What is logged about an assignment while it is learned."""

import pytest
import torch

from lad.assignment import match_candidates
from lad.geometry import make_anchors
from lad.methods import METHODS, find_method
from lad.models import HeadOutputs
from lad.observe import jaccard, observe


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
    own = observe(METHODS["baseline"](student, None, *scene), student, *scene)
    assert own["agreement"] == 1 and "teacher_chosen" not in own
    taught = observe(METHODS["lad"](student, teacher, *scene), student, *scene)
    assert taught["agreement"] < 1
    assert own["cost_mean"] > 0 and own["cost_std"] > 0


@pytest.mark.parametrize(("criterion", "share"), [("student", 0), ("teacher", 1)])
def test_co_learning_says_how_often_each_was_chosen(targets, criterion, share):
    anchors = make_anchors((96, 128))
    scene = (match_candidates(anchors, targets), anchors, targets)
    student, teacher = outputs(0), outputs(1)
    learned = find_method("colad", criterion=criterion)(student, teacher, *scene)
    seen = observe(learned, student, *scene)
    assert seen["teacher_chosen"] == share
    assert (seen["agreement"] == 1) == (criterion == "student")
    mixed = observe(find_method("colad")(student, teacher, *scene), student, *scene)
    assert 0 < mixed["teacher_chosen"] < 1
