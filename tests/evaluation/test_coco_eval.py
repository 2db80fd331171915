"""COCO metrics by pycocotools and by faster-coco-eval: equal to published numbers and to each other."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval

from lad.data.coco import find_split
from lad.evaluation.coco_eval import (
    EVALUATORS,
    METRICS,
    class_metrics,
    coco_metrics,
    metric_names,
    precision_recall,
    run_coco_eval,
    summary_metrics,
    suppress_stdout,
)

PUBLISHED = {
    "AP": 0.504581, "AP50": 0.696973, "AP75": 0.572982, "APs": 0.585626, "APm": 0.519400, "APl": 0.501398,
    "AR1": 0.386813, "AR10": 0.593680, "AR100": 0.595353, "ARs": 0.639811, "ARm": 0.566421, "ARl": 0.564291,
}  # fmt: skip


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_metrics_of_cocos_example_are_the_published_ones(real_data, evaluator):
    folder = real_data("coco_eval_fixture")
    results = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text())
    for annotations in ("instances_val2014_100.json", "instances_val2014_100_bboxonly.json"):
        metrics = coco_metrics(folder / annotations, results, evaluator=evaluator)
        assert tuple(metrics) == METRICS
        for name, value in PUBLISHED.items():
            assert metrics[name] == pytest.approx(value, abs=1e-6), name


def numbers(coco_eval) -> np.ndarray:
    """Every number that this package reads from a COCOeval."""
    of_classes = [(category, *row.values()) for category, row in class_metrics(coco_eval).items()]
    curves = precision_recall(coco_eval).values()
    return np.concatenate(
        [list(summary_metrics(coco_eval).values()), *of_classes, *curves, coco_eval.eval["recall"].ravel()]
    )


def assert_evaluators_agree(annotations: Path, results: list[dict], image_ids: list[int] | None = None) -> None:
    first, second = (numbers(run_coco_eval(annotations, results, image_ids, evaluator)) for evaluator in EVALUATORS)
    np.testing.assert_allclose(second, first, rtol=0, atol=1e-9)


def test_evaluators_agree_on_cocos_example(real_data):
    folder = real_data("coco_eval_fixture")
    results = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text())
    assert_evaluators_agree(folder / "instances_val2014_100.json", results)


@pytest.mark.parametrize("seed", range(3))
def test_evaluators_agree_when_scores_and_overlaps_tie(tmp_path, seed):
    """60 images, 80 classes, boxes on a coarse grid, few distinct scores; crowds, and images and classes without gts,
    without detections, or without both."""
    rng = np.random.default_rng(seed)

    def random_boxes(count: int) -> list[dict]:
        image, label = rng.integers(1, 61, count).tolist(), rng.integers(1, 81, count).tolist()
        boxes = (rng.integers(4, size=(count, 4)) * 40 + [0, 0, 40, 40]).tolist()
        return [{"image_id": i, "category_id": c, "bbox": box} for i, c, box in zip(image, label, boxes, strict=True)]

    gts = [box for box in random_boxes(500) if box["image_id"] % 7 and box["category_id"] % 9]
    boxes = random_boxes(4000) + [gts[index] for index in rng.integers(len(gts), size=800)]
    scores = rng.choice([0.1, 0.3, 0.5, 0.9], size=len(boxes)).tolist()
    results = [{**box, "score": score} for box, score in zip(boxes, scores, strict=True) if box["image_id"] % 5]
    content = {
        "images": [{"id": image, "width": 240, "height": 240} for image in range(1, 61)],
        "categories": [{"id": label, "name": str(label)} for label in range(1, 81)],
        "annotations": [{**gt, "iscrowd": int(rng.random() < 0.1)} for gt in gts],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    assert 0 < coco_metrics(path, results)["AP"] < 1
    assert_evaluators_agree(path, results)
    assert_evaluators_agree(path, results, image_ids=[59, 3, 7, 20, 22])
    assert_evaluators_agree(path, [])


def test_unknown_or_missing_evaluator_raises_a_clear_error(val_set, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(
        ValueError, match=r"'faster_coco_eval' is not installed; pip install 'lad-suite\[fast\]', or use"
    ):
        coco_metrics(val_set.annotations.path, [], evaluator="faster_coco_eval")
    with pytest.raises(ValueError, match="'evaluator' = 'pycoco' is not one of pycocotools, faster_coco_eval; did you"):
        coco_metrics(val_set.annotations.path, [], evaluator="pycoco")


def test_without_detections_ap_is_zero_and_sizes_without_gts_are_nan(val_set):
    metrics = coco_metrics(val_set.annotations.path, [])
    assert metrics["AP"] == 0 and metrics["AR100"] == 0
    only_first = coco_metrics(val_set.annotations.path, [], [val_set.annotations.records[0].image_id])
    assert any(math.isnan(only_first[name]) for name in ("APs", "APm", "APl"))


def test_results_are_not_modified_and_unlisted_images_are_rejected(val_set):
    image_id = val_set.annotations.records[0].image_id
    result = {
        "image_id": image_id,
        "category_id": val_set.annotations.category_ids[0],
        "bbox": [1, 2, 3, 4],
        "score": 1,
    }
    given = dict(result)
    coco_metrics(val_set.annotations.path, [given])
    assert given == result
    with pytest.raises(ValueError, match=r"does not list, such as image_id=-1"):
        coco_metrics(val_set.annotations.path, [{**result, "image_id": -1}])


@pytest.mark.parametrize("first_id", [0, 1, 17])
def test_any_annotation_ids_are_accepted_and_fields_may_be_missing(tmp_path, first_id):
    """pycocotools treats a match with id 0 as no match, and fails without iscrowd, area or id."""
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 99, "height": 99}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [x, 10, 20, 20], "id": first_id + i}
            for i, x in enumerate((5, 60))
        ],
    }
    results = [{"image_id": 1, "category_id": 1, "bbox": gt["bbox"], "score": 0.9} for gt in content["annotations"]]
    path = tmp_path / "instances.json"
    for removed_fields in ((), ("id",)):
        for gt in content["annotations"]:
            for field in removed_fields:
                del gt[field]
        path.write_text(json.dumps(content))
        assert coco_metrics(path, results)["AP"] == pytest.approx(1)


def test_gts_of_real_coco_images_as_detections_give_ap_1(real_data):
    """coco_ccby320 has crowds, gaps in its category ids and images without boxes."""
    _, path = find_split(real_data("coco_ccby320"), "val")
    content = json.loads(path.read_text())
    results = [
        {"image_id": gt["image_id"], "category_id": gt["category_id"], "bbox": gt["bbox"], "score": 0.9}
        for gt in content["annotations"]
        if not gt["iscrowd"]
    ]
    assert coco_metrics(path, results)["AP"] == pytest.approx(1, abs=1e-3)


def write_dense_set(folder: Path, count: int) -> tuple[Path, list[dict]]:
    """Write the JSON of an image with `count` objects of one class, and return it with a perfect result of each."""
    path = folder / "dense.json"
    boxes = [[10.0 * (index % 50), 10.0 * (index // 50), 8.0, 8.0] for index in range(count)]
    gts = [
        {"id": index + 1, "image_id": 1, "category_id": 1, "bbox": box, "area": 64, "iscrowd": 0}
        for index, box in enumerate(boxes)
    ]
    images = [{"id": 1, "file_name": "1.png", "width": 500, "height": 500}]
    path.write_text(json.dumps({"images": images, "annotations": gts, "categories": [{"id": 1, "name": "ant"}]}))
    scores = np.linspace(0.9, 0.1, count)
    results = [
        {"image_id": 1, "category_id": 1, "bbox": box, "score": float(score)}
        for box, score in zip(boxes, scores, strict=True)
    ]
    return path, results


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_max_detections_decides_how_many_of_300_objects_can_be_found(tmp_path, evaluator):
    path, results = write_dense_set(tmp_path, 300)
    recall = {
        limit: coco_metrics(path, results, evaluator=evaluator, max_detections=limit) for limit in (1, 5, 10, 100, 300)
    }
    for limit, metrics in recall.items():
        assert tuple(metrics) == tuple(dict.fromkeys(metric_names(limit)))
        assert metrics[f"AR{limit}"] == pytest.approx(limit / 300)
        assert metrics["AP"] == metrics["APs"] == pytest.approx(int(100 * limit / 300 + 1) / 101)
    assert recall[300]["AR1"] == pytest.approx(1 / 300) and recall[300]["AR10"] == pytest.approx(10 / 300)


@pytest.mark.parametrize("evaluator", EVALUATORS)
def test_the_summary_is_that_of_pycocotools_where_that_can_be_computed(real_data, evaluator):
    """Other numbers of detections than 100 give all but the AP, which is −1 in pycocotools."""
    folder = real_data("coco_eval_fixture")
    results = json.loads((folder / "instances_val2014_fakebbox100_results.json").read_text())
    for limit, compared in ((100, slice(0, 12)), (7, slice(1, 12)), (300, slice(1, 12))):
        coco_eval = run_coco_eval(
            folder / "instances_val2014_100.json", results, evaluator=evaluator, max_detections=limit
        )
        own = coco_eval.stats
        with suppress_stdout():
            COCOeval.summarize(coco_eval)
        np.testing.assert_allclose(own[compared], np.asarray(coco_eval.stats)[compared], rtol=1e-12)
