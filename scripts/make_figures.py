"""Draw the reference images of docs/figures, one for each figure of lad.figures: `make figures`.

python scripts/make_figures.py [--svg]

They show the toy runs of `make run`, which are trained if they are missing, and the tables of results/.
"""

import argparse
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from matplotlib.figure import Figure

from lad import figures
from lad.analysis.assignment import (  # fmt: skip
    AssignmentAnalysis,
    analyze,
    first_images,
    get_detections,
    load_image_batch,
    positives_per_level,
)
from lad.analysis.distillation import compare_networks
from lad.config.evaluation import make_evaluation_config
from lad.config.experiment import make_parameters
from lad.data.coco import CocoDataset
from lad.data.collate import collate
from lad.evaluation.coco_eval import precision_recall
from lad.experiments.evaluate import evaluate_checkpoint
from lad.experiments.evaluation_report import EvaluationReport, error_table, images_with_errors
from lad.experiments.run_store import Run
from lad.experiments.runner import compare
from lad.experiments.setup import open_data
from lad.explorer.app import explore
from lad.explorer.config import make_explorer_config
from lad.explorer.state import Explorer
from lad.figures.style import to_image
from lad.models.detector import Detector
from lad.structures import Batch

PROJECT = Path(__file__).parents[1]
FOLDER = PROJECT / "docs" / "figures"
RESULTS = PROJECT / "results" / "toy" / "table2_soft_label_vs_lad.json"
PARAMETERS = make_parameters({"teacher": "r101"})
# Images of the validation set
ASSIGNMENT_IMAGES = (118, 195)  # with small and large objects that overlap, few of them in a network's color
DETECTION_IMAGES = (98, 174)  # with few detections, and one mistake of a student in each
EVALUATED_IMAGES = (72, 107, 27, 63)  # with four types of errors
DISTILLATION_IMAGE = 118
# An image of the validation set and an object of it
ANCHOR_EXAMPLE = (188, 1)  # too large for P3, too small for P5
EXPLORER_EXAMPLE = (118, 0)  # positives of the student, the teacher and both, with clearly lower costs
TEACHER_EPOCHS = (2, 4, 8)  # of three teachers, the last of which is that of the other figures
STUDENT_EPOCHS = 2

RESOLUTION = 144  # dots per inch
COLORS = 255  # of an image; a palette makes its file a third as large


@cache
def runs() -> dict[str, Run]:
    """Return the teacher, the plain student and the LAD student."""
    return compare(PARAMETERS)


@cache
def detector(name: str) -> Detector:
    """Return the trained network of a run."""
    return runs()[name].load_detector()


@cache
def validation_set() -> CocoDataset:
    """Return the validation images."""
    return open_data(PARAMETERS)[1]


@cache
def analyze_images(indices: tuple[int, ...]) -> tuple[Batch, dict[str, AssignmentAnalysis]]:
    """Return a batch of validation images and each network's analysis of it."""
    batch = collate([validation_set()[index] for index in indices])
    return batch, {name: analyze(detector(name), batch) for name in runs()}


@cache
def explorer() -> Explorer:
    """Return the explorer of the LAD student at its example."""
    image, gt = EXPLORER_EXAMPLE
    return explore(make_explorer_config({"run": runs()["LAD student"].folder.name, "image": image, "gt": gt}))


@cache
def report() -> EvaluationReport:
    """Return the evaluation of the LAD student."""
    return evaluate_checkpoint(make_evaluation_config({"checkpoint": str(runs()["LAD student"].folder)}))


def draw_assignments() -> Figure:
    """Draw the positives of all networks."""
    batch, analyses = analyze_images(ASSIGNMENT_IMAGES)
    return figures.draw_assignments(batch.images, batch.targets, analyses)


def draw_levels() -> Figure:
    """Draw the number of positives per level."""
    batch = first_images(validation_set(), count=24)
    return figures.draw_levels(positives_per_level({name: analyze(detector(name), batch) for name in runs()}))


def draw_anchors() -> Figure:
    """Draw the anchors of three levels."""
    image, gt = ANCHOR_EXAMPLE
    batch, anchors = load_image_batch(validation_set(), image)
    return figures.draw_anchors(batch.images[0], batch.targets, anchors, gt, levels=range(3), margin=0.6)


def draw_distillation() -> Figure:
    """Draw what each distillation method passes on."""
    batch, _ = load_image_batch(validation_set(), DISTILLATION_IMAGE)
    assigner = runs()["LAD student"].assigner
    view = compare_networks(detector("plain student"), detector("teacher"), batch, assigner)
    return figures.draw_distillation(batch.images[0], batch.targets, view)


def draw_history() -> Figure:
    """Draw the positives after each epoch."""
    view = explorer().view
    anchors, history = view.analyses["student"].anchors, explorer().positives_by_epoch()
    return figures.draw_history(view.pixels, view.batch.targets, anchors, history, view.gt, columns=4)


def draw_training() -> Figure:
    """Draw the training curves."""
    return figures.draw_training({name: run.epochs for name, run in runs().items()})


def draw_detections() -> Figure:
    """Draw the detections of all networks."""
    batch, analyses = analyze_images(DETECTION_IMAGES)
    detections = {name: get_detections(analysis, batch) for name, analysis in analyses.items()}
    return figures.draw_detections(batch.images, batch.targets, detections, validation_set().annotations.class_names)


def draw_evaluated() -> Figure:
    """Draw images with their errors."""
    return figures.draw_evaluated(images_with_errors(report(), EVALUATED_IMAGES))


def draw_errors() -> Figure:
    """Draw the table of errors."""
    return figures.draw_errors(error_table(report()))


def draw_precision_recall() -> Figure:
    """Draw precision over recall."""
    coco_eval = report().coco_eval
    assert coco_eval is not None  # the toy set has gts
    return figures.draw_precision_recall(precision_recall(coco_eval))


def draw_comparison() -> Figure:
    """Draw the AP of each row of a table."""
    rows = json.loads(RESULTS.read_text())["rows"]
    return figures.draw_comparison({row["title"]: [100 * run["metrics"]["AP"] for run in row["runs"]] for row in rows})


def draw_gains() -> Figure:
    """Draw the gains over the baseline of a table."""
    rows = {row["title"]: row for row in json.loads(RESULTS.read_text())["rows"]}
    gains = {}
    for title, row in rows.items():
        if row["against"] is not None:
            compared = (row, rows[row["against"]])
            published, baseline = (next(iter(entry["published"].values()))["ap"] for entry in compared)
            measured = row["claims"][0]
            gains[title] = (published - baseline, (measured["mean"], measured["low"], measured["high"]))
    return figures.draw_gains(gains)


def draw_teacher_quality() -> Figure:
    """Draw teachers that trained for more and more epochs, and their LAD students of a few epochs."""
    points, alone = {}, []
    for epochs in TEACHER_EPOCHS:
        of_teacher = {"teacher": "r101", "epochs": STUDENT_EPOCHS, "teacher_epochs": epochs}
        trained = compare(make_parameters(of_teacher))
        points[f"teacher of {epochs} epochs"] = (percent(trained["teacher"]), [percent(trained["LAD student"])])
        alone = [percent(trained["plain student"])]  # the same each time
    return figures.draw_teacher_quality(points, alone)


def percent(run: Run) -> float:
    """Return a run's AP in percent."""
    assert run.metrics["AP"] is not None  # the toy set has gts
    return 100 * run.metrics["AP"]


DRAWN: dict[str, Callable[[], Figure]] = {
    "draw_anchors": draw_anchors,
    "draw_assignments": draw_assignments,
    "draw_positives": lambda: explorer().figures()["picture"],
    "draw_comparison": draw_comparison,
    "draw_cost_maps": lambda: explorer().figures()["costs"],
    "draw_detections": draw_detections,
    "draw_distillation": draw_distillation,
    "draw_errors": draw_errors,
    "draw_gains": draw_gains,
    "draw_history": draw_history,
    "draw_evaluated": draw_evaluated,
    "draw_levels": draw_levels,
    "draw_mixtures": lambda: explorer().figures()["teacher mixture"],
    "draw_precision_recall": draw_precision_recall,
    "draw_teacher_quality": draw_teacher_quality,
    "draw_training": draw_training,
}


def main() -> None:
    """Draw all reference images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--svg", action="store_true", help="also write .svg files")
    given = parser.parse_args()
    for name, draw in DRAWN.items():
        figure = draw()
        path = FOLDER / f"{name.removeprefix('draw_')}.png"
        few_colors = to_image(figure, RESOLUTION).quantize(COLORS, kmeans=2)
        few_colors.save(path, optimize=True)
        if given.svg:
            figure.savefig(path.with_suffix(".svg"))
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    explorer().save_film(FOLDER / "history.gif")


if __name__ == "__main__":
    main()
