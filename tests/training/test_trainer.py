"""Metrics on disk, and what an epoch's sums tell."""

import json
import math

import pytest

from lad.training.trainer import append_metrics, read_metrics


def test_metrics_are_json_even_where_a_number_is_not_finite(tmp_path):
    append_metrics(tmp_path, {"epoch": 1, "APl": math.nan, "loss": 0.5})
    append_metrics(tmp_path, {"epoch": 2, "grad_norm": math.inf})
    assert read_metrics(tmp_path) == [{"epoch": 1, "APl": None, "loss": 0.5}, {"epoch": 2, "grad_norm": None}]
    json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0], parse_constant=pytest.fail)
