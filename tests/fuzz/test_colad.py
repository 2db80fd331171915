"""Whose costs the two networks of co-learning learn from, on batches of every shape."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import ABSURD, FUZZ, Scenario, head_outputs, scenes

from lad.assigners.candidates import match_candidates
from lad.assigners.cost import anchor_cost
from lad.assigners.paa import assign
from lad.distillation.cost_selection import COST_SELECTIONS
from lad.geometry import STRIDES


@st.composite
def two_networks(draw: st.DrawFn) -> tuple[Scenario, torch.Tensor, torch.Tensor]:
    """A scene with its candidates' costs to each of two networks."""
    scene = draw(scenes(ABSURD))
    other = draw(head_outputs(scene.padded_hw, scene.targets, ABSURD))
    candidates = match_candidates(scene.anchors, scene.targets)
    student, teacher = (anchor_cost(one, candidates, scene.anchors, scene.targets) for one in (scene.outputs, other))
    return scene, student, teacher


@pytest.mark.parametrize("cost_selection", COST_SELECTIONS)
@FUZZ
@given(two_networks())
def test_one_networks_costs_are_chosen_for_a_group_as_a_whole(cost_selection, networks):
    """For a gt on a level by std / mean, for a whole gt by Fisher's cost_selection; the chosen costs make an assignment."""
    scene, student, teacher = networks
    candidates = match_candidates(scene.anchors, scene.targets)
    cost, from_teacher = COST_SELECTIONS[cost_selection](student, teacher, candidates, scene.targets)
    assert torch.equal(cost, torch.where(from_teacher, teacher, student)) and not cost.isnan().any()
    group = candidates.gt * len(STRIDES) + candidates.level if cost_selection == "std_mean" else candidates.gt
    for decision in (from_teacher, ~from_teacher):
        assert not torch.isin(group[decision], group[~decision]).any()
    gt_index = assign(candidates, cost, scene.anchors, scene.targets)
    assert torch.equal(gt_index[gt_index >= 0].unique(), candidates.gt.unique())


@pytest.mark.parametrize("cost_selection", ["std_mean", "fisher"])
@FUZZ
@given(two_networks())
def test_who_is_called_the_student_decides_between_equals_alone(cost_selection, networks):
    scene, student, teacher = networks
    candidates = match_candidates(scene.anchors, scene.targets)
    choose = COST_SELECTIONS[cost_selection]
    _, from_second = choose(student, teacher, candidates, scene.targets)
    _, from_first = choose(teacher, student, candidates, scene.targets)
    assert not (from_first & from_second).any()
    _, from_teacher = choose(student, student, candidates, scene.targets)
    assert not from_teacher.any()
