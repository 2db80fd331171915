"""Checkpoint files are read without executing anything in them, or refused in one line."""

import hashlib
import json
import pickle
import struct
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lad.models.detector import build_detector
from lad.models.safe_load import read_tensors

WEIGHTS = {"backbone.conv1.weight": torch.arange(6.0)}


def has_weights(state: dict[str, torch.Tensor]) -> bool:
    return state.keys() == WEIGHTS.keys() and all(torch.equal(state[name], WEIGHTS[name]) for name in WEIGHTS)


def test_torch_and_safetensors_files_load_alone_or_wrapped(tmp_path):
    torch.save(WEIGHTS, tmp_path / "plain.pth")
    torch.save({"meta": {"epoch": 12, "CLASSES": ("cat",)}, "state_dict": WEIGHTS}, tmp_path / "openmmlab.pth")
    torch.save({"model": WEIGHTS, "optimizer": {"lr": 0.1}}, tmp_path / "model.pth")
    torch.save(WEIGHTS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(WEIGHTS, tmp_path / "safe.safetensors")
    for file in tmp_path.iterdir():
        assert has_weights(read_tensors(file)), file.name


def test_the_logs_in_openmmlab_3_checkpoints_are_ignored(tmp_path, monkeypatch):
    """Their message hub pickles mmengine's HistoryBuffer, numpy arrays and bound functions. A fake module stands in for
    mmengine; a file of mmengine 0.10 was also tried."""

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
    assert has_weights(read_tensors(tmp_path / "epoch_12.pth"))


class Harmful:
    """Creates a file when it is unpickled the usual way."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return (open, (str(self.witness), "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_executes_code_is_refused(tmp_path, zipped):
    harmful = {"state_dict": {**WEIGHTS, "x": Harmful(tmp_path / "harm")}}
    torch.save(harmful, tmp_path / "harmful.pth", _use_new_zipfile_serialization=zipped)
    line = r"harmful\.pth'.*: refused: contains more than tensors \(.*open\); nothing was executed"
    with pytest.raises(ValueError, match=line):
        read_tensors(tmp_path / "harmful.pth")
    with pytest.raises(ValueError, match=line):
        build_detector("r18", num_classes=3, weights=str(tmp_path / "harmful.pth"))
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_reported_in_one_line(tmp_path, suffix, share):
    file = tmp_path / f"half{suffix}"
    save_file(WEIGHTS, file) if suffix == ".safetensors" else torch.save(WEIGHTS, file)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(ValueError, match=r"half\.\w+': truncated or not a (checkpoint|safetensors file)") as caught:
        read_tensors(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_corrupted_files_are_reported_in_one_line_whatever_is_corrupted(tmp_path, zipped):
    """200 truncated or changed files are either refused or, if the change does not matter, read."""
    file, rng = tmp_path / "corrupted.pth", np.random.default_rng(0)
    torch.save({"meta": {"epoch": 3}, "state_dict": WEIGHTS}, file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    for _ in range(200):
        corrupted = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for place in rng.integers(0, len(corrupted), rng.integers(0, 6)):
            corrupted[place] = rng.integers(256)
        file.write_bytes(corrupted)
        try:
            read_tensors(file)
        except ValueError as error:
            assert "corrupted.pth'" in str(error) and "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ([1, 2], "contains no state dict"),
        ({"epoch": 3}, "contains no state dict"),
        ({1: torch.zeros(1)}, "contains no state dict"),
        ({**WEIGHTS, "head": torch.tensor([1.0, float("nan")])}, "NaN or infinite values in head"),
    ],
)
def test_files_that_are_not_checkpoints_are_refused_in_one_line(tmp_path, content, line):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=rf"x\.pth': {line}"):
        read_tensors(tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"nowhere\.pth': no such file"):
        read_tensors(tmp_path / "nowhere.pth")


@pytest.mark.parametrize("name", ["x.pth", "x-12345678.pth", "x.safetensors"])
@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "the file is empty; download or copy it again"),
        (b"<!DOCTYPE html>\n<html><title>Sign in</title>", "is an HTML page, not a checkpoint; download the file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n",
            "is a Git LFS pointer, not the file itself; run `git lfs pull`",
        ),
    ],
)
def test_what_failed_downloads_leave_is_named(tmp_path, name, content, line):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}': {line}"):
        read_tensors(tmp_path / name)


def test_a_lightning_checkpoint_loads_and_its_hyperparameters_run_no_code(tmp_path):
    """`hyper_parameters` is a plain dictionary, unless somebody saved objects in it."""
    content = {"epoch": 3, "pytorch-lightning_version": "2.5.0", "state_dict": WEIGHTS, "callbacks": {}, "loops": None}
    torch.save({**content, "hyper_parameters": {"lr": 0.1, "steps": [8, 11]}}, tmp_path / "plain.ckpt")
    assert has_weights(read_tensors(tmp_path / "plain.ckpt"))
    torch.save({**content, "hyper_parameters": {"model": torch.nn.Linear(1, 1)}}, tmp_path / "objects.ckpt")
    with pytest.raises(ValueError, match=r"refused: contains more than tensors \(.*Linear\); nothing was executed"):
        read_tensors(tmp_path / "objects.ckpt")


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:8]


@pytest.fixture
def published(tmp_path) -> Path:
    """A file named as OpenMMLab names its files, with the first digits of its hash."""
    torch.save({"state_dict": WEIGHTS}, tmp_path / "paa.pth")
    return (tmp_path / "paa.pth").rename(
        tmp_path / f"paa_r50_fpn_1x_coco_20200821-{digest_of(tmp_path / 'paa.pth')}.pth"
    )


def test_a_file_with_the_hash_in_its_name_is_read(published):
    assert has_weights(read_tensors(published))


@pytest.mark.parametrize("change", [lambda content: content[:-100], lambda content: content + b"\0"])
def test_a_file_with_another_hash_than_in_its_name_is_refused(published, change):
    """The usual reason is an incomplete download."""
    named = published.stem[-8:]
    published.write_bytes(change(published.read_bytes()))
    line = rf"its SHA-256 begins with {digest_of(published)}, not with {named} as in its name: .*; download it again"
    with pytest.raises(ValueError, match=rf"{published.name}': {line}"):
        read_tensors(published)


@pytest.mark.parametrize(
    "name",
    [
        "renamed.pth",
        "own-20240131.pth",
        "own-4ff92b2e9e.pth",
        "own-ABCDEF12.pth",
        "a-12345678-b.pth",
        "x-12345678.pt",
    ],
)
def test_names_without_a_hash_are_not_checked(tmp_path, name):
    """A date, or another number of digits, is not a hash."""
    torch.save(WEIGHTS, tmp_path / name)
    assert has_weights(read_tensors(tmp_path / name))


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".bin", ".safetensors"])
@pytest.mark.parametrize("write", [pickle.dump, torch.save])
def test_a_pickle_under_any_name_is_not_executed(tmp_path, suffix, write):
    file = tmp_path / f"harmful{suffix}"
    with file.open("wb") as opened:
        write({"weight": Harmful(tmp_path / "harm")}, opened)
    with pytest.raises(ValueError, match=rf"harmful\{suffix}': (refused|truncated or not a (checkpoint|safetensors))"):
        read_tensors(file)
    assert not (tmp_path / "harm").exists()


def safetensors(header: dict, body: bytes = bytes(24), length: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


FLOATS = {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}


@pytest.mark.parametrize(
    "content",
    [
        safetensors({"w": FLOATS}, length=2**62),
        safetensors({"w": FLOATS}, length=50_000_000),
        safetensors({"w": {**FLOATS, "shape": [2**40]}}),
        safetensors({"w": {**FLOATS, "shape": [2**40], "data_offsets": [0, 2**42]}}),
        safetensors({"w": FLOATS, "v": FLOATS}),
        safetensors({"w": FLOATS, "v": {**FLOATS, "data_offsets": [12, 36]}}, bytes(36)),
        safetensors({"w": {**FLOATS, "data_offsets": [24, 0]}}),
        safetensors({"w": {**FLOATS, "dtype": "F64"}}),
        safetensors({"w": {**FLOATS, "dtype": "pickle"}}),
        safetensors({"w": {**FLOATS, "shape": [-6]}}),
        safetensors({"w": "floats"}),
        safetensors({"__metadata__": {"configuration": {"a": 1}}, "w": FLOATS}),
    ],
)
def test_a_crafted_safetensors_file_is_refused_in_one_line(tmp_path, content):
    """Huge headers, tensors beyond the end, overlapping and negative ranges, dtypes that do not fit or do not exist."""
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.safetensors': truncated or not a safetensors file") as caught:
        read_tensors(tmp_path / "x.safetensors")
    assert "\n" not in str(caught.value)


def test_a_header_of_many_gigabytes_is_not_read(tmp_path):
    """The file is sparse and really has this size."""
    with (tmp_path / "x.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 2**38))
        file.truncate(2**38 + 8)
    with pytest.raises(
        ValueError, match=r"x\.safetensors': truncated or not a safetensors file \(.*(?i:header ?too ?large)"
    ):
        read_tensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(6, dtype=torch.int64),
        torch.zeros(6, dtype=torch.complex64),
        torch.zeros(6).to(torch.float8_e4m3fn),
        torch.zeros(6).to_sparse(),
        torch.zeros(6, device="meta"),
    ],
    ids=["whole numbers", "complex", "8 bits", "sparse", "no values"],
)
def test_weights_of_an_unsupported_kind_are_refused_by_name(tmp_path, value):
    torch.save({"conv.weight": value}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth': conv\.weight is not a plain tensor of a supported dtype \(torch\."):
        read_tensors(tmp_path / "x.pth")


def test_counters_and_half_precision_are_supported(tmp_path):
    kept = {"bn.num_batches_tracked": torch.tensor(3), "conv.weight": torch.zeros(6).half()}
    torch.save(kept, tmp_path / "x.pth")
    assert read_tensors(tmp_path / "x.pth").keys() == kept.keys()


def test_a_small_file_cannot_contain_a_tensor_of_any_size(tmp_path):
    torch.save({"conv.weight": torch.zeros(1).expand(10**13)}, tmp_path / "x.pth")  # 40 TB, were they written out
    with pytest.raises(ValueError, match=r"x\.pth': conv\.weight has 10000000000000 values, more than the file"):
        read_tensors(tmp_path / "x.pth")


def test_a_small_file_cannot_unpack_to_any_size(tmp_path):
    torch.save({"conv.weight": torch.zeros(1_000_000)}, tmp_path / "plain.pth")
    compressed = zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, compressed:
        for part in plain.infolist():
            compressed.writestr(part.filename, plain.read(part))
    assert (tmp_path / "x.pth").stat().st_size < 20_000
    with pytest.raises(ValueError, match=r"x\.pth': is a compressed archive; unpack it"):
        read_tensors(tmp_path / "x.pth")
