"""Cost selection of co-learning: which network supplies the costs of a gt."""

import numpy as np
import pytest
import torch
from reference import label_map, reference_context, reference_outputs
from sklearn.mixture import GaussianMixture

from lad.assigners import PAA, Candidates, anchor_cost
from lad.distillation.cost_selection import COST_SELECTIONS, choose_cost_fisher, choose_cost_std_mean
from lad.structures import Targets


def test_the_selection_and_the_joint_assignment_are_those_of_the_published_code(golden):
    case, teacher_case, expected = golden("paa_assignment"), golden("lad"), golden("colad_stdmean")
    context = reference_context(case)
    candidates, targets = context.candidates, context.targets
    student, teacher = (
        anchor_cost(outputs, candidates, context.anchors, targets)
        for outputs in (reference_outputs(case), reference_outputs(teacher_case, "teacher_"))
    )
    cost, from_teacher = choose_cost_std_mean(student, teacher, candidates, targets)
    for gt, level, choice in expected.gt_level_teacher.tolist():
        in_group = (candidates.gt == gt) & (candidates.level == level)
        assert set(from_teacher[in_group].int().tolist()) == (set() if choice == -1 else {choice})
    gt_index = PAA().assign(cost[:, None], context)
    assert torch.equal(label_map(gt_index, targets, int(case.num_classes)), expected.labels)
    assert (gt_index >= 0).sum() == expected.num_positive


def candidates_on_one_image(gt: list[int], level: list[int]) -> tuple[Candidates, Targets]:
    gt_of, level_of = torch.tensor(gt), torch.tensor(level)
    count = int(gt_of.max()) + 1
    zeros = torch.zeros(count, dtype=torch.int64)
    targets = Targets(torch.zeros(count, 4), zeros, zeros, torch.tensor([[128, 128]]))
    return Candidates(torch.zeros_like(gt_of), torch.arange(len(gt)), gt_of, level_of), targets


def test_of_a_single_candidate_the_smaller_cost_is_chosen():
    candidates, targets = candidates_on_one_image([0, 1], [0, 0])
    cost, from_teacher = choose_cost_std_mean(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0]), candidates, targets)
    assert from_teacher.tolist() == [False, True] and cost.tolist() == [1, 1]


def test_the_levels_of_a_gt_are_decided_independently():
    candidates, targets = candidates_on_one_image([0, 0, 0, 0], [0, 0, 1, 1])
    student, teacher = torch.tensor([1.0, 9, 4, 5]), torch.tensor([4.0, 5, 1, 9])
    cost, from_teacher = choose_cost_std_mean(student, teacher, candidates, targets)
    assert from_teacher.tolist() == [False, False, True, True]
    assert cost.tolist() == [1, 9, 1, 9]


def test_fisher_compares_mixtures_as_scikit_learn_fits_them():
    generator = np.random.default_rng(0)
    candidates, targets = candidates_on_one_image([0] * 9 + [1] * 9, [0] * 18)
    costs = [np.abs(generator.normal(2, 1, 18)) for _ in range(2)]
    _, from_teacher = choose_cost_fisher(*(torch.from_numpy(cost) for cost in costs), candidates, targets)
    for gt in range(2):
        criteria = []
        for cost in costs:
            x = np.sort(cost[9 * gt : 9 * gt + 9])
            mixture = GaussianMixture(
                2, weights_init=[0.5, 0.5], means_init=[[x[0]], [x[-1]]], precisions_init=[[1.0], [1.0]],
                covariance_type="diag",
            ).fit(x[:, None])  # fmt: skip
            criteria.append(np.ptp(mixture.means_[:, 0]) ** 2 / mixture.covariances_.sum())
        assert (from_teacher[candidates.gt == gt] == (criteria[1] > criteria[0])).all()


@pytest.mark.parametrize("name", COST_SELECTIONS)
def test_a_batch_without_gts_has_an_empty_selection(name):
    empty = torch.zeros(0, dtype=torch.int64)
    candidates = Candidates(empty, empty, empty, empty)
    targets = Targets(torch.zeros(0, 4), empty, empty, torch.tensor([[128, 128]]))
    cost, from_teacher = COST_SELECTIONS[name](torch.zeros(0), torch.zeros(0), candidates, targets)
    assert cost.shape == from_teacher.shape == (0,) and from_teacher.dtype == torch.bool


@pytest.mark.parametrize(("name", "chosen"), [("student", [1.0, 2.0]), ("teacher", [2.0, 1.0])])
def test_a_fixed_selection_takes_one_networks_costs_everywhere(name, chosen):
    candidates, targets = candidates_on_one_image([0, 1], [0, 0])
    cost, from_teacher = COST_SELECTIONS[name](torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0]), candidates, targets)
    assert cost.tolist() == chosen and from_teacher.tolist() == [name == "teacher"] * 2
