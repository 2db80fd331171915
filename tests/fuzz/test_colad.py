"""The cost selection of co-learning on batches of every shape."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import ABSURD, FUZZ, head_outputs, scenes

from lad.assigners import PAA, AssignmentContext, anchor_cost
from lad.distillation.cost_selection import COST_SELECTIONS
from lad.geometry import STRIDES


@st.composite
def two_networks(draw: st.DrawFn) -> tuple[AssignmentContext, torch.Tensor, torch.Tensor]:
    """Draw a batch and its candidates' costs to each of two networks."""
    scene = draw(scenes(ABSURD))
    other = draw(head_outputs(scene.padded_hw, scene.targets, ABSURD))
    context = scene.context(PAA())
    student, teacher = (
        anchor_cost(outputs, context.candidates, context.anchors, context.targets) for outputs in (scene.outputs, other)
    )
    return context, student, teacher


@pytest.mark.parametrize("cost_selection", COST_SELECTIONS)
@FUZZ
@given(two_networks())
def test_all_costs_of_a_group_come_from_one_network(cost_selection, networks):
    """std_mean chooses for each gt and level, the others for each gt; the chosen costs make an assignment."""
    context, student, teacher = networks
    candidates = context.candidates
    cost, from_teacher = COST_SELECTIONS[cost_selection](student, teacher, candidates, context.targets)
    assert torch.equal(cost, torch.where(from_teacher, teacher, student)) and not cost.isnan().any()
    group = candidates.gt * len(STRIDES) + candidates.level if cost_selection == "std_mean" else candidates.gt
    for decision in (from_teacher, ~from_teacher):
        assert not torch.isin(group[decision], group[~decision]).any()
    gt_index = PAA().assign(cost[:, None], context)
    assert torch.equal(gt_index[gt_index >= 0].unique(), candidates.gt.unique())


@pytest.mark.parametrize("cost_selection", ["std_mean", "fisher"])
@FUZZ
@given(two_networks())
def test_swapping_the_networks_swaps_the_choice_and_ties_go_to_the_student(cost_selection, networks):
    context, student, teacher = networks
    choose = COST_SELECTIONS[cost_selection]
    _, from_second = choose(student, teacher, context.candidates, context.targets)
    _, from_first = choose(teacher, student, context.candidates, context.targets)
    assert not (from_first & from_second).any()
    _, from_teacher = choose(student, student, context.candidates, context.targets)
    assert not from_teacher.any()
