"""Who supplies the costs in co-learning."""

import numpy as np
import torch
from sklearn.mixture import GaussianMixture

from lad.assigners.candidates import Candidates, match_candidates
from lad.assigners.cost import anchor_cost
from lad.assigners.paa import assign
from lad.distillation.cost_selection import choose_cost_fisher, choose_cost_std_mean
from lad.geometry import make_anchors
from lad.structures import HeadOutputs, Targets

NAMES = ("cls_logits", "box_deltas", "iou_logits")


def test_reference_choice_and_joint_assignment(golden):
    case, lad_case, expected = golden("paa_assignment"), golden("lad"), golden("colad_stdmean")
    anchors = make_anchors(tuple(case.padded_hw.tolist()))
    targets = Targets(case.gt_boxes, case.gt_labels, case.gt_image, case.image_hw)
    candidates = match_candidates(anchors, targets)
    student, teacher = (
        anchor_cost(HeadOutputs(*(source[prefix + name] for name in NAMES)), candidates, anchors, targets)
        for source, prefix in ((case, ""), (lad_case, "teacher_"))
    )
    cost, from_teacher = choose_cost_std_mean(student, teacher, candidates, targets)
    for gt, level, chosen in expected.gt_level_teacher.tolist():
        here = (candidates.gt == gt) & (candidates.level == level)
        assert set(from_teacher[here].int().tolist()) == (set() if chosen == -1 else {chosen})
    gt_index = assign(candidates, cost, anchors, targets)
    labels = torch.where(gt_index >= 0, targets.labels[gt_index.clamp(min=0)], int(case.num_classes))
    assert torch.equal(labels, expected.labels)
    assert (gt_index >= 0).sum() == expected.num_positive


def one_image(gt: list[int], level: list[int]) -> tuple[Candidates, Targets]:
    gt_of, level_of = torch.tensor(gt), torch.tensor(level)
    count = int(gt_of.max()) + 1
    zeros = torch.zeros(count, dtype=torch.int64)
    targets = Targets(torch.zeros(count, 4), zeros, zeros, torch.tensor([[128, 128]]))
    return Candidates(torch.zeros_like(gt_of), torch.arange(len(gt)), gt_of, level_of), targets


def test_a_single_candidate_takes_the_smaller_cost():
    candidates, targets = one_image([0, 1], [0, 0])
    cost, from_teacher = choose_cost_std_mean(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0]), candidates, targets)
    assert from_teacher.tolist() == [False, True] and cost.tolist() == [1, 1]


def test_each_level_of_a_gt_is_decided_by_itself():
    candidates, targets = one_image([0, 0, 0, 0], [0, 0, 1, 1])
    student, teacher = torch.tensor([1.0, 9, 4, 5]), torch.tensor([4.0, 5, 1, 9])
    cost, from_teacher = choose_cost_std_mean(student, teacher, candidates, targets)
    assert from_teacher.tolist() == [False, False, True, True]
    assert cost.tolist() == [1, 9, 1, 9]


def test_fisher_compares_the_mixtures_that_scikit_learn_fits():
    generator = np.random.default_rng(0)
    candidates, targets = one_image([0] * 9 + [1] * 9, [0] * 18)
    costs = [np.abs(generator.normal(2, 1, 18)) for _ in range(2)]
    _, from_teacher = choose_cost_fisher(*(torch.from_numpy(cost) for cost in costs), candidates, targets)
    for gt in range(2):
        cost_selection = []
        for cost in costs:
            x = np.sort(cost[9 * gt : 9 * gt + 9])
            mixture = GaussianMixture(
                2, weights_init=[0.5, 0.5], means_init=[[x[0]], [x[-1]]], precisions_init=[[1.0], [1.0]],
                covariance_type="diag",
            ).fit(x[:, None])  # fmt: skip
            cost_selection.append(np.ptp(mixture.means_[:, 0]) ** 2 / mixture.covariances_.sum())
        assert (from_teacher[candidates.gt == gt] == (cost_selection[1] > cost_selection[0])).all()


def test_a_batch_without_gts_chooses_nothing():
    none = torch.zeros(0, dtype=torch.int64)
    candidates = Candidates(none, none, none, none)
    targets = Targets(torch.zeros(0, 4), none, none, torch.tensor([[128, 128]]))
    for choose in (choose_cost_std_mean, choose_cost_fisher):
        cost, from_teacher = choose(torch.zeros(0), torch.zeros(0), candidates, targets)
        assert cost.shape == from_teacher.shape == (0,)
