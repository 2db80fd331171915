"""One step: from a batch to losses, by whichever method, and down their gradient."""

import copy

import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.precision import MixedPrecision

from lad.assigners.candidates import match_candidates
from lad.config.experiment import make_parameters
from lad.distillation.assignment_cache import AssignmentCache
from lad.distillation.methods import METHODS
from lad.geometry import make_anchors
from lad.models.detector import build_detector
from lad.models.student_teacher import StudentTeacherPair
from lad.structures import Batch
from lad.training.optimizer import build_optimizer
from lad.training.step import optimizer_step, training_step


@pytest.fixture
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


@pytest.fixture
def batch(targets) -> Batch:
    torch.manual_seed(0)
    image_id, is_flipped = torch.tensor([7, 8]), torch.tensor([False, True])
    return Batch(torch.randn(2, 3, 96, 128), targets, image_id, targets.image_hw, is_flipped)


def networks():
    torch.manual_seed(1)
    return (build_detector("r18", 3, 0.25, channels=64).eval() for _ in range(2))


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_learned_as_the_method_says(method, batch, fabric):
    student, teacher = networks()
    anchors = make_anchors((96, 128))
    scene = (match_candidates(anchors, batch.targets), anchors, batch.targets)
    expected = METHODS[method](student(batch.images), teacher(batch.images), *scene)
    model = fabric.setup_module(StudentTeacherPair(student, teacher) if method == "colad" else student)
    asked = teacher if method in ("lad", "soft_label", "solad") else None
    learned, _, seen = training_step(make_parameters({"method": method}), model, asked, None, batch, fabric)
    assert seen is None and torch.equal(learned.gt_index, expected.gt_index)
    for name, term in expected.terms.items():
        torch.testing.assert_close(learned.terms[name], term, rtol=1e-5, atol=1e-6)


def test_a_remembered_teacher_gives_the_same_losses_and_no_costs(batch, fabric, tmp_path):
    student, teacher = networks()
    model, parameters = fabric.setup_module(student), make_parameters({"method": "lad"})
    asked, _, seen = training_step(parameters, model, teacher, None, batch, fabric, observed=True)
    cache = AssignmentCache(tmp_path, {})
    for _ in range(2):
        learned, _, seen_too = training_step(parameters, model, teacher, cache, batch, fabric, observed=True)
        assert all(torch.equal(learned.terms[name], term) for name, term in asked.terms.items())
        assert seen_too["agreement"] == seen["agreement"] and "cost_mean" in seen and "cost_mean" not in seen_too
    teacher.forward = pytest.fail  # it is not asked a second time
    training_step(parameters, model, teacher, cache, batch, fabric)


@pytest.mark.parametrize("clip_grad", [0, 0.5])
def test_a_gradient_is_clipped_if_the_run_says_so_and_its_norm_told_as_it_was(clip_grad, fabric):
    weight = torch.nn.Linear(3, 1, bias=False)
    before = copy.deepcopy(weight.weight)
    parameters = make_parameters(
        {"clip_grad": clip_grad, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0, "method": "baseline"}
    )
    model, optimizer = fabric.setup(weight, build_optimizer(parameters, list(weight.parameters())))
    norm, overflowed = optimizer_step(
        parameters, model, optimizer, model(torch.tensor([[3.0, 4.0, 0.0]])).sum(), fabric
    )
    assert norm == pytest.approx(5) and not overflowed
    moved = (before - weight.weight).norm().item()
    assert moved == pytest.approx(0.1 * (clip_grad or 5), rel=1e-4)


def half(scale: float) -> Fabric:
    """Half precision's scaler, which this machine's processor has, too."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler))


def stepped(fabric: Fabric, factor: float):
    """A step on a loss of weights × factor; returns the weights before and after, and what `descend` did."""
    weight = torch.nn.Linear(2, 1, bias=False)
    parameters = make_parameters({"method": "baseline", "lr": 0.1, "optimizer": "sgd"})
    model, optimizer = fabric.setup(weight, torch.optim.SGD(weight.parameters(), lr=0.1))
    before = weight.weight.detach().clone()
    norm, overflowed = optimizer_step(parameters, model, optimizer, (weight.weight * factor).sum(), fabric)
    return before, weight.weight.detach(), norm, overflowed


def test_an_overflow_of_half_precision_learns_nothing_and_the_scaler_scales_less():
    fabric = half(scale=2.0**120)
    before, after, norm, overflowed = stepped(fabric, factor=1e6)
    assert overflowed and norm == 0 and torch.equal(before, after)
    assert fabric.strategy.precision.state_dict()["scale"] == 2.0**119


def test_without_an_overflow_half_precision_learns():
    before, after, norm, overflowed = stepped(half(scale=1024.0), factor=2.0)
    assert not overflowed and norm == pytest.approx(8**0.5) and not torch.equal(before, after)


@pytest.mark.parametrize(
    ("fabric_of", "loss_of", "message"),
    [
        (lambda: Fabric(accelerator="cpu", devices=1), lambda weight: (weight * torch.nan).sum(), "loss"),
        (lambda: Fabric(accelerator="cpu", devices=1), lambda weight: (weight - 1).sqrt().sum(), "gradient"),
        (lambda: half(scale=1024.0), lambda weight: (weight * torch.inf).sum(), "loss"),
        (lambda: half(scale=2.0**-11), lambda weight: (weight - 1).sqrt().sum(), "gradient"),
    ],
)
def test_what_is_not_finite_is_never_learned(fabric_of, loss_of, message):
    """The slope of a square root is infinite at 0."""
    fabric, weights = fabric_of(), torch.nn.ParameterList([torch.ones(2)])
    model, optimizer = fabric.setup(weights, torch.optim.SGD(weights.parameters(), lr=0.1))
    parameters = make_parameters({"method": "baseline", "clip_grad": 0})
    with pytest.raises(FloatingPointError, match=f"the {message} is no longer finite"):
        optimizer_step(parameters, model, optimizer, loss_of(weights[0]), fabric)
    assert weights[0].tolist() == [1, 1]
