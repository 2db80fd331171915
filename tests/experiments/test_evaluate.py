"""One checkpoint on one data set, from file to tables."""

import dataclasses
import json
import math
import re
import zipfile
from pathlib import Path

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lad import figures
from lad.config.evaluation import make_evaluation_config
from lad.data.annotations import read_annotations
from lad.data.coco import find_split
from lad.data.synthetic.shapes import DIFFICULTIES, write_shapes
from lad.evaluation.coco_eval import coco_metrics, precision_recall
from lad.evaluation.error_analysis import ERRORS
from lad.experiments import evaluate as examination
from lad.experiments.evaluate import (
    EvaluationReport,
    class_table,
    error_table,
    evaluate_checkpoint,
    evaluated_images,
    metrics_table,
    ranked_images,
    shown_images,
    submit,
    verdict,
)
from lad.models.detector import build_detector
from lad.models.serialization import save_detector, save_openmmlab
from lad.structures import Detections


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """shapes/: a small set. model.safetensors, copy.pth: one network, random but talkative, in both formats."""
    folder = tmp_path_factory.mktemp("place")
    write_shapes(folder / "shapes", "toy", {"train": 1, "val": 8})
    torch.manual_seed(3)
    detector = build_detector("r18", num_classes=6, width=0.25, channels=64)
    with torch.no_grad():
        detector.head.cls.weight.mul_(20)
        detector.head.cls.bias.fill_(-1.0)
        detector.head.reg.bias.copy_(torch.tensor([0.0, 0.0, -2.0, -2.0]))
    names = DIFFICULTIES["toy"].classes
    detector.configuration = dataclasses.replace(
        detector.configuration, class_names=tuple(names), short_side=128, long_side=128
    )
    save_detector(detector, folder / "model.safetensors")
    save_openmmlab(detector, folder / "copy.pth")
    return folder


def ask(place: Path, **given) -> EvaluationReport:
    defaults = {"checkpoint": place / "model.safetensors", "data": place / "shapes", "out": place / "out"}
    return evaluate_checkpoint(make_evaluation_config({**defaults, **given}))


@pytest.fixture(scope="module")
def found(place) -> EvaluationReport:
    return ask(place)


def same(first: dict[str, float | None], second: dict[str, float | None]) -> bool:
    """To the last digit; NaN and null are "no object of that size"."""
    plain = [{name: None if v is None or math.isnan(v) else v for name, v in one.items()} for one in (first, second)]
    return plain[0] == plain[1]


def test_the_numbers_are_those_of_its_detections(found, place):
    assert same(found.metrics, coco_metrics(place / "shapes" / "instances_val.json", found.results))
    stored = json.loads((found.folder / "results.json").read_text())
    assert same(stored["metrics"], found.metrics) and stored["images"] == 8
    assert metrics_table(found)["AP"].item() == found.metrics["AP"]


def test_the_same_question_is_answered_from_its_folder(found, place, monkeypatch):
    monkeypatch.setattr(examination, "predict", None)  # would fail if it were asked
    again = ask(place, min_score=0.2, batch_size=3)
    assert again.folder == found.folder and again.results == found.results
    monkeypatch.undo()
    assert ask(place, views="flip").folder != found.folder


def test_an_openmmlab_copy_gives_the_same_detections_to_the_last_digit(found, place):
    copy = ask(place, checkpoint=place / "copy.pth", short_side=128, long_side=128)
    assert copy.results == found.results and len(copy.results) > 100
    assert same(copy.metrics, found.metrics)


def test_classes_and_errors_add_up(found):
    classes = class_table(found)
    mean = classes["AP"].mean()
    assert mean == pytest.approx(found.metrics["AP"]) and (classes["AP"].diff().dropna() <= 0).all()
    gts = [gt for gt in found.coco_eval.cocoGt.dataset["annotations"] if not gt["iscrowd"]]
    assert classes["objects"].sum() == len(gts)
    errors = error_table(found)
    assert list(errors.index) == ["correct", *ERRORS]
    assert errors.drop("missed")["all"].sum() == len(found.confident_results)
    assert (errors["all"] == errors[["small", "medium", "large"]].sum(axis=1)).all()


def test_pictures_are_ranked_and_show_every_box(found):
    ranking = ranked_images(found)
    assert sorted(ranking) == list(range(8))
    (picture,) = evaluated_images(found, [ranking[0]])
    image_id = found.image_ids[ranking[0]]
    sure = [result for result in found.confident_results if result["image_id"] == image_id]
    assert len(picture.boxes) == len(sure) + picture.kinds.count("missed")
    assert picture.pixels.shape == (128, 128, 3)


def test_the_verdict_says_whether_the_published_ap_was_met(place, found):
    percent = round(100 * found.metrics["AP"], 1)
    assert verdict(found) == f"AP {percent} on 8 images; no AP was expected"
    for off, answer in (
        (0.0, "met"),
        (0.1, "met"),
        (0.2, r"NOT met, -0\.\d"),
        (40.0, r"NOT met, -40\.\d|NOT met, -39\.\d"),
    ):
        line = verdict(ask(place, expected_ap=percent + off))
        assert re.fullmatch(rf"AP {percent} on 8 images; \d+\.\d was expected: ({answer})", line), line


@pytest.mark.parametrize("views", ["flip", "multi_scale", "strongest"])
def test_every_way_of_looking_runs(place, views):
    found = ask(place, views=views, max_images=1)
    assert len(found.dataset) == 1 and {result["image_id"] for result in found.results} == {1}


def test_other_classes_are_refused_with_both_named(place, tmp_path):
    write_shapes(tmp_path / "mini", "mini", {"train": 1, "val": 1})
    with pytest.raises(
        ValueError, match=r"tells 6 classes apart \(.*\), but .*instances_val\.json lists \d+ \(.*the same"
    ):
        ask(place, data=tmp_path / "mini")


def test_images_without_gts_become_a_submission_and_no_number(place, tmp_path):
    """A set as COCO publishes test-dev: a list of images, the pictures in test2017/."""
    content = json.loads((place / "shapes" / "instances_val.json").read_text())
    del content["annotations"]
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(content))
    (tmp_path / "test2017").symlink_to(place / "shapes" / "val")
    found = ask(place, data=tmp_path, split="test-dev")
    with zipfile.ZipFile(submit(found)) as file:
        results = json.loads(file.read(file.namelist()[0]))
    assert len(results) > 100 and {one["image_id"] for one in results} <= set(found.image_ids)
    assert shown_images(found, [0])[0].kinds.count("detection") > 0
    with pytest.raises(ValueError, match=r"has no ground truth to judge by; notebooks/test_dev\.ipynb makes the file"):
        metrics_table(found)
    assert json.loads((found.folder / "results.json").read_text())["metrics"] is None


def test_changed_annotations_are_another_question(place, tmp_path):
    """Detections found before are of the images that the file listed before."""
    content = json.loads((place / "shapes" / "instances_val.json").read_text())
    path = tmp_path / "instances_val.json"
    (tmp_path / "val").symlink_to(place / "shapes" / "val")
    folders = []
    for images in (content["images"][:2], content["images"][:3]):
        ids = {image["id"] for image in images}
        gts = [gt for gt in content["annotations"] if gt["image_id"] in ids]
        path.write_text(json.dumps({**content, "images": images, "annotations": gts}))
        found = ask(place, data=tmp_path)
        folders.append(found.folder)
        assert {result["image_id"] for result in found.results} == ids
    assert folders[0] != folders[1]


def test_real_annotations_as_detections_are_all_correct(real_data, place, monkeypatch):
    """coco_ccby320 whole: gaps in the category ids, crowds, images without boxes. AP 1 and no mistake of any kind."""
    data = real_data("coco_ccby320")

    def knowing(_detector, images, **_options):
        _, path = find_split(data, "val")
        return [
            Detections(torch.from_numpy(one.boxes), torch.full((len(one.labels),), 0.9), torch.from_numpy(one.labels))
            for one, _ in zip(read_annotations(path).records, images, strict=True)
        ]

    monkeypatch.setattr(examination, "predict", knowing)
    save_detector(build_detector("r18", num_classes=80, width=0.25, channels=64), place / "coco.safetensors")
    found = ask(place, checkpoint=place / "coco.safetensors", data=data)
    assert found.metrics["AP"] == pytest.approx(1, abs=1e-3)
    errors = error_table(found)
    assert errors.drop("correct")["all"].sum() == 0
    assert errors["all"]["correct"] == sum(len(one.boxes) for one in found.dataset.annotations.records)
    assert metrics_table(found).index[0] == "coco"


def test_sizes_without_objects_are_null_in_the_file(place):
    one = ask(place, max_images=1)
    assert any(math.isnan(value) for value in one.metrics.values())
    text = (one.folder / "results.json").read_text()
    assert "NaN" not in text and "null" in text


def test_a_set_without_objects_has_tables_and_pictures_all_the_same(place, tmp_path):
    content = json.loads((place / "shapes" / "instances_val.json").read_text()) | {"annotations": []}
    (tmp_path / "instances_val.json").write_text(json.dumps(content))
    (tmp_path / "val").symlink_to(place / "shapes" / "val")
    found = ask(place, data=tmp_path, max_images=2)
    assert verdict(found) == "no AP: the 2 images have no objects"
    assert len(class_table(found)) == 0 and error_table(found)["all"]["missed"] == 0
    assert ranked_images(found) == [] and evaluated_images(found, []) == []
    for figure in (
        figures.draw_evaluated([]),
        figures.draw_errors(error_table(found)),
        figures.draw_precision_recall(precision_recall(found.coco_eval)),
    ):
        FigureCanvasAgg(figure).draw()
