"""Checkpoints, metrics and the steps of an epoch, apart from any experiment."""

import json
import math

import pytest
import torch

from lad.models import build_detector
from lad.optimization import build_optimizer
from lad.parameters import make_parameters
from lad.training import append_metrics, load_checkpoint, read_metrics, save_checkpoint


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
