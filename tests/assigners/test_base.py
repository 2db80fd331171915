"""What holds for every registered assigner, and how an assigner is built from options."""

import dataclasses
import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import reference_context, reference_outputs

from lad.assigners import ASSIGNERS, PAA, Assigner, assign_by_predictions, build_assigner
from lad.assigners.cost import cost_terms
from lad.config.experiment import make_parameters
from lad.distillation.methods import METHODS, build_method
from lad.structures import HeadOutputs, Targets


def test_every_assigner_has_a_title_and_documents_its_hyper_parameters():
    assert {"paa", "tal", "simota", "atss", "fixed_iou"} <= set(ASSIGNERS)
    for name, assigner in ASSIGNERS.items():
        assert issubclass(assigner, Assigner) and assigner.title
        for field in dataclasses.fields(assigner):
            assert f"\n    {field.name}: " in inspect.getdoc(assigner), f"{name} does not document {field.name}"


def test_a_subclass_without_the_three_steps_cannot_be_built():
    class Incomplete(Assigner):
        title = "incomplete"

    with pytest.raises(TypeError, match="find_candidates"):
        Incomplete()


def test_options_become_fields_and_the_rest_keep_their_defaults():
    assert build_assigner("paa") == build_assigner("paa", {}) == PAA()
    assert build_assigner("paa", {"topk": "13"}) == PAA(topk=13)
    assert build_assigner("paa", {"topk": 13}).box_weight == PAA().box_weight == 1.3


@pytest.mark.parametrize("name", ASSIGNERS)
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10_000))
def test_an_image_is_assigned_as_if_it_were_alone(name, random_scene, seed):
    scene, assigner = random_scene(seed), build_assigner(name)
    whole = scene.assignment(assigner)
    on_image = scene.targets.image == 1
    targets = scene.targets
    alone = Targets(targets.boxes[on_image], targets.labels[on_image], targets.image[on_image], targets.image_hw)
    rows = on_image.nonzero().flatten().numpy()
    assignment = assign_by_predictions(assigner, scene.outputs, scene.anchors, alone).numpy()[1]
    expected = np.where(assignment >= 0, rows[assignment.clip(min=0)] if len(rows) else assignment, assignment)
    assert np.array_equal(expected, whole[1])


@pytest.mark.parametrize("name", ASSIGNERS)
def test_a_batch_without_gts_has_no_positive(name, random_scene):
    scene = random_scene(0)
    targets = scene.targets
    without_gts = Targets(targets.boxes[:0], targets.labels[:0], targets.image[:0], targets.image_hw)
    assignment = assign_by_predictions(build_assigner(name), scene.outputs, scene.anchors, without_gts)
    assert not (assignment >= 0).any()


@pytest.mark.parametrize("name", ASSIGNERS)
def test_another_networks_predictions_change_the_assignment_if_the_assigner_uses_them(name, random_scene):
    scene, assigner = random_scene(1), build_assigner(name)
    by_another_network = dataclasses.replace(scene, outputs=random_scene(2).outputs)
    is_same = np.array_equal(scene.assignment(assigner), by_another_network.assignment(assigner))
    assert is_same != assigner.uses_predictions


@pytest.mark.parametrize("name", ASSIGNERS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_with_every_assigner_that_its_teacher_can_change(name, method, random_scene):
    if METHODS[method].learns_assignment and not ASSIGNERS[name].uses_predictions:
        message = (
            f"^assigner '{name}' does not use predictions, so a teacher cannot change it; use paa, simota, tal, or "
            f"method baseline or soft_label instead of '{method}'$"
        )
        with pytest.raises(ValueError, match=message):
            make_parameters({"method": method, "assigner": name})
        return
    assert make_parameters({"method": method, "assigner": name}).assigner == name
    scene, assigner = random_scene(3), build_assigner(name)
    student = HeadOutputs(*(field.clone().requires_grad_() for field in scene.outputs))
    loss = build_method(method, assigner)(student, random_scene(4).outputs, scene.context(assigner))
    sum(loss.terms.values()).backward()
    assert all(field.grad.isfinite().all() and field.grad.any() for field in student)
    assert len(loss.cost) > 0 and loss.cost.isfinite().all()


@pytest.mark.parametrize("name", [name for name in ASSIGNERS if ASSIGNERS[name].uses_predictions])
def test_with_class_weight_0_only_boxes_count_and_the_network_may_have_other_classes(name, random_scene):
    scene = random_scene(5)
    full, box_only = build_assigner(name), build_assigner(name, {"class_weight": 0})
    context = scene.context(full)
    others = scene.outputs._replace(cls_logits=torch.randn(*scene.outputs.cls_logits.shape[:2], 1))
    scores = box_only.score(scene.outputs, context)
    assert torch.equal(scores, box_only.score(others, context))
    assert not torch.equal(scores, full.score(scene.outputs, context))
    cost, half = full.score(scene.outputs, context), build_assigner(name, {"class_weight": 0.5})
    torch.testing.assert_close(half.score(scene.outputs, context), (cost + scores) / 2)
    assert torch.equal(box_only.assign(scores, context) == -2, full.assign(cost, context) == -2)


def test_the_costs_of_boxes_alone_are_the_box_term_of_the_published_cost(golden):
    case = golden("paa_assignment")
    context, outputs = reference_context(case), reference_outputs(case)
    _, box_cost = cost_terms(outputs, context.candidates, context.anchors, context.targets)
    assert torch.equal(build_assigner("paa", {"class_weight": 0}).score(outputs, context)[:, 0], box_cost)
