"""Nothing between the candidates and the losses makes the host wait for a device, but for the mixture's one question.

Fake tensors on a CUDA device that need not be there: an operation whose result's shape, or whose course, depends on
values raises an error, and so does a copy between host and device.
"""

import dataclasses

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from lad.assigners import gmm as mixture
from lad.assigners.candidates import match_candidates
from lad.distillation.methods import METHODS
from lad.geometry import make_anchors
from lad.structures import HeadOutputs

WAITS = (DynamicOutputShapeException, DataDependentOutputException)


class NothingCrosses(TorchDispatchMode):
    """Raises when a tensor is copied from one kind of device to another."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default, torch.ops.aten.lift_fresh.default):
            devices = {one.device.type for one in (*args, result) if isinstance(one, torch.Tensor)}
            assert devices == {"cuda"}, f"{func} between {devices}"
        return result


def training_step(method: str, targets) -> None:
    anchors = make_anchors((96, 128))
    candidates = match_candidates(anchors, targets)
    with FakeTensorMode(allow_non_fake_inputs=True):
        count, cuda = len(anchors.boxes), "cuda"
        student, teacher = (
            HeadOutputs(
                torch.empty(2, count, 3, device=cuda, requires_grad=True),
                torch.empty(2, count, 4, device=cuda, requires_grad=True),
                torch.empty(2, count, device=cuda, requires_grad=True),
            )
            for _ in range(2)
        )
        candidates, targets = (
            dataclasses.replace(one, **{name: value.to(cuda) for name, value in vars(one).items()})
            for one in (candidates, targets)
        )
        scene = (candidates, make_anchors.__wrapped__((96, 128), cuda), targets)
        with NothingCrosses():
            METHODS[method](student, teacher, *scene)


@pytest.mark.parametrize("method", METHODS)
def test_a_step_waits_for_nothing_but_the_mixtures_question(method, targets, monkeypatch):
    with pytest.raises(WAITS):
        training_step(method, targets)
    monkeypatch.setattr(mixture, "ITERATIONS_BEFORE_ASKING", mixture.MAX_ITERATIONS)
    training_step(method, targets)


def test_a_question_would_be_noticed(targets, monkeypatch):
    monkeypatch.setattr(mixture, "ITERATIONS_BEFORE_ASKING", mixture.MAX_ITERATIONS)
    monkeypatch.setattr("lad.assigners.paa.group_sizes", lambda group, number: torch.bincount(group, minlength=number))
    with pytest.raises(WAITS):
        training_step("baseline", targets)
    monkeypatch.setattr("lad.assigners.paa.group_sizes", lambda group, number: torch.tensor([0] * number).to("cuda"))
    with pytest.raises(AssertionError, match="between"):
        training_step("baseline", targets)
