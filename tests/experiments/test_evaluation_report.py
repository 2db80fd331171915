"""The report of an evaluated checkpoint: tables, a line with its AP, images with its errors, and a submission."""

import dataclasses
import json
import re
import zipfile
from collections import Counter

import pytest
from evaluated import evaluate
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lad import figures
from lad.evaluation.coco_eval import precision_recall
from lad.evaluation.error_analysis import ERROR_TYPES
from lad.experiments.evaluation_report import (
    ap_summary,
    class_table,
    error_table,
    images_with_detections,
    images_with_errors,
    metrics_table,
    rank_images,
    save_submission,
)


def test_class_and_error_tables_are_consistent_with_the_metrics(report):
    classes = class_table(report)
    mean = classes["AP"].mean()
    assert mean == pytest.approx(report.metrics["AP"]) and (classes["AP"].diff().dropna() <= 0).all()
    gts = [gt for gt in report.coco_eval.cocoGt.dataset["annotations"] if not gt["iscrowd"]]
    assert classes["objects"].sum() == len(gts)
    errors = error_table(report)
    assert list(errors.index) == ["correct", *ERROR_TYPES]
    assert errors.drop("missed")["all"].sum() == len(report.confident_results)
    assert (errors["all"] == errors[["small", "medium", "large"]].sum(axis=1)).all()


def test_images_are_ranked_and_have_every_confident_detection_and_missed_gt(report):
    ranking = rank_images(report)
    assert sorted(ranking) == list(range(8))
    (image,) = images_with_errors(report, [ranking[0]])
    image_id = report.image_ids[ranking[0]]
    confident = [result for result in report.confident_results if result["image_id"] == image_id]
    assert len(image.boxes) == len(confident) + image.kinds.count("missed")
    assert image.pixels.shape == (128, 128, 3)


def test_ap_summary_compares_with_the_expected_ap(workspace, report):
    percent = round(100 * report.metrics["AP"], 1)
    assert ap_summary(report) == f"AP {percent} % on 8 images; no expected AP given"
    for offset, comparison in (
        (0.0, "matches"),
        (0.1, "matches"),
        (0.2, r"DIFFERS by -0\.\d"),
        (40.0, r"DIFFERS by -40\.\d|DIFFERS by -39\.\d"),
    ):
        line = ap_summary(evaluate(workspace, expected_ap=percent + offset))
        assert re.fullmatch(rf"AP {percent} % on 8 images; expected \d+\.\d %: ({comparison})", line), line


def test_images_without_ground_truth_give_a_submission_and_no_metrics(workspace, tmp_path):
    """The data set is laid out as COCO publishes test-dev: a list of images, and the images in test2017/."""
    content = json.loads((workspace / "shapes" / "instances_val.json").read_text())
    del content["annotations"]
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(content))
    (tmp_path / "test2017").symlink_to(workspace / "shapes" / "val")
    report = evaluate(workspace, data=tmp_path, split="test-dev")
    with zipfile.ZipFile(save_submission(report)) as file:
        results = json.loads(file.read(file.namelist()[0]))
    assert len(results) > 100 and {result["image_id"] for result in results} <= set(report.image_ids)
    assert images_with_detections(report, [0])[0].kinds.count("detection") > 0
    with pytest.raises(ValueError, match=r"has no ground truth, .*; notebooks/test_dev\.ipynb writes the file"):
        metrics_table(report)
    assert json.loads((report.folder / "results.json").read_text())["metrics"] is None


def test_a_data_set_without_objects_has_tables_and_figures(workspace, tmp_path):
    content = json.loads((workspace / "shapes" / "instances_val.json").read_text()) | {"annotations": []}
    (tmp_path / "instances_val.json").write_text(json.dumps(content))
    (tmp_path / "val").symlink_to(workspace / "shapes" / "val")
    report = evaluate(workspace, data=tmp_path, max_images=2)
    assert ap_summary(report) == "no AP: 2 images without objects"
    assert len(class_table(report)) == 0 and error_table(report)["all"]["missed"] == 0
    assert rank_images(report) == [] and images_with_errors(report, []) == []
    for figure in (
        figures.draw_evaluated([]),
        figures.draw_errors(error_table(report)),
        figures.draw_precision_recall(precision_recall(report.coco_eval)),
    ):
        FigureCanvasAgg(figure).draw()


def test_a_submission_has_no_box_without_area_at_its_precision(report):
    sliver = {**report.results[0], "bbox": [22.0, 0.0, 0.004, 33.0], "score": 1.0}
    with zipfile.ZipFile(save_submission(dataclasses.replace(report, results=[sliver, *report.results]))) as file:
        boxes = [result["bbox"] for result in json.loads(file.read(file.namelist()[0]))]
    assert boxes and all(min(width, height) > 0 for _, _, width, height in boxes)


def test_a_submission_has_the_best_100_detections_of_an_image(workspace, report):
    more = evaluate(workspace, max_detections=300)
    counts = Counter(result["image_id"] for result in more.results)
    assert max(counts.values()) > 100 and more.folder != report.folder
    assert evaluate(workspace, max_detections=100).folder == report.folder
    with zipfile.ZipFile(save_submission(more)) as file:
        (name,) = file.namelist()
        kept = Counter(result["image_id"] for result in json.loads(file.read(name)))
    assert kept == {image: min(count, 100) for image, count in counts.items()}
