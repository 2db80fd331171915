"""`lad predict`: from a checkpoint and files to a folder and a table; errors are one line."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from commands import error_line
from rectangle_oracle import RectangleOracle, draw_rectangles

from lad.cli import main
from lad.inference import cli
from lad.inference.cli import default_folder, find_device, format_report
from lad.inference.files import PredictionReport
from lad.models.detector import build_detector
from lad.models.serialization import save_detector


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A run's weights: a random detector with detections in every image."""
    torch.manual_seed(0)
    detector = build_detector("r18", num_classes=3, width=0.25, channels=64)
    with torch.no_grad():
        detector.head.cls.weight.mul_(20)
        detector.head.cls.bias.fill_(-1.0)
    detector.configuration = dataclasses.replace(
        detector.configuration, short_side=96, long_side=160, class_names=("cat", "dog", "owl")
    )
    path = tmp_path_factory.mktemp("runs") / "chess-r18" / "model.safetensors"
    path.parent.mkdir()
    save_detector(detector, path)
    return path


@pytest.fixture
def photos(tmp_path) -> Path:
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.jpg"):
        draw_rectangles().save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def error_of(capsys, *words: object) -> str:
    return error_line(capsys, "predict", *words)


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_checkpoint_or_a_runs_folder_predicts_files(checkpoint, photos, tmp_path, capsys, is_folder):
    given = checkpoint.parent if is_folder else checkpoint
    assert main(["predict", str(given), str(photos), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "a.png", "b.jpg", "predictions.json", "predictions.csv",
    }  # fmt: skip
    results = json.loads((tmp_path / "out" / "predictions.json").read_text())
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["class", "objects", "images"]
    assert printed[-1] == f"{len(results)} objects in 2 images: {tmp_path / 'out'}" and len(results) > 0


def test_options_reach_the_prediction(checkpoint, photos, tmp_path, monkeypatch):
    received = []
    monkeypatch.setattr(cli, "predict_files", lambda *args: received.extend(args) or PredictionReport(tmp_path))
    words = ["--threshold", "0.5", "--classes", "dog,2", "--batch", "3", "--no-pictures", "--device", "cpu"]
    words += ["--max-detections", "300"]
    assert main(["predict", str(checkpoint), str(photos), "--out", str(tmp_path / "out"), *words]) == 0
    assert received[1:] == [[str(photos)], tmp_path / "out", 0.5, ["dog", "2"], 3, False, 300]
    assert not (tmp_path / "out").exists()  # nothing was written


def test_the_checkpoint_and_the_part_are_passed_to_load_detector_as_text(photos, tmp_path, monkeypatch):
    received = []
    monkeypatch.setattr(cli, "load_detector", lambda *args: received.append(args) or RectangleOracle())
    words = ["predict", "paa_r50_1x", str(photos), "--part", "teacher", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert received == [("paa_r50_1x", "teacher")]


def test_an_unreadable_image_is_exit_status_1_and_the_others_are_predicted(checkpoint, photos, tmp_path, capsys):
    (photos / "broken.png").write_bytes(b"no image")
    assert main(["predict", str(checkpoint), str(photos), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert "broken.png: cannot be read as an image" in printed[0] and " in 2 images: " in printed[-1]


def test_ctrl_c_is_exit_status_130(checkpoint, photos, tmp_path, monkeypatch):
    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "predict_files", interrupt)
    assert main(["predict", str(checkpoint), str(photos), "--out", str(tmp_path / "out")]) == 130


def test_errors_are_one_line_and_leave_no_folder(checkpoint, photos, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    assert error_of(capsys, checkpoint, tmp_path / "x*.jpg", "--out", out).startswith("lad predict: ")
    assert "no images found" in error_of(capsys, checkpoint, tmp_path / "x*.jpg", "--out", out)
    assert "already holds files" in error_of(capsys, checkpoint, photos, "--out", photos)
    assert "did you mean 'cat'?" in error_of(capsys, checkpoint, photos, "--out", out, "--classes", "cta")
    assert "batch_size=0 must be 1 or more" in error_of(capsys, checkpoint, photos, "--out", out, "--batch", "0")
    assert "nowhere.pth" in error_of(capsys, tmp_path / "nowhere.pth", photos, "--out", out)
    assert "is a folder without model.safetensors: no finished run" in error_of(capsys, photos, photos, "--out", out)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no CUDA device" in error_of(capsys, checkpoint, photos, "--out", out, "--device", "cuda")
    assert not out.exists()
    out.mkdir()
    error_of(capsys, tmp_path / "nowhere.pth", photos, "--out", out)
    assert out.exists()  # it was there before

    def fail(*_args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(cli, "predict_files", fail)
    assert "use a --batch smaller than 8" in error_of(capsys, checkpoint, photos, "--out", out)


def test_the_default_folder_is_new_and_named_after_the_checkpoint_or_its_run(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "project_folder", lambda: tmp_path)
    base = tmp_path / "runs" / "predictions"
    assert default_folder("runs/chess-r18/model.safetensors") == base / "chess-r18"
    (tmp_path / "lad-0.5").mkdir()
    assert default_folder(str(tmp_path / "lad-0.5")) == base / "lad-0.5"
    assert default_folder("checkpoints/paa.pth") == base / "paa"
    assert default_folder("https://example.org/a%20b.pth") == base / "a-20b"
    (base / "paa").mkdir(parents=True)
    assert default_folder("paa") == base / "paa-2"


def test_the_device_is_a_gpu_where_there_is_one(monkeypatch):
    for is_available, expected in ((True, ["cuda", "cpu", "cuda"]), (False, ["cpu", "cpu"])):
        monkeypatch.setattr(torch.cuda, "is_available", lambda is_available=is_available: is_available)
        assert [find_device(name) for name in ("auto", "cpu", "cuda")[: len(expected)]] == expected


def test_the_table_has_the_most_frequent_class_first():
    report = PredictionReport(Path("out"), num_images=1200)
    report.objects.update({"owl": 1, "cat\n": 2300})
    report.images.update({"owl": 1, "cat\n": 900})
    assert format_report(report).splitlines() == [
        "class  objects  images",
        "cat\\n    2,300     900",
        "owl          1       1",
        "2,301 objects in 1,200 images: out",
    ]
    assert format_report(PredictionReport(Path("out"), num_images=1)) == "0 objects in 1 image: out"
