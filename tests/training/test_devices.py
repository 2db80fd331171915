"""Devices that a machine lacks raise an error before any work; a launcher sets the number of processes."""

import pytest
import torch

from lad.config.experiment import make_parameters
from lad.training.devices import available_cores, devices_and_nodes, find_accelerator, limit_threads


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


def test_the_number_of_threads_is_limited_within_the_block_only():
    before = torch.get_num_threads()
    with limit_threads(3):
        assert torch.get_num_threads() == 3
        with limit_threads(0):
            assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before


def test_the_cores_of_a_process_are_those_of_its_affinity_and_of_omp_num_threads(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 3, 4, 7}, raising=False)
    for limit, cores in {"": 4, "3": 3, "16": 4, "0": 4, "2,3": 4}.items():
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
        assert available_cores() == cores
