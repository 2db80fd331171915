"""Devices that a machine lacks raise an error before any work; a launcher sets the number of processes."""

import pytest
import torch

from lad.config.experiment import make_parameters
from lad.training.devices import devices_and_nodes, find_accelerator


def test_auto_is_cuda_where_it_is_available(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_accelerator("auto", 2, "16-mixed") == "cuda" and find_accelerator("cpu") == "cpu"
    with pytest.raises(ValueError, match=r"^devices=3, but this machine has 2 CUDA devices; give fewer or acc"):
        find_accelerator("auto", 3)


def test_half_precision_needs_cuda():
    with pytest.raises(ValueError, match="precision=16-mixed needs a CUDA device; give 32-true or bf16-mixed"):
        find_accelerator("cpu", precision="16-mixed")


def test_without_a_launcher_all_devices_are_on_this_machine():
    assert devices_and_nodes(make_parameters({"devices": 4})) == (4, 1)


@pytest.mark.parametrize(("local_size", "expected"), [("8", (8, 1)), ("4", (4, 2)), ("1", (1, 8))])
def test_a_launcher_sets_the_processes_of_each_machine(monkeypatch, local_size, expected):
    for name, value in {"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": local_size}.items():
        monkeypatch.setenv(name, value)
    assert devices_and_nodes(make_parameters({"devices": 8})) == expected
    with pytest.raises(ValueError, match="devices=4, but 8 processes were started; start as many as devices"):
        devices_and_nodes(make_parameters({"devices": 4}))


def test_without_cuda_auto_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert find_accelerator("auto") == "cpu"
    with pytest.raises(ValueError, match="devices=1, but this machine has 0 CUDA devices"):
        find_accelerator("cuda")
