"""Data sets at the edge: one image, one class, tiny and very long images, hundreds of objects; train and evaluate."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_runs import tiny

from lad.experiments.evaluate import evaluate_checkpoint, resolve_evaluation_config
from lad.experiments.evaluation_report import (
    ap_summary,
    class_table,
    error_table,
    images_with_errors,
    metrics_table,
    rank_images,
)
from lad.experiments.leaderboard import results_table
from lad.experiments.runner import run_experiment

GRID = [(x, y, 8, 8) for x in range(0, 120, 8) for y in range(0, 120, 8)]  # 225 objects
SETS = {  # sizes (width, height), number of classes, boxes (x, y, width, height) of every image
    "one image of one class": ([(64, 48)], 1, [(4, 4, 30, 30)]),
    "8 x 8": ([(8, 8)] * 3, 2, [(1, 1, 5, 5), (0, 0, 8, 8)]),
    "12000 x 6": ([(12000, 6)] * 2, 1, [(100, 0, 50, 6), (6000, 1, 2000, 4)]),
    "6 x 12000": ([(6, 12000)], 1, [(0, 100, 6, 50)]),
    "very different sizes": ([(8, 8), (12000, 6), (300, 200)], 3, [(0, 0, 5, 5), (1, 1, 6, 4)]),
    "225 objects": ([(128, 128)], 1, GRID),
}


def write_set(folder: Path, name: str) -> Path:
    """Write a set of `SETS`, the same for training and validation, in COCO format."""
    sizes, num_classes, boxes = SETS[name]
    (folder / "annotations").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (folder / split).mkdir()
        content: dict = {"images": [], "annotations": []}
        content["categories"] = [{"id": label, "name": f"class {label}"} for label in range(num_classes)]
        for image, (width, height) in enumerate(sizes):
            pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / split / f"{image}.png")
            content["images"].append({"id": image, "file_name": f"{image}.png", "width": width, "height": height})
            for number, box in enumerate(boxes):
                gt = {"id": len(content["annotations"]), "image_id": image, "category_id": number % num_classes}
                content["annotations"].append({**gt, "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0})
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("method", ["baseline", "lad"])
@pytest.mark.parametrize("name", SETS)
def test_a_special_set_trains_and_evaluates(name, method, tmp_path):
    teacher = {"teacher": "r18"} if method == "lad" else {}
    run = run_experiment(tiny(write_set(tmp_path / "set", name), tmp_path / "runs", epochs=1, method=method, **teacher))
    assert math.isfinite(run.epochs[0]["loss"]) and run.metrics["AP"] is not None
    given = {"checkpoint": str(run.folder), "out": str(tmp_path / "evaluations")}
    report = evaluate_checkpoint(resolve_evaluation_config(given))
    assert report.metrics["AP"] == pytest.approx(run.metrics["AP"], abs=1e-6)
    assert len(metrics_table(report)) == 1
    assert len(class_table(report)) == min(SETS[name][1], len(SETS[name][2]))  # classes with objects
    assert len(error_table(report)) > 0 and ap_summary(report).startswith("AP ")
    assert len(images_with_errors(report, rank_images(report))) == len(SETS[name][0])


def test_more_objects_than_detections_are_announced_and_max_detections_goes_through_a_run(tmp_path, capsys):
    data = write_set(tmp_path / "set", "225 objects")
    default = run_experiment(tiny(data, tmp_path / "runs", epochs=1))
    assert "max_detections 100: 1 of 1 images in instances_val.json have more objects, up to 225" in _log(capsys)
    run = run_experiment(tiny(data, tmp_path / "runs", epochs=1, max_detections=300))
    assert "more objects" not in _log(capsys) and run.folder != default.folder
    assert "AR100" in default.metrics and "AR300" in run.metrics and "AR100" not in run.metrics
    assert list(results_table({"default": default, "300": run})["AP"].notna()) == [True, True]

    def evaluate(**changes):
        given = {"checkpoint": str(run.folder), "out": str(tmp_path / "evaluations"), **changes}
        return evaluate_checkpoint(resolve_evaluation_config(given))

    few, many = evaluate(), evaluate(max_detections=300)
    assert few.folder != many.folder and "AR100" in few.metrics and "AR300" in many.metrics


def _log(capsys) -> str:
    captured = capsys.readouterr()
    return captured.out + captured.err
