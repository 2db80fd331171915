"""A training step: losses by every method, assigner and option, and the update of the weights."""

import copy
from collections.abc import Iterator
from typing import ClassVar

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from pydantic import Field
from pydantic.dataclasses import dataclass

from lad.assigners import ASSIGNERS, Assigner, AssignmentContext, build_assigner, register_assigner
from lad.assigners.center_candidates import resolve_conflicts, within_gts
from lad.assigners.cost import predicted_iou
from lad.config.experiment import make_parameters
from lad.distillation.assignment_cache import AssignmentCache
from lad.distillation.methods import METHODS, MethodLoss, build_method, lad_loss, register_method
from lad.distillation.terms import TERMS
from lad.geometry import make_anchors
from lad.models.student_teacher import StudentTeacherPair
from lad.structures import Batch, Targets
from lad.training.optimizer import build_optimizer
from lad.training.step import (
    StepResult,
    accumulate_gradients,
    mean_terms,
    merge_outputs,
    optimizer_step,
    training_step,
)
from lad.utils.options import OPTIONS

HW = (96, 128)


def context_of(batch: Batch, assigner: Assigner) -> AssignmentContext:
    anchors = make_anchors(HW)
    return AssignmentContext(assigner.find_candidates(anchors, batch.targets), anchors, batch.targets)


def backward_and_step(parameters, model, optimizer, loss, fabric):
    fabric.backward(loss)
    return optimizer_step(parameters, optimizer, loss, fabric)


@pytest.mark.parametrize("method", METHODS)
def test_the_losses_of_a_step_are_the_methods(method, batch, fabric, make_detectors):
    student, teacher = make_detectors()
    assigner = build_assigner("paa")
    outputs = (student(batch.images), teacher(batch.images))
    expected = build_method(method, assigner)(*outputs, context_of(batch, assigner))
    entry = METHODS[method]
    model = fabric.setup_module(StudentTeacherPair(student, teacher) if entry.trains_teacher else student)
    frozen_teacher = teacher if entry.needs_teacher and not entry.trains_teacher else None
    result = training_step(make_parameters({"method": method}), model, batch, fabric, frozen_teacher)
    assert result.statistics is None and torch.equal(result.loss.gt_index, expected.gt_index)
    assert set(result.outputs) == ({"student", "teacher"} if entry.needs_teacher else {"student"})
    assert result.loss.terms.keys() == expected.terms.keys()
    for name, term in expected.terms.items():
        torch.testing.assert_close(result.loss.terms[name], term, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(result.total(), sum(expected.terms.values()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("assigner", ASSIGNERS)
def test_a_step_uses_the_assigner_of_the_parameters(assigner, batch, fabric, make_detectors):
    student, _ = make_detectors()
    rule = build_assigner(assigner)
    expected = build_method("baseline", rule)(student(batch.images), None, context_of(batch, rule))
    parameters = make_parameters({"method": "baseline", "assigner": assigner})
    result = training_step(parameters, fabric.setup_module(student), batch, fabric, with_statistics=True)
    assert torch.equal(result.loss.gt_index, expected.gt_index) and (result.loss.gt_index >= 0).any()
    assert result.statistics["agreement"] == 1


def test_assigner_options_change_the_hash_and_the_assignment(batch, fabric, make_detectors):
    student, _ = make_detectors()
    model = fabric.setup_module(student)
    default, wider = (
        make_parameters({"method": "baseline", **options}) for options in ({}, {"assigner_options": {"topk": 13}})
    )
    assert default.hash != wider.hash
    before, after = (training_step(parameters, model, batch, fabric).loss.gt_index for parameters in (default, wider))
    assert not torch.equal(before, after)
    assigner = build_assigner("paa", {"topk": 13})
    expected = build_method("baseline", assigner)(student(batch.images), None, context_of(batch, assigner))
    assert torch.equal(after, expected.gt_index)


def test_method_options_change_the_hash_and_the_loss(batch, fabric, make_detectors):
    student, teacher = make_detectors()
    model = fabric.setup_module(student)
    default, heavier = (
        make_parameters({"method": "solad", **options}) for options in ({}, {"method_options": {"cls_weight": 5}})
    )
    assert default.hash != heavier.hash
    before, after = (
        training_step(parameters, model, batch, fabric, teacher).loss.terms for parameters in (default, heavier)
    )
    torch.testing.assert_close(after["soft_cls"], before["soft_cls"] * 5 / 2)
    assert all(torch.equal(after[name], before[name]) for name in before if name != "soft_cls")


@pytest.mark.parametrize("method", ["baseline", "lad"])
@pytest.mark.parametrize("term", TERMS)
def test_a_term_adds_its_losses_and_changes_nothing_else(term, method, batch, fabric, make_detectors):
    student, teacher = make_detectors()
    teacher.requires_grad_(False)
    model, taught = fabric.setup_module(student), {} if method == "baseline" else {"teacher": "r18"}
    plain = training_step(make_parameters({"method": method, **taught}), model, batch, fabric, teacher)
    with_term = make_parameters({"method": method, "teacher": "r18", "distill": [term]})
    result = training_step(with_term, model, batch, fabric, teacher, with_statistics=True)
    terms, expected = result.loss.terms, plain.loss.terms
    added = terms.keys() - expected.keys()
    assert added and all(terms[name] > 0 for name in added) and torch.equal(result.loss.gt_index, plain.loss.gt_index)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    fabric.backward(sum(terms[name] for name in added))
    assert any(weight.grad is not None and weight.grad.any() for weight in student.backbone.parameters())
    assert all(weight.grad is None for weight in teacher.parameters())


def test_terms_in_parts_of_a_batch_are_the_mean_over_the_parts(batch, fabric, make_detectors):
    student, teacher = make_detectors()
    model = fabric.setup_module(student)
    parameters = make_parameters({"method": "lad", "teacher": "r18", "distill": ["bckd"], "accumulate": 2})
    parts = accumulate_gradients(parameters, model, batch, fabric, teacher)
    alone = [training_step(parameters, model, part, fabric, teacher).loss.terms for part in batch.split(2)]
    expected = torch.stack([terms["bckd_cls"] for terms in alone]).mean()
    torch.testing.assert_close(mean_terms(parts)["bckd_cls"], expected)


def test_the_scores_of_several_teachers_are_averaged_per_candidate(batch, fabric, make_detectors):
    student, teacher = make_detectors()
    model, assigner = fabric.setup_module(student), build_assigner("paa")
    parameters = make_parameters({"method": "lad", "teacher": "r18", "other_teachers": ["r18"]})
    both = training_step(parameters, model, batch, fabric, teacher, other_teachers=[student]).loss
    context, outputs = context_of(batch, assigner), (teacher(batch.images), student(batch.images))
    costs = torch.stack([assigner.score(network, context)[:, 0] for network in outputs])
    torch.testing.assert_close(both.cost, costs.mean(dim=0), rtol=1e-4, atol=1e-5)
    twice = training_step(parameters, model, batch, fabric, teacher, other_teachers=[teacher]).loss
    once = training_step(make_parameters({"method": "lad", "teacher": "r18"}), model, batch, fabric, teacher).loss
    assert torch.equal(twice.gt_index, once.gt_index)


def test_in_co_learning_other_teachers_support_the_second_network(batch, fabric, make_detectors):
    student, teacher = make_detectors()
    model = fabric.setup_module(StudentTeacherPair(student, teacher))
    given = {"method": "colad", "teacher": "r18", "cost_selection": "teacher", "other_teachers": ["r18"]}
    loss = training_step(make_parameters(given), model, batch, fabric, other_teachers=[student]).loss
    swapped = training_step(
        make_parameters(given), fabric.setup_module(StudentTeacherPair(teacher, student)), batch, fabric,
        other_teachers=[teacher],
    ).loss  # fmt: skip
    torch.testing.assert_close(loss.cost, swapped.cost)  # the mean of the same two networks


def test_once_the_student_assigns_for_itself_a_step_of_lad_is_one_of_the_baseline(batch, fabric, make_detectors):
    student, teacher = make_detectors()
    model = fabric.setup_module(student)
    parameters = make_parameters({"method": "lad", "teacher": "r18", "epochs": 4, "teach_until": 0.5})
    assert [parameters.in_epoch(epoch).method for epoch in range(4)] == ["lad", "lad", "baseline", "baseline"]
    later = training_step(parameters.in_epoch(2), model, batch, fabric, teacher)
    expected = training_step(make_parameters({"method": "baseline"}), model, batch, fabric)
    assert later.loss.terms == expected.loss.terms and "teacher" not in later.outputs


def test_a_cached_assignment_gives_the_same_losses_without_costs(batch, fabric, tmp_path, make_detectors):
    student, teacher = make_detectors()
    model, parameters = fabric.setup_module(student), make_parameters({"method": "lad"})
    uncached = training_step(parameters, model, batch, fabric, teacher, with_statistics=True)
    assert {"teacher", "student"} == set(uncached.outputs) and "cost_mean" in uncached.statistics
    cache = AssignmentCache(tmp_path, {})
    for _ in range(2):
        cached = training_step(parameters, model, batch, fabric, teacher, cache, with_statistics=True)
        assert all(torch.equal(cached.loss.terms[name], term) for name, term in uncached.loss.terms.items())
        assert cached.statistics["agreement"] == uncached.statistics["agreement"]
        assert "cost_mean" not in cached.statistics and set(cached.outputs) == {"student"}
    teacher.forward = pytest.fail  # the teacher does not run a second time
    training_step(parameters, model, batch, fabric, teacher, cache)


@pytest.fixture
def largest_overlap() -> Iterator[str]:
    """The name of an assigner that is registered for one test."""
    name = "largest_overlap"

    @register_assigner(name)
    @dataclass(frozen=True, config=OPTIONS)
    class LargestOverlap(Assigner):
        title: ClassVar[str] = "largest overlap"
        min_overlap: float = Field(default=0.0, ge=0, lt=1)

        def find_candidates(self, anchors, targets):
            return within_gts(anchors, targets)

        def score(self, outputs, context):
            return -predicted_iou(outputs, context.candidates, context.anchors, context.targets)[:, None]

        def assign(self, candidate_scores, context):
            overlap = -candidate_scores[:, 0]
            return resolve_conflicts(overlap > self.min_overlap, overlap, context)

    yield name
    del ASSIGNERS[name]


@pytest.mark.parametrize("method", ["baseline", "lad"])
def test_a_registered_assigner_trains_with_its_options(method, largest_overlap, batch, fabric, make_detectors):
    student, teacher = make_detectors()
    given = {"method": method, "assigner": largest_overlap, "optimizer": "sgd"}
    with pytest.raises(ValueError, match="'min_overlapp' is unknown for assigner 'largest_overlap'; did you mean"):
        make_parameters({**given, "assigner_options": {"min_overlapp": 0.5}})
    model, optimizer = fabric.setup(student, build_optimizer(make_parameters(given), list(student.parameters())))
    positives = []
    for min_overlap in (0.0, 0.3):
        parameters = make_parameters({**given, "assigner_options": {"min_overlap": min_overlap}})
        frozen_teacher = teacher if method == "lad" else None
        result = training_step(parameters, model, batch, fabric, frozen_teacher, with_statistics=True)
        norm, _ = backward_and_step(parameters, model, optimizer, result.total(), fabric)
        positives.append(int((result.loss.gt_index >= 0).sum()))
        assert norm > 0 and result.statistics["agreement"] >= 0
    assert positives[0] > positives[1] > 0


@pytest.fixture
def half_lad() -> Iterator[str]:
    """The name of a method that is registered for one test."""
    name = "half_lad"

    @dataclass(frozen=True, config=OPTIONS)
    class HalfOptions:
        factor: float = Field(default=0.5, ge=0, le=1)

    @register_method(name, "half LAD", options=HalfOptions, needs_teacher=True, learns_assignment=True)
    def half_loss(student, teacher, context, assigner, options):
        loss = lad_loss(student, teacher, context, assigner)
        return MethodLoss({key: options.factor * term for key, term in loss.terms.items()}, loss.gt_index, loss.cost)

    yield name
    del METHODS[name]


def test_a_registered_method_trains_with_its_options(half_lad, batch, fabric, make_detectors):
    student, teacher = make_detectors()
    model = fabric.setup_module(student)
    full = training_step(make_parameters({"method": "lad"}), model, batch, fabric, teacher)
    default, quarter = (
        make_parameters({"method": half_lad, **options}) for options in ({}, {"method_options": {"factor": 0.25}})
    )
    assert default.teacher is not None and default.method_options == {"factor": 0.5} and default.hash != quarter.hash
    for parameters, factor in ((default, 0.5), (quarter, 0.25)):
        result = training_step(parameters, model, batch, fabric, teacher, with_statistics=True)
        torch.testing.assert_close(result.total(), factor * full.total())
    with pytest.raises(ValueError, match=r"^assigner 'atss' does not use predictions"):
        make_parameters({"method": half_lad, "assigner": "atss"})


@pytest.mark.parametrize("clip_grad", [0, 0.5])
def test_the_gradient_is_clipped_to_clip_grad_and_its_norm_before_clipping_is_returned(clip_grad, fabric):
    layer = torch.nn.Linear(3, 1, bias=False)
    before = copy.deepcopy(layer.weight)
    parameters = make_parameters(
        {"clip_grad": clip_grad, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0, "method": "baseline"}
    )
    model, optimizer = fabric.setup(layer, build_optimizer(parameters, list(layer.parameters())))
    loss = model(torch.tensor([[3.0, 4.0, 0.0]])).sum()
    norm, overflowed = backward_and_step(parameters, model, optimizer, loss, fabric)
    assert norm == pytest.approx(5) and not overflowed
    distance = (before - layer.weight).norm().item()
    assert distance == pytest.approx(0.1 * (clip_grad or 5), rel=1e-4)


def half_precision(scale: float) -> Fabric:
    """Return a fabric with the gradient scaler of half precision, which also runs on the CPU."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler))


def update(fabric: Fabric, factor: float):
    """Take a step on the loss weights · factor; return the weights before and after, the norm and the overflow."""
    layer = torch.nn.Linear(2, 1, bias=False)
    parameters = make_parameters({"method": "baseline", "lr": 0.1, "optimizer": "sgd"})
    model, optimizer = fabric.setup(layer, torch.optim.SGD(layer.parameters(), lr=0.1))
    before = layer.weight.detach().clone()
    norm, overflowed = backward_and_step(parameters, model, optimizer, (layer.weight * factor).sum(), fabric)
    return before, layer.weight.detach(), norm, overflowed


def test_after_an_overflow_of_half_precision_the_update_is_skipped_and_the_scale_lowered():
    fabric = half_precision(scale=2.0**120)
    before, after, norm, overflowed = update(fabric, factor=1e6)
    assert overflowed and norm == 0 and torch.equal(before, after)
    assert fabric.strategy.precision.state_dict()["scale"] == 2.0**119


def test_without_an_overflow_half_precision_updates_the_weights():
    before, after, norm, overflowed = update(half_precision(scale=1024.0), factor=2.0)
    assert not overflowed and norm == pytest.approx(8**0.5) and not torch.equal(before, after)


@pytest.mark.parametrize(
    ("make_fabric", "loss_of", "message"),
    [
        (lambda: Fabric(accelerator="cpu", devices=1), lambda weight: (weight * torch.nan).sum(), "loss"),
        (lambda: Fabric(accelerator="cpu", devices=1), lambda weight: (weight - 1).sqrt().sum(), "gradient"),
        (lambda: half_precision(scale=1024.0), lambda weight: (weight * torch.inf).sum(), "loss"),
        (lambda: half_precision(scale=2.0**-11), lambda weight: (weight - 1).sqrt().sum(), "gradient"),
    ],
    ids=["loss", "gradient", "loss in half precision", "gradient in half precision"],
)
def test_a_loss_or_gradient_that_is_not_finite_raises_and_leaves_the_weights(make_fabric, loss_of, message):
    """The derivative of a square root is infinite at 0."""
    fabric, weights = make_fabric(), torch.nn.ParameterList([torch.ones(2)])
    model, optimizer = fabric.setup(weights, torch.optim.SGD(weights.parameters(), lr=0.1))
    parameters = make_parameters({"method": "baseline", "clip_grad": 0})
    with pytest.raises(FloatingPointError, match=f"^the {message} is not finite$"):
        backward_and_step(parameters, model, optimizer, loss_of(weights[0]), fabric)
    assert weights[0].tolist() == [1, 1]


def gradients(parameters, batch, fabric, make_detectors) -> tuple[dict[str, torch.Tensor], list[StepResult]]:
    """Return the gradients of a batch, and the results of its parts."""
    student, teacher = make_detectors()
    entry = METHODS[parameters.method]
    network = StudentTeacherPair(student, teacher) if entry.trains_teacher else student
    frozen_teacher = teacher.requires_grad_(False) if entry.needs_teacher and not entry.trains_teacher else None
    model = fabric.setup_module(network)
    results = accumulate_gradients(parameters, model, batch, fabric, frozen_teacher)
    return {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}, results


def twice(batch: Batch) -> Batch:
    """Return a batch of its images and, behind them, the same images again: both halves have the same counts."""
    targets = batch.targets
    doubled = Targets(
        targets.boxes.repeat(2, 1),
        targets.labels.repeat(2),
        torch.cat([targets.image, targets.image + len(batch.image_id)]),
        targets.image_hw.repeat(2, 1),
    )
    ids, hw = batch.image_id.repeat(2), batch.original_hw.repeat(2, 1)
    return Batch(batch.images.repeat(2, 1, 1, 1), doubled, ids, hw, batch.is_flipped.repeat(2))


@pytest.mark.parametrize("method", METHODS)
def test_accumulated_gradients_are_those_of_the_whole_batch_where_the_counts_of_its_parts_agree(
    method, batch, fabric, make_detectors
):
    """The networks are in eval mode: else BatchNorm's statistics would depend on the images of a part."""
    parameters = {"method": method, "batch_size": 4}
    whole, results = gradients(make_parameters(parameters), twice(batch), fabric, make_detectors)
    parts, of_parts = gradients(make_parameters({**parameters, "accumulate": 2}), twice(batch), fabric, make_detectors)
    assert (len(results), len(of_parts)) == (1, 2) and whole.keys() == parts.keys()
    size = torch.stack([gradient.norm() for gradient in whole.values()]).norm()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=0, atol=1e-5 * float(size), msg=name)
    for name, term in mean_terms(results).items():
        torch.testing.assert_close(mean_terms(of_parts)[name], term)
    merged, outputs = merge_outputs(of_parts), merge_outputs(results)
    assert merged.keys() == outputs.keys()
    torch.testing.assert_close(merged["student"].cls_logits, outputs["student"].cls_logits, rtol=1e-4, atol=1e-5)


def test_accumulated_gradients_are_the_mean_of_those_of_the_parts(batch, fabric, make_detectors):
    one, two = make_parameters({"method": "lad", "batch_size": 2}), {"method": "lad", "batch_size": 2, "accumulate": 2}
    accumulated, results = gradients(make_parameters(two), batch, fabric, make_detectors)
    of_images = [gradients(one, batch.take([row]), fabric, make_detectors)[0] for row in range(2)]
    for name, gradient in accumulated.items():
        torch.testing.assert_close(gradient, (of_images[0][name] + of_images[1][name]) / 2, rtol=1e-4, atol=1e-6)
    assert not any(term.requires_grad for result in results for term in result.loss.terms.values())


def test_only_the_first_part_computes_statistics(batch, fabric, make_detectors):
    student, teacher = make_detectors()
    parameters = make_parameters({"method": "lad", "batch_size": 2, "accumulate": 2})
    model = fabric.setup_module(student)
    results = accumulate_gradients(parameters, model, batch, fabric, teacher, with_statistics=True)
    assert results[0].statistics is not None and results[1].statistics is None
