"""Runs of one machine: concurrent ones have devices or cores of their own."""

import os

import torch

from lad.paper.engines.local import environment_of
from lad.paper.tables import open_table

TABLE_2 = "table2_soft_label_vs_lad"


def test_concurrent_runs_share_the_cores_or_the_devices(monkeypatch):
    (parameters, *_) = next(iter(open_table(TABLE_2, changes={"accelerator": "cpu"}).parameters.values()))
    shared = environment_of(parameters, slot=0, jobs=2)
    assert int(shared["OMP_NUM_THREADS"]) == max(1, os.cpu_count() // 2)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    (parameters, *_) = next(iter(open_table(TABLE_2, changes={"devices": 2, "batch_size": 8}).parameters.values()))
    visible = [environment_of(parameters, slot, jobs=2)["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)]
    assert visible == ["4,5", "6,7"]
