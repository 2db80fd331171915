"""The twelve COCO numbers by pycocotools and by faster-coco-eval: the same, and how much sooner.

    python benchmarks/evaluation.py [--rounds 3] [--images 5000] [--detections 100]

A made-up validation set of COCO's size in 80 classes: about seven objects an image, some images without any, some
crowds, and detections that lie around the objects or anywhere, with scores that often tie. A round judges them by each
evaluator once, from the annotation file to the twelve numbers.
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

from lad.evaluation.coco_eval import EVALUATORS, class_metrics, metrics_of, precision_recall, run_coco_eval

CLASSES = 80
TOLERANCE = 1e-9


def made_up(folder: Path, images: int, detections: int, seed: int = 0) -> tuple[Path, list[dict[str, Any]]]:
    """An annotation file and, of each of its images, so many detections in COCO's results format."""
    rng = np.random.default_rng(seed)
    gts, results = [], []
    for image in range(1, images + 1):
        count = rng.poisson(7) * (rng.random() > 0.05)
        boxes, labels = random_boxes(rng, count), rng.integers(1, CLASSES + 1, count)
        for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
            is_crowd = int(rng.random() < 0.02)
            area = 0.7 * box[2] * box[3]  # of the object's mask, as in COCO
            one = {"image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": is_crowd}
            gts.append({"id": len(gts) + 1, **one})
        found, found_labels = random_boxes(rng, detections), rng.integers(1, CLASSES + 1, detections)
        if count:  # two in three lie around an object, most of them under its name
            near = np.flatnonzero(rng.random(detections) < 2 / 3)
            object_of = rng.integers(count, size=len(near))
            found[near] = boxes[object_of] * (1 + 0.1 * rng.standard_normal((len(near), 4)))
            found_labels[near] = np.where(rng.random(len(near)) < 0.9, labels[object_of], found_labels[near])
        scores = np.round(rng.beta(1, 4, detections), 2)
        for box, label, score in zip(found.tolist(), found_labels.tolist(), scores.tolist(), strict=True):
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
    """[count, 4] xywh in an image of 640 x 480, of all of COCO's sizes."""
    side = 8 * 32 ** rng.random((count, 2))
    return np.concatenate([rng.random((count, 2)) * ([640, 480] - side), side], axis=1)


def largest_difference(path: Path, results: list[dict[str, Any]]) -> float:
    """Between the evaluators, over the twelve numbers, those of each class and the precision curves."""
    first, second = (numbers(path, results, evaluator) for evaluator in EVALUATORS)
    np.testing.assert_array_equal(np.isnan(first), np.isnan(second))
    return float(np.nanmax(np.abs(first - second)))


def numbers(path: Path, results: list[dict[str, Any]], evaluator: str) -> np.ndarray:
    judged = run_coco_eval(path, results, evaluator=evaluator)
    of_classes = [value for row in class_metrics(judged).values() for value in row.values()]
    return np.concatenate([list(metrics_of(judged).values()), of_classes, *precision_recall(judged).values()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="per image")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, results = made_up(Path(folder), given.images, given.detections)
        difference = largest_difference(path, results)
        assert difference <= TOLERANCE, f"the evaluators differ by {difference}"
        tasks = {name: functools.partial(run_coco_eval, path, results, evaluator=name) for name in EVALUATORS}
        seconds = alternate(tasks, given.rounds)
    print(f"{machine()}; {given.images} images, {len(results)} detections, {CLASSES} classes; {given.rounds} rounds.")
    print(f"Largest difference of any number, of any class or on any curve: {difference:.0e}.\n")
    print("| evaluator | seconds | times faster |")
    print("|---|---:|---:|")
    reference = seconds["pycocotools"]
    for name, own in seconds.items():
        print(f"| {name} | {statistics.median(own):.1f} | {median_ratio(reference, own):.1f} |")


if __name__ == "__main__":
    main()
