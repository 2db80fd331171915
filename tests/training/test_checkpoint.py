"""Checkpoints: only intact ones are loaded, the newest two are kept, and the next step is the same after loading."""

import errno
import hashlib
import os
import pickle
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import nn

from lad.config.experiment import make_parameters
from lad.training.checkpoint import Progress, checkpoints, load_checkpoint, save_checkpoint
from lad.training.optimizer import build_optimizer


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))


def set_up(seed: int = 0, fabric: Fabric | None = None):
    fabric = fabric or Fabric(accelerator="cpu", devices=1)
    model = network(seed)
    wrapped, optimizer = fabric.setup(model, build_optimizer(make_parameters({}), list(model.parameters())))
    return fabric, model, wrapped, optimizer


def optimizer_step(fabric, wrapped, optimizer) -> None:
    torch.manual_seed(7)
    optimizer.zero_grad()
    fabric.backward(wrapped(torch.randn(5, 3)).sum())
    optimizer.step()


def test_after_loading_a_checkpoint_the_next_step_is_the_same(tmp_path):
    fabric, model, wrapped, optimizer = set_up()
    optimizer_step(fabric, wrapped, optimizer)
    progress = Progress(3, 17, {"loss": torch.tensor(2.5)})
    save_checkpoint(tmp_path, wrapped, optimizer, fabric, progress)
    optimizer_step(fabric, wrapped, optimizer)

    fabric, other, wrapped, optimizer = set_up(seed=1)
    assert load_checkpoint(tmp_path, other, optimizer, fabric) == progress
    optimizer_step(fabric, wrapped, optimizer)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def test_without_a_checkpoint_the_progress_is_that_of_a_new_run(tmp_path):
    fabric, model, _, optimizer = set_up()
    assert load_checkpoint(tmp_path, model, optimizer, fabric) == Progress()


def test_the_newest_two_checkpoints_are_kept(tmp_path):
    fabric, model, _, optimizer = set_up()
    for progress in (Progress(1, 0), Progress(1, 500), Progress(2, 0)):
        save_checkpoint(tmp_path, model, optimizer, fabric, progress)
    kept = [path.name.split("-")[1:3] for path in checkpoints(tmp_path)]
    assert kept == [["00002", "0000000"], ["00001", "0000500"]]


@pytest.mark.parametrize("damage", ["truncated", "a bit", "empty", "another file"])
def test_a_corrupted_checkpoint_is_reported_and_deleted_and_the_previous_one_loaded(tmp_path, capsys, damage):
    fabric, model, _, optimizer = set_up()
    for progress in (Progress(1), Progress(2)):
        save_checkpoint(tmp_path, model, optimizer, fabric, progress)
    newest, previous = checkpoints(tmp_path)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(
        {"truncated": content[:-100], "a bit": content, "empty": b"", "another file": previous.read_bytes()}[damage]
    )
    assert load_checkpoint(tmp_path, model, optimizer, fabric) == Progress(1)
    message = f"{newest}: corrupted checkpoint, deleted; the run resumes from the previous checkpoint"
    assert message in capsys.readouterr().out
    assert checkpoints(tmp_path) == [previous]


def test_when_all_checkpoints_are_corrupted_the_run_starts_from_the_beginning(tmp_path, capsys):
    fabric, model, _, optimizer = set_up()
    save_checkpoint(tmp_path, model, optimizer, fabric, Progress(1))
    checkpoints(tmp_path)[0].write_bytes(b"nothing")
    assert load_checkpoint(tmp_path, model, optimizer, fabric) == Progress()
    assert "the run resumes from the beginning" in capsys.readouterr().out


def test_a_checkpoint_of_another_network_raises_one_line_that_names_it(tmp_path):
    fabric, model, _, optimizer = set_up()
    save_checkpoint(tmp_path, model, optimizer, fabric, Progress(1))
    other = nn.Linear(3, 1)
    with pytest.raises(
        ValueError, match=r"checkpoint-00001-.*is not of this run .*delete it to start the run again"
    ) as caught:
        load_checkpoint(tmp_path, other, build_optimizer(make_parameters({}), list(other.parameters())), fabric)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_version_of_the_code_raises_one_line_and_stays(tmp_path):
    fabric, model, _, optimizer = set_up()
    save_checkpoint(tmp_path, model, optimizer, fabric, Progress(1), code="a1")
    assert load_checkpoint(tmp_path, model, optimizer, fabric, code="a1") == Progress(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    message = r"checkpoint-00001-.*: was written by another version of the code; delete it to start the run again$"
    for code in ("b2", ""):
        with pytest.raises(ValueError, match=message):
            load_checkpoint(tmp_path, model, optimizer, fabric, code=code)
    assert len(checkpoints(tmp_path)) == 1
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_on_a_full_disk_the_error_names_the_checkpoint_and_the_older_ones_stay(tmp_path, monkeypatch):
    fabric, model, _, optimizer = set_up()
    save_checkpoint(tmp_path, model, optimizer, fabric, Progress(1))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(bytes(content)[:100])
        with open("/dev/full", "wb", buffering=0) as device:
            return device.write(content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"checkpoint-00002-.*cannot be written \(No space left on device\)") as caught:
        save_checkpoint(tmp_path, model, optimizer, fabric, Progress(2))
    assert caught.value.errno == errno.ENOSPC
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_checkpoint_that_holds_code_is_refused_and_the_code_not_run(tmp_path):
    """Its digest matches: whoever wrote the file can compute that, too."""

    class Code:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    content = pickle.dumps({"model": Code()})
    path = tmp_path / f"checkpoint-00001-0000000-{hashlib.sha256(content).hexdigest()[:12]}.pt"
    path.write_bytes(content)
    fabric, model, _, optimizer = set_up()
    with pytest.raises(ValueError, match=r"checkpoint-00001-.*: refused: it holds more than tensors"):
        load_checkpoint(tmp_path, model, optimizer, fabric)
    assert not (tmp_path / "ran").exists()


def test_the_scale_of_half_precision_is_saved_and_loaded(tmp_path):
    def half_precision() -> Fabric:
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=1)
        return Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler))

    fabric, model, wrapped, optimizer = set_up(fabric=half_precision())
    optimizer_step(fabric, wrapped, optimizer)
    save_checkpoint(tmp_path, model, optimizer, fabric, Progress(0, 1))
    fabric, model, _, optimizer = set_up(fabric=half_precision())
    load_checkpoint(tmp_path, model, optimizer, fabric)
    assert fabric.strategy.precision.state_dict()["scale"] == 128
