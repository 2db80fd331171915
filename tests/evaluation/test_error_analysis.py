"""Error analysis on detections whose errors are known."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from lad.data.synthetic.folders import write_shapes
from lad.evaluation.coco_eval import coco_metrics, run_coco_eval, suppress_stdout
from lad.evaluation.error_analysis import ERROR_TYPES, classify_errors, count_errors, delta_ap


def ground_truth_of(gts: list[dict], images: int = 1) -> COCO:
    with suppress_stdout():
        coco = COCO()
        coco.dataset = {
            "images": [{"id": 1 + i, "width": 400, "height": 400, "file_name": f"{i}.png"} for i in range(images)],
            "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
            "annotations": [
                {"id": 10 + i, "image_id": 1, "area": gt["bbox"][2] * gt["bbox"][3], "iscrowd": 0, **gt}
                for i, gt in enumerate(gts)
            ],
        }
        coco.createIndex()
    return coco


def result(bbox: list[float], category: int, score: float) -> dict:
    return {"image_id": 1, "category_id": category, "bbox": bbox, "score": score}


CAT, DOG, SMALL_CAT = [0, 0, 100, 100], [200, 0, 100, 100], [0, 300, 20, 20]
TRUTH = [{"bbox": CAT, "category_id": 3}, {"bbox": DOG, "category_id": 7}, {"bbox": SMALL_CAT, "category_id": 3}]
CROWD = {"bbox": [200, 200, 200, 200], "category_id": 3, "iscrowd": 1}


@pytest.mark.parametrize(
    ("box", "category", "kind", "gt"),
    [
        ([0, 0, 100, 90], 3, "correct", 10),
        ([0, 0, 100, 40], 3, "localization", 10),
        ([0, 0, 100, 90], 7, "classification", 10),
        ([0, 0, 100, 20], 7, "classification", 10),
        ([0, 0, 100, 5], 3, "background", None),
        ([120, 120, 50, 50], 7, "background", None),
        ([210, 210, 50, 50], 3, "crowd", None),
        ([210, 210, 50, 50], 7, "background", None),  # a crowd of another class
        ([160, 210, 100, 50], 3, "crowd", None),  # 60 % inside the crowd
        ([130, 210, 100, 50], 3, "background", None),  # 30 %
    ],
)
def test_each_detection_has_one_type(box, category, kind, gt):
    report = classify_errors(ground_truth_of([*TRUTH, CROWD]), [result(box, category, 0.9)], [1])
    assert (report.kind, report.gt) == ([kind], [gt])


def test_a_gt_with_a_negative_area_is_missed_and_small():
    """As of a box that was drawn from right to left, and has no area of its own."""
    truth = ground_truth_of([{"bbox": [50, 60, -40, 50], "category_id": 3}])
    report = classify_errors(truth, [], [1])
    assert count_errors(truth, [], report)["missed"] == {"small": 1, "medium": 0, "large": 0}


def test_of_two_detections_the_higher_score_is_correct_and_the_other_a_duplicate():
    results = [result(CAT, 3, 0.5), result([0, 0, 100, 80], 3, 0.8)]
    report = classify_errors(ground_truth_of(TRUTH), results, [1])
    assert report.kind == ["duplicate", "correct"] and report.gt == [10, 10]


def test_gts_without_a_correct_classification_or_localization_result_are_missed():
    """A classification error points at the dog and a localization error at the cat, so only the small cat is missed."""
    results = [result(DOG, 3, 0.9), result([0, 0, 100, 30], 3, 0.9)]
    assert classify_errors(ground_truth_of(TRUTH), results, [1]).missed == [12]
    assert classify_errors(ground_truth_of(TRUTH), [], [1]).missed == [10, 11, 12]
    assert classify_errors(ground_truth_of([*TRUTH, CROWD]), [], [1]).missed == [10, 11, 12]  # crowds cannot be missed


def test_errors_are_counted_by_the_size_of_their_gt():
    results = [result(CAT, 3, 0.9), result([0, 0, 100, 30], 3, 0.8), result([120, 120, 10, 10], 7, 0.7)]
    truth = ground_truth_of(TRUTH)
    table = count_errors(truth, results, classify_errors(truth, results, [1]))
    assert table["correct"] == {"small": 0, "medium": 0, "large": 1}
    assert table["localization"] == {"small": 0, "medium": 0, "large": 1}
    assert table["background"] == {"small": 1, "medium": 0, "large": 0}
    assert table["missed"] == {"small": 1, "medium": 0, "large": 1}
    assert set(table) == {"correct", *ERROR_TYPES}


@pytest.mark.parametrize(
    ("make_results", "error"),
    [
        (lambda gt: [result(gt["bbox"], 10 - gt["category_id"], 0.9)], "classification"),
        (lambda gt: [result([*gt["bbox"][:3], gt["bbox"][3] * 0.4], gt["category_id"], 0.9)], "localization"),
        (lambda gt: [result(gt["bbox"], gt["category_id"], 0.5), result([120, 120, 50, 50], gt["category_id"], 0.9)],
         "background"),
        (lambda gt: [result(gt["bbox"], gt["category_id"], 0.5 + gt["category_id"] / 100)] * 2, "duplicate"),
        (lambda gt: [], "missed"),
    ],
)  # fmt: skip
def test_fixing_the_only_error_type_present_gives_ap_1(make_results, error, tmp_path):
    """Every second object has the same error and the others are detected correctly, so that AP is not 0."""
    gts = [{"bbox": [x, y, 40, 40], "category_id": 3} for x in (0, 200, 300) for y in (0, 100, 200)]
    truth = ground_truth_of(gts)
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({**truth.dataset, "categories": truth.dataset["categories"]}))
    results = [detection for gt in truth.dataset["annotations"][::2] for detection in make_results(gt)]
    results += [result(gt["bbox"], 3, 0.7) for gt in truth.dataset["annotations"][1::2]]
    before = coco_metrics(path, results)["AP50"]
    gains = delta_ap(truth, results, [1])
    assert before < 1
    assert before + gains[error] == pytest.approx(1)
    assert all(gains[other] == pytest.approx(0, abs=1e-9) for other in ERROR_TYPES if other not in (error, "missed"))


def test_correct_detections_are_those_that_pycocotools_matches(tmp_path):
    """On random detections of a whole data set, at IoU .5."""
    write_shapes(tmp_path / "shapes", "toy", {"train": 1, "val": 12})
    path = tmp_path / "shapes" / "instances_val.json"
    content = json.loads(path.read_text())
    rng = np.random.default_rng(0)
    results = [
        {
            "image_id": gt["image_id"],
            "category_id": int(rng.choice([gt["category_id"], 1 + rng.integers(6)])),
            "bbox": [float(v) for v in np.array(gt["bbox"]) + rng.normal(0, rng.choice([6, 40]), 4) * [1, 1, 0, 0]],
            "score": float(rng.random()),
        }
        for gt in content["annotations"]
        for _ in range(4)
    ]
    coco_eval = run_coco_eval(path, results)
    of_all_sizes = [image for image in coco_eval.evalImgs if image and image["aRng"] == coco_eval.params.areaRng[0]]
    matched = sum(int((image["dtMatches"][0] > 0).sum()) for image in of_all_sizes)
    report = classify_errors(coco_eval.cocoGt, results, [image["id"] for image in content["images"]])
    assert report.kind.count("correct") == matched > 15
    assert set(report.kind) == {"correct", "classification", "localization", "background", "duplicate"}
