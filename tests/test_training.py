"""The schedule, the optimizer and the epoch, apart from any experiment."""

import json
import math

import pytest
import torch

from lad.models import build_detector
from lad.parameters import make_parameters
from lad.training import (
    append_metrics,
    build_optimizer,
    learning_rate,
    load_checkpoint,
    read_metrics,
    save_checkpoint,
)


def rates(**given) -> list[float]:
    parameters = make_parameters(given)
    return [learning_rate(parameters, epoch, step, 100) for epoch in range(parameters.epochs) for step in range(100)]


def test_the_1x_schedule_is_the_papers():
    """SGD .01, linear warm-up over 500 steps from × .001, ÷ 10 after epochs 8 and 11."""
    lr = rates(profile="coco_1x")
    assert lr[0] == pytest.approx(1e-5) and lr[250] == pytest.approx(0.01 * (0.001 + 0.999 / 2)) and lr[500] == 0.01
    assert {round(rate, 10) for rate in lr[500:800]} == {0.01}
    assert {round(rate, 10) for rate in lr[800:1100]} == {0.001}
    assert {round(rate, 10) for rate in lr[1100:]} == {0.0001}


def test_the_2x_schedule_decays_after_16_and_22():
    lr = rates(profile="coco_2x_ms")
    assert lr[1599] == 0.01 and lr[1600] == pytest.approx(1e-3)
    assert lr[2199] == pytest.approx(1e-3) and lr[2200] == pytest.approx(1e-4)


def test_the_cosine_falls_to_zero_and_a_short_run_warms_up_for_at_most_half_of_it():
    lr = rates(epochs=4, warmup=50)
    assert max(lr) <= 2e-3 and lr[-1] < 1e-6 and lr[200] == pytest.approx(1e-3)
    assert lr[60:] == sorted(lr[60:], reverse=True)
    short = rates(epochs=1, warmup=500, schedule="step")
    assert short.index(max(short)) == 50


def test_adamw_spares_normalisation_and_biases():
    detector = build_detector("r18", 3, width=0.25, channels=64)
    decayed, spared = build_optimizer(make_parameters({}), list(detector.parameters())).param_groups
    assert decayed["weight_decay"] == 0.05 and spared["weight_decay"] == 0
    assert all(parameter.dim() > 1 for parameter in decayed["params"])
    assert all(parameter.dim() <= 1 for parameter in spared["params"])


def test_a_checkpoint_returns_weights_optimizer_and_epoch(tmp_path):
    def stepped(detector, optimizer):
        detector(torch.ones(1, 3, 64, 64)).cls_logits.sum().backward()
        optimizer.step()

    first = build_detector("r18", 3, width=0.25, channels=64).eval()
    optimizer = build_optimizer(make_parameters({}), list(first.parameters()))
    stepped(first, optimizer)
    save_checkpoint(tmp_path, first, optimizer, 3)
    second = build_detector("r18", 3, width=0.25, channels=64).eval()
    other = build_optimizer(make_parameters({}), list(second.parameters()))
    assert load_checkpoint(tmp_path, second, other) == 3
    first.zero_grad()
    stepped(first, optimizer)
    stepped(second, other)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert load_checkpoint(tmp_path / "elsewhere", second, other) == 0


def test_an_interrupted_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    detector = build_detector("r18", 3, width=0.25, channels=64)
    optimizer = build_optimizer(make_parameters({}), list(detector.parameters()))
    save_checkpoint(tmp_path, detector, optimizer, 1)

    def disk_full(_state, path):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", disk_full)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(tmp_path, detector, optimizer, 2)
    assert load_checkpoint(tmp_path, detector, optimizer) == 1


def test_metrics_are_json_even_where_a_number_is_not_finite(tmp_path):
    append_metrics(tmp_path, {"epoch": 1, "APl": math.nan, "loss": 0.5})
    append_metrics(tmp_path, {"epoch": 2, "grad_norm": math.inf})
    assert read_metrics(tmp_path) == [{"epoch": 1, "APl": None, "loss": 0.5}, {"epoch": 2, "grad_norm": None}]
    json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0], parse_constant=pytest.fail)
