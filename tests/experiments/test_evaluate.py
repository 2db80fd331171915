"""Evaluation of a checkpoint on a data set: metrics, tables, images, caching and submission."""

import dataclasses
import hashlib
import io
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from evaluated import evaluate
from local_server import LocalServer, serve
from PIL import Image

from lad.config.evaluation import make_evaluation_config
from lad.data.annotations import read_annotations
from lad.data.coco import find_split
from lad.data.synthetic.folders import write_shapes
from lad.evaluation.coco_eval import coco_metrics
from lad.experiments import evaluate as evaluate_module
from lad.experiments.evaluate import evaluate_checkpoint, resolve_evaluation_config
from lad.experiments.evaluation_report import (
    ap_summary,
    error_table,
    metrics_table,
)
from lad.models.detector import build_detector
from lad.models.openmmlab import to_openmmlab_state
from lad.models.serialization import save_detector
from lad.models.zoo import CHECKPOINTS
from lad.structures import Detections


def equal(first: dict[str, float | None], second: dict[str, float | None]) -> bool:
    """Return whether all metrics are equal; NaN and null both mean that there are no objects of that size."""
    first, second = (
        {name: None if value is None or math.isnan(value) else value for name, value in metrics.items()}
        for metrics in (first, second)
    )
    return first == second


def test_metrics_are_those_of_the_detections(report, workspace):
    assert equal(report.metrics, coco_metrics(workspace / "shapes" / "instances_val.json", report.results))
    stored = json.loads((report.folder / "results.json").read_text())
    assert equal(stored["metrics"], report.metrics) and stored["images"] == 8
    assert metrics_table(report)["AP"].item() == report.metrics["AP"]


def test_cached_detections_are_reused_unless_the_views_change(report, workspace, monkeypatch):
    monkeypatch.setattr(evaluate_module, "predict", None)  # fails if called
    again = evaluate(workspace, min_score=0.2, batch_size=3)
    assert again.folder == report.folder and again.results == report.results
    monkeypatch.undo()
    assert evaluate(workspace, views="flip").folder != report.folder


def test_an_openmmlab_copy_gives_exactly_the_same_detections(report, workspace):
    copy = evaluate(workspace, checkpoint=workspace / "copy.pth", short_side=128, long_side=128)
    assert copy.results == report.results and len(copy.results) > 100
    assert equal(copy.metrics, report.metrics)


@pytest.mark.parametrize("views", ["flip", "multi_scale", "strongest"])
def test_every_kind_of_views_runs(workspace, views):
    report = evaluate(workspace, views=views, max_images=1)
    assert len(report.dataset) == 1 and {result["image_id"] for result in report.results} == {1}


def test_a_data_set_with_other_classes_is_rejected_naming_both(workspace, tmp_path):
    write_shapes(tmp_path / "mini", "mini", {"train": 1, "val": 1})
    with pytest.raises(ValueError, match=r"has 6 classes \(.*\), but .*instances_val\.json has \d+ \(.*the same"):
        evaluate(workspace, data=tmp_path / "mini")


def test_cached_detections_are_not_reused_after_the_annotations_change(workspace, tmp_path):
    content = json.loads((workspace / "shapes" / "instances_val.json").read_text())
    path = tmp_path / "instances_val.json"
    (tmp_path / "val").symlink_to(workspace / "shapes" / "val")
    folders = []
    for images in (content["images"][:2], content["images"][:3]):
        ids = {image["id"] for image in images}
        gts = [gt for gt in content["annotations"] if gt["image_id"] in ids]
        path.write_text(json.dumps({**content, "images": images, "annotations": gts}))
        report = evaluate(workspace, data=tmp_path)
        folders.append(report.folder)
        assert {result["image_id"] for result in report.results} == ids
    assert folders[0] != folders[1]


def test_cached_detections_are_not_reused_after_an_image_changes(workspace, tmp_path):
    shutil.copytree(workspace / "shapes", tmp_path / "shapes")
    before = evaluate(workspace, data=tmp_path / "shapes")
    image = min((tmp_path / "shapes" / "val").iterdir())
    Image.new("RGB", (128, 128)).save(image)
    assert evaluate(workspace, data=tmp_path / "shapes").folder != before.folder


def test_cached_detections_are_not_reused_after_the_code_changes(report, workspace, monkeypatch):
    monkeypatch.setattr(evaluate_module, "code_of_inference", lambda _backbone, _head: "other")
    assert evaluate(workspace).folder != report.folder


def test_the_part_of_a_json_that_is_evaluated_is_said(workspace, capsys):
    evaluate(workspace, data=workspace / "shapes" / "instances_val.json", images=workspace / "shapes" / "val")
    assert "instances_val.json: 4 images, the val part of it (val_share 0.2)" in capsys.readouterr().out


def test_a_class_with_another_name_is_named(workspace, tmp_path):
    shutil.copytree(workspace / "shapes", tmp_path / "shapes")
    path = tmp_path / "shapes" / "instances_val.json"
    content = json.loads(path.read_text())
    content["categories"][3]["name"] = "rectangle"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"^class 3 of checkpoint '.*' is 'star', but 'rectangle' in .*same order$"):
        evaluate(workspace, data=tmp_path / "shapes")


def test_gts_of_real_images_as_detections_are_all_correct(real_data, workspace, monkeypatch):
    """coco_ccby320 has gaps in its category ids, crowds and images without boxes; AP is 1 and there are no errors."""
    data = real_data("coco_ccby320")

    def predict_gts(_detector, images, **_options):
        _, path = find_split(data, "val")
        return [
            Detections(
                torch.from_numpy(record.boxes), torch.full((len(record.labels),), 0.9), torch.from_numpy(record.labels)
            )
            for record, _ in zip(read_annotations(path).records, images, strict=True)
        ]

    monkeypatch.setattr(evaluate_module, "predict", predict_gts)
    save_detector(build_detector("r18", num_classes=80, width=0.25, channels=64), workspace / "coco.safetensors")
    report = evaluate(workspace, checkpoint=workspace / "coco.safetensors", data=data)
    assert report.metrics["AP"] == pytest.approx(1, abs=1e-3)
    errors = error_table(report)
    assert errors.drop("correct")["all"].sum() == 0
    assert errors["all"]["correct"] == sum(len(record.boxes) for record in report.dataset.annotations.records)
    assert metrics_table(report).index[0] == "coco"


def test_metrics_of_sizes_without_objects_are_null_in_the_file(workspace):
    report = evaluate(workspace, max_images=1)
    assert any(math.isnan(value) for value in report.metrics.values())
    text = (report.folder / "results.json").read_text()
    assert "NaN" not in text and "null" in text


def test_a_config_without_data_requires_a_run(workspace, tmp_path):
    given = {"checkpoint": workspace / "model.safetensors", "data": workspace / "shapes", "out": tmp_path}
    assert resolve_evaluation_config(given) == make_evaluation_config(given)
    with pytest.raises(ValueError, match="parameter 'data' is required unless the checkpoint is a run's"):
        resolve_evaluation_config({**given, "data": None})


@pytest.fixture
def published(tmp_path, monkeypatch) -> Iterator[LocalServer]:
    """A server of a detector of shapes as paa_r18_1x, here without the IoU branch and voting; data/coco has shapes."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "data" / "coco", "toy", {"train": 1, "val": 2})
    torch.manual_seed(0)
    file = io.BytesIO()
    torch.save(to_openmmlab_state(build_detector("r18", num_classes=6, width=0.25, channels=64)), file)
    name = f"/paa-{hashlib.sha256(file.getvalue()).hexdigest()[:8]}.pth"
    with serve({name: file.getvalue(), "/model.pth": file.getvalue()}) as server:
        entry = dataclasses.replace(CHECKPOINTS["paa_r18_1x"], url=server.url + name, iou_branch=False, vote=False)
        monkeypatch.setitem(CHECKPOINTS, "paa_r18_1x", entry)
        yield server


def test_a_published_name_is_downloaded_and_evaluated_under_its_name(published, tmp_path):
    given = {"checkpoint": "paa_r18_1x", "out": tmp_path / "out"}
    small = {"short_side": 128, "long_side": 128}
    report = evaluate_checkpoint(resolve_evaluation_config({**given, **small}))
    assert report.folder.name.startswith("paa_r18_1x-on-coco-val-")
    assert metrics_table(report).index[0] == "paa_r18_1x" and "expected 35.8" in ap_summary(report)
    assert not report.configuration.iou_branch and not report.config.vote
    stored = json.loads((report.folder / "results.json").read_text())["config"]
    assert stored["checkpoint"] == "paa_r18_1x" and len(published.requests) == 1


def test_a_web_address_is_evaluated_under_the_name_of_its_file(published, tmp_path):
    url = f"{published.url}/model.pth"
    sha256 = hashlib.sha256(published.files["/model.pth"]).hexdigest()
    small = {"data": tmp_path / "data" / "coco", "out": tmp_path / "out", "short_side": 128, "long_side": 128}
    config = resolve_evaluation_config({"checkpoint": url, "sha256": sha256, **small})
    assert evaluate_checkpoint(config).folder.name.startswith("model-on-coco-val-")
    with pytest.raises(ValueError, match="pass sha256="):
        evaluate_checkpoint(resolve_evaluation_config({"checkpoint": url, **small}))


def test_a_folder_without_finished_runs_is_rejected_with_a_remedy(tmp_path):
    with pytest.raises(ValueError, match="no finished run in this folder; train one with `make run`"):
        resolve_evaluation_config({"checkpoint": str(tmp_path)})


def test_a_folder_that_cannot_be_written_is_refused_before_the_checkpoint_is_read(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr("lad.experiments.evaluate.load_detector", lambda *_: pytest.fail("read the checkpoint"))
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"^parameter 'out' = '.*file/out': cannot be written \(Not a directory\)"):
        evaluate(workspace, out=tmp_path / "file" / "out")


def test_metrics_are_there_even_if_the_disk_is_full_at_the_end(workspace, report, tmp_path, monkeypatch, capsys):
    def full(path: Path, *_args: object) -> None:
        raise OSError(28, f"{path}: cannot be written (No space left on device)")

    monkeypatch.setattr("lad.experiments.evaluate.write_json", full)
    assert equal(evaluate(workspace, out=tmp_path).metrics, report.metrics)
    assert capsys.readouterr().out.count("No space left on device); the evaluation continues without this file") == 2
