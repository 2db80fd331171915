"""Checkpoint files are read without running anything in them, or refused in one line."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lad.models import build_detector
from lad.models.files import read_tensors

WEIGHTS = {"backbone.conv1.weight": torch.arange(6.0)}


def same(state: dict[str, torch.Tensor]) -> bool:
    return state.keys() == WEIGHTS.keys() and all(torch.equal(state[name], WEIGHTS[name]) for name in WEIGHTS)


def test_torch_and_safetensors_files_alone_or_wrapped(tmp_path):
    torch.save(WEIGHTS, tmp_path / "plain.pth")
    torch.save({"meta": {"epoch": 12, "CLASSES": ("cat",)}, "state_dict": WEIGHTS}, tmp_path / "openmmlab.pth")
    torch.save({"model": WEIGHTS, "optimizer": {"lr": 0.1}}, tmp_path / "model.pth")
    torch.save(WEIGHTS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(WEIGHTS, tmp_path / "safe.safetensors")
    for file in tmp_path.iterdir():
        assert same(read_tensors(file)), file.name


def test_the_logs_in_openmmlab_3_checkpoints_are_read_over(tmp_path, monkeypatch):
    """Their message hub pickles mmengine's HistoryBuffer, numpy arrays and bound functions; made here by a stand-in of
    that module, and seen once with mmengine 0.10 itself."""

    class HistoryBuffer:
        def __init__(self) -> None:
            self.history, self.last = np.arange(3.0), np.float64(1)
            self.statistics_methods = {"mean": HistoryBuffer.mean}

        def mean(self) -> float:
            return float(self.history.mean())

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = "mmengine.logging.history_buffer", "HistoryBuffer"
    HistoryBuffer.mean.__module__, HistoryBuffer.mean.__qualname__ = HistoryBuffer.__module__, "HistoryBuffer.mean"
    for name in ("mmengine", "mmengine.logging", "mmengine.logging.history_buffer"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["mmengine.logging.history_buffer"].HistoryBuffer = HistoryBuffer
    hub = {"log_scalars": {"train/loss": HistoryBuffer()}, "runtime_info": {"iter": 3}}
    torch.save({"state_dict": WEIGHTS, "message_hub": hub}, tmp_path / "epoch_12.pth")
    for name in ("mmengine", "mmengine.logging", "mmengine.logging.history_buffer"):
        monkeypatch.delitem(sys.modules, name)
    assert same(read_tensors(tmp_path / "epoch_12.pth"))


class Harmful:
    """Creates a file when it is unpickled the usual way."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return (open, (str(self.witness), "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused(tmp_path, zipped):
    harmful = {"state_dict": {**WEIGHTS, "x": Harmful(tmp_path / "harm")}}
    torch.save(harmful, tmp_path / "harmful.pth", _use_new_zipfile_serialization=zipped)
    line = r"harmful\.pth'.*: refused, as it holds more than tensors \(.*open\); nothing in it was run"
    with pytest.raises(ValueError, match=line):
        read_tensors(tmp_path / "harmful.pth")
    with pytest.raises(ValueError, match=line):
        build_detector("r18", num_classes=3, weights=str(tmp_path / "harmful.pth"))
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_one_clear_line(tmp_path, suffix, share):
    file = tmp_path / f"half{suffix}"
    save_file(WEIGHTS, file) if suffix == ".safetensors" else torch.save(WEIGHTS, file)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(ValueError, match=r"half\.\w+': cut short or (no checkpoint|not a safetensors file)") as caught:
        read_tensors(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_files_are_one_clear_line_whatever_broke(tmp_path, zipped):
    """A few hundred files cut or with bytes changed: read, as what was changed did not matter, or refused."""
    file, rng = tmp_path / "damaged.pth", np.random.default_rng(0)
    torch.save({"meta": {"epoch": 3}, "state_dict": WEIGHTS}, file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for place in rng.integers(0, len(damaged), rng.integers(0, 6)):
            damaged[place] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            read_tensors(file)
        except ValueError as error:
            assert "damaged.pth'" in str(error) and "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ([1, 2], "holds no state dict"),
        ({"epoch": 3}, "holds no state dict"),
        ({1: torch.zeros(1)}, "holds no state dict"),
        ({**WEIGHTS, "head": torch.tensor([1.0, float("nan")])}, "NaN or infinite values in head"),
    ],
)
def test_what_is_no_checkpoint_is_one_clear_line(tmp_path, content, line):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=rf"x\.pth': {line}"):
        read_tensors(tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"nowhere\.pth': no such file"):
        read_tensors(tmp_path / "nowhere.pth")
