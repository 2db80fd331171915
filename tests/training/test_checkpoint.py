"""A run's checkpoints: whole or not taken, the newest two, and all that the next step follows from."""

import errno
import os
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.precision import MixedPrecision
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


def test_from_a_checkpoint_the_next_step_is_the_same(tmp_path):
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


def test_without_a_checkpoint_a_run_is_at_its_beginning(tmp_path):
    fabric, model, _, optimizer = set_up()
    assert load_checkpoint(tmp_path, model, optimizer, fabric) == Progress()


def test_the_newest_two_are_kept(tmp_path):
    fabric, model, _, optimizer = set_up()
    for progress in (Progress(1, 0), Progress(1, 500), Progress(2, 0)):
        save_checkpoint(tmp_path, model, optimizer, fabric, progress)
    kept = [path.name.split("-")[1:3] for path in checkpoints(tmp_path)]
    assert kept == [["00002", "0000000"], ["00001", "0000500"]]


@pytest.mark.parametrize("damage", ["cut", "a bit", "empty", "another file"])
def test_a_damaged_checkpoint_is_told_and_removed_and_the_one_before_taken(tmp_path, capsys, damage):
    fabric, model, _, optimizer = set_up()
    for progress in (Progress(1), Progress(2)):
        save_checkpoint(tmp_path, model, optimizer, fabric, progress)
    newest, before = checkpoints(tmp_path)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(
        {"cut": content[:-100], "a bit": content, "empty": b"", "another file": before.read_bytes()}[damage]
    )
    assert load_checkpoint(tmp_path, model, optimizer, fabric) == Progress(1)
    assert f"{newest}: damaged and removed; the run goes on from the one before" in capsys.readouterr().out
    assert checkpoints(tmp_path) == [before]


def test_when_all_are_damaged_the_run_begins_anew(tmp_path, capsys):
    fabric, model, _, optimizer = set_up()
    save_checkpoint(tmp_path, model, optimizer, fabric, Progress(1))
    checkpoints(tmp_path)[0].write_bytes(b"nothing")
    assert load_checkpoint(tmp_path, model, optimizer, fabric) == Progress()
    assert "goes on from its beginning" in capsys.readouterr().out


def test_a_checkpoint_of_another_network_is_one_clear_line(tmp_path):
    fabric, model, _, optimizer = set_up()
    save_checkpoint(tmp_path, model, optimizer, fabric, Progress(1))
    other = nn.Linear(3, 1)
    with pytest.raises(ValueError, match=r"checkpoint-00001-.*is not of this run .*remove it") as caught:
        load_checkpoint(tmp_path, other, build_optimizer(make_parameters({}), list(other.parameters())), fabric)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_told_and_the_older_checkpoints_stay(tmp_path, monkeypatch):
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


def test_a_checkpoint_that_would_run_code_does_not(tmp_path):
    """Its digest is right, as whoever made it can make that, too."""
    import hashlib
    import pickle

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    content = pickle.dumps({"model": Evil()})
    path = tmp_path / f"checkpoint-00001-0000000-{hashlib.sha256(content).hexdigest()[:12]}.pt"
    path.write_bytes(content)
    fabric, model, _, optimizer = set_up()
    with pytest.raises(ValueError, match=r"checkpoint-00001-.*: refused, as it holds more than tensors"):
        load_checkpoint(tmp_path, model, optimizer, fabric)
    assert not (tmp_path / "ran").exists()


def test_the_scale_of_half_precision_goes_with_it(tmp_path):
    def half() -> Fabric:
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=1)
        return Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler))

    fabric, model, wrapped, optimizer = set_up(fabric=half())
    optimizer_step(fabric, wrapped, optimizer)
    save_checkpoint(tmp_path, model, optimizer, fabric, Progress(0, 1))
    fabric, model, _, optimizer = set_up(fabric=half())
    load_checkpoint(tmp_path, model, optimizer, fabric)
    assert fabric.strategy.precision.state_dict()["scale"] == 128
