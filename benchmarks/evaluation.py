"""Compare pycocotools and faster-coco-eval: equal metrics, and the time of each.

    python benchmarks/evaluation.py [--rounds 3] [--images 5000] [--detections 100]

The data are a synthetic validation set of COCO's size with 80 classes: about seven objects per image, some images
without objects, some crowds, and detections near objects or anywhere, with many tied scores. A round runs each
evaluator once, from the annotation file to the twelve metrics.
"""

import argparse
import functools
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measure import alternate, machine, median_ratio

from lad.evaluation.coco_eval import EVALUATORS, class_metrics, precision_recall, run_coco_eval, summary_metrics

CLASSES = 80
TOLERANCE = 1e-9


def write_synthetic_set(folder: Path, images: int, detections: int, seed: int = 0) -> tuple[Path, list[dict[str, Any]]]:
    """Write an annotation file; return its path and the detections of its images in COCO's results format."""
    rng = np.random.default_rng(seed)
    gts, results = [], []
    for image in range(1, images + 1):
        count = rng.poisson(7) * (rng.random() > 0.05)
        boxes, labels = random_boxes(rng, count), rng.integers(1, CLASSES + 1, count)
        for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
            is_crowd = int(rng.random() < 0.02)
            area = 0.7 * box[2] * box[3]  # of the object's mask, as in COCO
            gt = {"image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": is_crowd}
            gts.append({"id": len(gts) + 1, **gt})
        detected, detected_labels = random_boxes(rng, detections), rng.integers(1, CLASSES + 1, detections)
        if count:  # two in three are near an object, most of them with its class
            near = np.flatnonzero(rng.random(detections) < 2 / 3)
            object_of = rng.integers(count, size=len(near))
            detected[near] = boxes[object_of] * (1 + 0.1 * rng.standard_normal((len(near), 4)))
            detected_labels[near] = np.where(rng.random(len(near)) < 0.9, labels[object_of], detected_labels[near])
        scores = np.round(rng.beta(1, 4, detections), 2)
        for box, label, score in zip(detected.tolist(), detected_labels.tolist(), scores.tolist(), strict=True):
            results.append({"image_id": image, "category_id": label, "bbox": box, "score": score})
    content = {
        "images": [{"id": image, "width": 640, "height": 480} for image in range(1, images + 1)],
        "categories": [{"id": label, "name": str(label)} for label in range(1, CLASSES + 1)],
        "annotations": gts,
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(content))
    return path, results


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return xywh boxes [count, 4] of all of COCO's sizes in an image of 640 x 480 pixels."""
    side = 8 * 32 ** rng.random((count, 2))
    return np.concatenate([rng.random((count, 2)) * ([640, 480] - side), side], axis=1)


def largest_difference(path: Path, results: list[dict[str, Any]]) -> float:
    """Return the largest difference between the evaluators over all metrics, class metrics and precision curves."""
    first, second = (all_numbers(path, results, evaluator) for evaluator in EVALUATORS)
    np.testing.assert_array_equal(np.isnan(first), np.isnan(second))
    return float(np.nanmax(np.abs(first - second)))


def all_numbers(path: Path, results: list[dict[str, Any]], evaluator: str) -> np.ndarray:
    coco_eval = run_coco_eval(path, results, evaluator=evaluator)
    of_classes = [value for row in class_metrics(coco_eval).values() for value in row.values()]
    return np.concatenate(
        [list(summary_metrics(coco_eval).values()), of_classes, *precision_recall(coco_eval).values()]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="per image")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, results = write_synthetic_set(Path(folder), given.images, given.detections)
        difference = largest_difference(path, results)
        assert difference <= TOLERANCE, f"the evaluators differ by {difference}"
        tasks = {name: functools.partial(run_coco_eval, path, results, evaluator=name) for name in EVALUATORS}
        seconds = alternate(tasks, given.rounds)
    print(f"{machine()}; {given.images} images, {len(results)} detections, {CLASSES} classes; {given.rounds} rounds.")
    print(f"Largest difference of any metric, class metric or precision curve: {difference:.0e}.\n")
    print("| evaluator | seconds | times faster |")
    print("|---|---:|---:|")
    reference = seconds["pycocotools"]
    for name, own in seconds.items():
        print(f"| {name} | {statistics.median(own):.1f} | {median_ratio(reference, own):.1f} |")


if __name__ == "__main__":
    main()
