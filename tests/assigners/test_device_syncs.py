"""Between candidates and losses no device synchronization, except one of the mixture.

The tensors are fake ones of a CUDA device that need not exist: an operation whose result's shape, or whose control
flow, depends on values raises an error, and so does a copy between host and device.
"""

import dataclasses

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from lad.assigners import AssignmentContext, build_assigner, gmm
from lad.distillation.methods import METHODS, build_method
from lad.distillation.terms import TERMS, TermInputs
from lad.geometry import level_sizes, make_anchors
from lad.models.heads.paa import PAAHead
from lad.structures import DetectorFeatures, HeadOutputs

SYNCHRONIZATIONS = (DynamicOutputShapeException, DataDependentOutputException)


class NoCopies(TorchDispatchMode):
    """Raise when a tensor is copied from one kind of device to another."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default, torch.ops.aten.lift_fresh.default):
            devices = {value.device.type for value in (*args, result) if isinstance(value, torch.Tensor)}
            assert devices == {"cuda"}, f"{func} between {devices}"
        return result


def compute_loss(method: str, targets, assigner: str = "paa", **options) -> None:
    host_anchors = make_anchors((96, 128))
    rule = build_assigner(assigner, options)
    host_candidates = rule.find_candidates(host_anchors, targets)
    with FakeTensorMode(allow_non_fake_inputs=True):
        count, cuda = len(host_anchors.boxes), "cuda"
        student, teacher = (
            HeadOutputs(
                torch.empty(2, count, 3, device=cuda, requires_grad=True),
                torch.empty(2, count, 4, device=cuda, requires_grad=True),
                torch.empty(2, count, device=cuda, requires_grad=True),
            )
            for _ in range(2)
        )
        candidates, targets = (
            dataclasses.replace(fields, **{name: value.to(cuda) for name, value in vars(fields).items()})
            for fields in (host_candidates, targets)
        )
        context = AssignmentContext(candidates, make_anchors.__wrapped__((96, 128), cuda), targets)
        loss = build_method(method, rule)
        with NoCopies():
            loss(student, teacher, context)


@pytest.mark.parametrize("method", METHODS)
def test_a_methods_only_synchronization_is_the_mixtures_check_for_convergence(method, targets, monkeypatch):
    with pytest.raises(SYNCHRONIZATIONS):
        compute_loss(method, targets)
    monkeypatch.setattr(gmm, "ITERATIONS_BEFORE_CHECK", gmm.MAX_ITERATIONS)
    compute_loss(method, targets)


@pytest.mark.parametrize("separation", "abcd")
def test_neither_do_the_options_of_paa_cause_another(separation, targets, monkeypatch):
    monkeypatch.setattr(gmm, "ITERATIONS_BEFORE_CHECK", gmm.MAX_ITERATIONS)
    compute_loss("baseline", targets, separation=separation, normalize_cost=True)


@pytest.mark.parametrize("assigner", ["tal", "simota", "atss"])
def test_assigners_without_a_mixture_need_no_synchronization(assigner, targets):
    compute_loss("baseline", targets, assigner)


@pytest.mark.parametrize("name", TERMS)
def test_distillation_terms_need_no_synchronization(name, targets):
    with FakeTensorMode(allow_non_fake_inputs=True):
        anchors = make_anchors.__wrapped__((96, 128), "cuda")
        with torch.device("cuda"):
            head = PAAHead(64, 3)
        student, teacher = (
            [torch.empty(2, 64, *hw, device="cuda", requires_grad=is_student) for hw in level_sizes((96, 128))]
            for is_student in (True, False)
        )
        networks = []
        for pyramid in (student, teacher):
            towers = head.tower_features(pyramid)
            networks.append(DetectorFeatures(head.predict_from_features(*towers), tuple(pyramid), *towers))
        gt_index = torch.zeros(2, len(anchors.boxes), dtype=torch.long, device="cuda")
        on_device = dataclasses.replace(targets, **{key: value.to("cuda") for key, value in vars(targets).items()})
        inputs = TermInputs(*networks, head, gt_index, AssignmentContext(None, anchors, on_device))
        with NoCopies():
            assert TERMS[name].loss(inputs, TERMS[name].options())


def test_any_other_synchronization_would_fail_this_test(targets, monkeypatch):
    monkeypatch.setattr(gmm, "ITERATIONS_BEFORE_CHECK", gmm.MAX_ITERATIONS)
    monkeypatch.setattr("lad.assigners.paa.group_sizes", lambda group, number: torch.bincount(group, minlength=number))
    with pytest.raises(SYNCHRONIZATIONS):
        compute_loss("baseline", targets)
    monkeypatch.setattr("lad.assigners.paa.group_sizes", lambda group, number: torch.tensor([0] * number).to("cuda"))
    with pytest.raises(AssertionError, match="between"):
        compute_loss("baseline", targets)
