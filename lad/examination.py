"""One checkpoint, any data set in COCO format: detections, the twelve numbers, and where they come from."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pycocotools.cocoeval import COCOeval

from lad.data import CocoDataset, data_folder, find_split, read_annotations
from lad.devices import find_accelerator
from lad.errors import KINDS, Diagnosis, JudgedImage, ap_lost, count_errors, diagnose
from lad.evaluation import class_metrics, coco_results, judge, metrics_of
from lad.experiment import versions, write_json
from lad.inference import predict
from lad.models import Configuration, Detector, load_detector
from lad.progress import bar, say
from lad.question import Question
from lad.runs import WEIGHTS_FILE
from lad.submission import write_submission
from lad.views import STRONGEST, View, flipped_too

DETECTIONS_FILE, RESULTS_FILE = "detections.json", "results.json"
TOLERANCE = 0.1  # of a published AP, in percent
RESIZINGS = (0.75, 1.0, 1.25)  # of the test size, for views="multi_scale"


@dataclass(frozen=True)
class Examination:
    """What a checkpoint found. results: COCO's format, all scores. judged: None where nobody has the gts."""

    question: Question
    configuration: Configuration
    dataset: CocoDataset
    results: list[dict[str, Any]]
    judged: COCOeval | None
    folder: Path

    @property
    def image_ids(self) -> list[int]:
        return [record.image_id for record in self.dataset.annotations.records]

    @cached_property
    def sure_results(self) -> list[dict[str, Any]]:
        """Those of at least the question's min_score."""
        return [result for result in self.results if result["score"] >= self.question.min_score]

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What each of the sure results is, and what they miss."""
        return diagnose(self._judged.cocoGt, self.sure_results, self.image_ids)

    @property
    def metrics(self) -> dict[str, float]:
        """The twelve COCO numbers."""
        return metrics_of(self._judged)

    @property
    def _judged(self) -> COCOeval:
        if self.judged is None:
            raise ValueError(
                f"{self.dataset.annotations.path}: has no ground truth to judge by; notebooks/test_dev.ipynb makes the "
                "file that the evaluation server takes"
            )
        return self.judged


def examine(question: Question) -> Examination:
    """Run the checkpoint on the images, or find what it found before, and judge it. Detections and numbers are kept in
    the question's folder.

    Raises ValueError when the checkpoint or the data cannot be used, or do not have the same classes.
    """
    detector = load_detector(question.checkpoint, question.part, question.iou_branch)
    dataset = _open(question)
    _check_classes(detector.configuration, dataset, question)
    folder = question.out / _name(question, dataset.annotations.path)
    if (folder / DETECTIONS_FILE).is_file():
        results = json.loads((folder / DETECTIONS_FILE).read_text())
        say(f"{folder.name} · detections found, as they were made before")
    else:
        results = _detect(detector, dataset, question)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / DETECTIONS_FILE, results, indent=None)
    image_ids = [record.image_id for record in dataset.annotations.records]
    judged = None
    if dataset.annotations.is_annotated:
        judged = judge(dataset.annotations.path, results, image_ids, question.evaluator)
    found = Examination(question, detector.configuration, dataset, results, judged, folder)
    write_json(
        folder / RESULTS_FILE,
        {
            "question": question.model_dump(mode="json"),
            "metrics": {name: None if math.isnan(v) else v for name, v in found.metrics.items()} if judged else None,
            "images": len(dataset),
            "detections": len(results),
            "versions": versions(),
        },
    )
    return found


def metrics_table(found: Examination) -> pd.DataFrame:
    """The twelve numbers in one row."""
    return pd.DataFrame([found.metrics], index=[_title(found.question)])


def class_table(found: Examination) -> pd.DataFrame:
    """One row per class, best AP first: its objects, AP, AP50, AP75; classes without objects are left out."""
    annotations = found.dataset.annotations
    names = dict(zip(annotations.category_ids, annotations.class_names, strict=True))
    rows = [(names[category], row) for category, row in class_metrics(found._judged).items() if row["objects"]]
    table = pd.DataFrame(
        [row for _, row in rows], index=[name for name, _ in rows], columns=["objects", "AP", "AP50", "AP75"]
    )
    return table.sort_values("AP", ascending=False).astype({"objects": int})


def error_table(found: Examination) -> pd.DataFrame:
    """Sure detections and missed objects by kind and size, and the AP50 that each kind of error costs."""
    counts = count_errors(found._judged.cocoGt, found.sure_results, found.diagnosis)
    table = pd.DataFrame.from_dict(counts, orient="index")
    table.insert(0, "all", table.sum(axis=1))
    table["AP50 lost"] = pd.Series(ap_lost(found._judged.cocoGt, found.results, found.image_ids))
    return table


def ranked_images(found: Examination) -> list[int]:
    """Indices of the images that have objects, best first: by F1 = 2 · correct / (detections + objects) of the sure
    detections; of equals, the one with more objects first."""
    kinds: dict[int, list[str]] = {image_id: [] for image_id in found.image_ids}
    for result, kind in zip(found.sure_results, found.diagnosis.kind, strict=True):
        kinds[result["image_id"]].append(kind)

    def quality(index: int) -> tuple[float, int]:
        record = found.dataset.annotations.records[index]
        mine = [kind for kind in kinds[record.image_id] if kind != "crowd"]
        return 2 * mine.count("correct") / (len(mine) + len(record.boxes)), len(record.boxes)

    records = found.dataset.annotations.records
    return sorted((i for i, record in enumerate(records) if len(record.boxes)), key=quality, reverse=True)


def judged_images(found: Examination, indices: Sequence[int]) -> list[JudgedImage]:
    """These images with every sure detection and every missed object, for `lad.figures.draw_judged`."""
    truth = found._judged.cocoGt
    missed = [truth.anns[gt_id] for gt_id in found.diagnosis.missed]
    return _pictures(found, indices, found.diagnosis.kind, missed)


def shown_images(found: Examination, indices: Sequence[int]) -> list[JudgedImage]:
    """These images with every sure detection, where nobody has the gts to judge by."""
    return _pictures(found, indices, ["detection"] * len(found.sure_results), [])


def verdict(found: Examination) -> str:
    """One line: the AP, and whether it is the one that was expected."""
    percent = 100 * found.metrics["AP"]
    if math.isnan(percent):
        return f"no AP: the {len(found.dataset)} images have no objects"
    expected = found.question.expected_ap
    if expected is None:
        return f"AP {percent:.1f} on {len(found.dataset)} images; no AP was expected"
    is_met = abs(round(percent, 1) - expected) < TOLERANCE + 1e-9  # published numbers are rounded to a tenth
    answer = "met" if is_met else f"NOT met, {percent - expected:+.1f}"
    return f"AP {percent:.1f} on {len(found.dataset)} images; {expected:.1f} was expected: {answer}"


def submit(found: Examination, name: str = "lad") -> Path:
    """Write the zip for COCO's evaluation server into the examination's folder. Boxes without area are left out."""
    with_area = [result for result in found.results if result["bbox"][2] > 0 and result["bbox"][3] > 0]
    return write_submission(found.folder, with_area, found.dataset.annotations, name)


def _pictures(
    found: Examination, indices: Sequence[int], kinds: Sequence[str], missed: Sequence[Mapping[str, Any]]
) -> list[JudgedImage]:
    annotations = found.dataset.annotations
    names = dict(zip(annotations.category_ids, annotations.class_names, strict=True))
    boxes_of: dict[int, list[tuple[str, Mapping[str, Any]]]] = {}
    for kind, one in [*zip(kinds, found.sure_results, strict=True), *(("missed", gt) for gt in missed)]:
        if kind != "crowd":
            boxes_of.setdefault(one["image_id"], []).append((kind, one))
    pictures = []
    for index in indices:
        here = boxes_of.get(annotations.records[index].image_id, [])
        number = Counter(kind for kind, _ in here)
        pictures.append(
            JudgedImage(
                pixels=found.dataset.pixels(index),
                boxes=[[x, y, x + width, y + height] for x, y, width, height in (one["bbox"] for _, one in here)],
                kinds=[kind for kind, _ in here],
                texts=[_words(names[one["category_id"]], one.get("score")) for _, one in here],
                title=" · ".join(f"{number[kind]} {kind}" for kind in KINDS if number[kind]),
            )
        )
    return pictures


def _title(question: Question) -> str:
    """A checkpoint's name for people: the run's or the file's."""
    is_run = question.checkpoint.name == WEIGHTS_FILE
    return question.checkpoint.parent.name if is_run else question.checkpoint.stem


def _words(name: str, score: float | None) -> str:
    return name if score is None else f"{name} {score:.2f}"


def _open(question: Question) -> CocoDataset:
    images, path = find_split(data_folder(question.data), question.split)
    dataset = CocoDataset(images, read_annotations(path))
    return dataset.subset(range(min(question.max_images or len(dataset), len(dataset))))


def _check_classes(configuration: Configuration, dataset: CocoDataset, question: Question) -> None:
    theirs = dataset.annotations.class_names
    if configuration.num_classes != len(theirs) or configuration.class_names not in ((), theirs):
        known = ", ".join(configuration.class_names[:3]) or "names unknown"
        raise ValueError(
            f"checkpoint '{question.checkpoint}' tells {configuration.num_classes} classes apart ({known} …), but "
            f"{dataset.annotations.path} lists {len(theirs)} ({', '.join(theirs[:3])} …); they must be the same"
        )


def _views(question: Question, configuration: Configuration) -> tuple[View, ...]:
    short = question.short_side or configuration.short_side
    long = question.long_side or configuration.long_side
    if question.views == "strongest":
        return STRONGEST
    if question.views == "multi_scale":
        return flipped_too([View(round(short * factor), round(long * factor)) for factor in RESIZINGS])
    return flipped_too([View(short, long)]) if question.views == "flip" else (View(short, long),)


def _detect(detector: Detector, dataset: CocoDataset, question: Question) -> list[dict[str, Any]]:
    detector.to(find_accelerator(question.accelerator))
    images = (dataset.pixels(index) for index in bar(range(len(dataset)), question.checkpoint.stem))
    detections = predict(
        detector,
        images,
        batch_size=question.batch_size,
        views=_views(question, detector.configuration),
        merge="soft_vote" if question.views == "strongest" else "nms",
        vote=question.vote,
    )
    return [
        result
        for record, one in zip(dataset.annotations.records, detections, strict=True)
        for result in coco_results(record.image_id, one, dataset.annotations.category_ids)
    ]


def _name(question: Question, annotations: Path) -> str:
    """Checkpoint and data, and a hash of weights, annotations and all else that the detections depend on."""
    shown_only = {"min_score", "expected_ap", "source", "batch_size", "accelerator", "evaluator", "out", "checkpoint"}
    content = question.model_dump(mode="json", exclude=shown_only)
    for name, path in (("weights", question.checkpoint), ("annotations", annotations)):
        content[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
    return f"{_title(question)}-on-{Path(question.data).name}-{question.split}-{digest}"
