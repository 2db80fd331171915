"""The learning rate schedule and the optimizer."""

import pytest
import torch

from lad.config.experiment import make_parameters
from lad.models.detector import build_detector
from lad.training.optimizer import build_optimizer, learning_rate


def rates(**given) -> list[float]:
    parameters = make_parameters(given)
    return [learning_rate(parameters, epoch, step, 100) for epoch in range(parameters.epochs) for step in range(100)]


def test_the_1x_schedule_is_that_of_the_paper():
    """SGD .01, linear warm-up over 500 steps from × .001, ÷ 10 after epochs 8 and 11."""
    lr = rates(profile="coco_1x")
    assert lr[0] == pytest.approx(1e-5) and lr[250] == pytest.approx(0.01 * (0.001 + 0.999 / 2)) and lr[500] == 0.01
    assert {round(rate, 10) for rate in lr[500:800]} == {0.01}
    assert {round(rate, 10) for rate in lr[800:1100]} == {0.001}
    assert {round(rate, 10) for rate in lr[1100:]} == {0.0001}


def test_the_2x_schedule_decays_after_epochs_16_and_22():
    lr = rates(profile="coco_2x_ms")
    assert lr[1599] == 0.01 and lr[1600] == pytest.approx(1e-3)
    assert lr[2199] == pytest.approx(1e-3) and lr[2200] == pytest.approx(1e-4)


def test_the_cosine_schedule_falls_to_zero_and_warm_up_takes_at_most_half_of_a_run():
    lr = rates(epochs=4, warmup=50)
    assert max(lr) <= 2e-3 and lr[-1] < 1e-6 and lr[200] == pytest.approx(1e-3)
    assert lr[60:] == sorted(lr[60:], reverse=True)
    short = rates(epochs=1, warmup=500, schedule="step")
    assert short.index(max(short)) == 50


def test_adamw_does_not_decay_normalization_weights_and_biases():
    detector = build_detector("r18", 3, width=0.25, channels=64)
    decayed, not_decayed = build_optimizer(make_parameters({}), list(detector.parameters())).param_groups
    assert decayed["weight_decay"] == 0.05 and not_decayed["weight_decay"] == 0
    assert all(parameter.dim() > 1 for parameter in decayed["params"])
    assert all(parameter.dim() <= 1 for parameter in not_decayed["params"])


@pytest.mark.parametrize(("precision", "fused"), [("32-true", True), ("bf16-mixed", True), ("16-mixed", False)])
@pytest.mark.parametrize("profile", ["toy", "coco_1x"])
def test_the_optimizer_is_fused_unless_gradients_are_scaled(precision, fused, profile):
    weights = [torch.nn.Parameter(torch.ones(2, 2))]
    optimizer = build_optimizer(make_parameters({"profile": profile, "precision": precision}), weights)
    assert optimizer.defaults["fused"] is fused
