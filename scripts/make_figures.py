"""Draw the reference images of docs/figures, one for each figure of lad.figures: `make figures`.

python scripts/make_figures.py [--svg] [--results]

They show the toy runs of `make run`, which are trained if they are missing, and the tables of results/.
"""

import argparse
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import make_results
from matplotlib.figure import Figure
from PIL.PngImagePlugin import PngInfo

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
from lad.config.experiment import make_parameters
from lad.data.coco import CocoDataset
from lad.data.collate import collate
from lad.evaluation.coco_eval import precision_recall
from lad.experiments.evaluate import evaluate_checkpoint, resolve_evaluation_config
from lad.experiments.evaluation_report import EvaluationReport, error_table, images_with_errors
from lad.experiments.run_store import Run
from lad.experiments.runner import compare
from lad.experiments.setup import open_data
from lad.explorer.app import explore
from lad.explorer.config import make_explorer_config
from lad.explorer.state import Explorer
from lad.figures.style import to_image
from lad.models.detector import Detector
from lad.paper.claims import claims
from lad.paper.summary import gains
from lad.paper.tables import Results
from lad.paper.teachers import teacher_quality
from lad.structures import Batch

PROJECT = Path(__file__).parents[1]
FOLDER = PROJECT / "docs" / "figures"
TABLE_2 = "table2_soft_label_vs_lad"
# A line of the table "In short": claim, table, row, and the row that it is compared with
IN_SHORT = re.compile(r"^\| ([^|]+) \| [a-z ]+ \| \[[^|]+ <!-- toy/(\w+): (.+) > (.+) --> \|$", re.MULTILINE)
PARAMETERS = make_parameters({"teacher": "r101"})
# Images of the validation set
ASSIGNMENT_IMAGES = (118, 195)  # with small and large objects that overlap, few of them in a network's color
DETECTION_IMAGES = (98, 174)  # with few detections, and one mistake of a student in each
EVALUATED_IMAGES = (72, 107, 27, 63)  # with four types of errors
DISTILLATION_IMAGE = 118
# An image of the validation set and an object of it
ANCHOR_EXAMPLE = (188, 1)  # too large for P3, too small for P5
EXPLORER_EXAMPLE = (118, 0)  # positives of the student, the teacher and both, with clearly lower costs

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
    return explore(make_explorer_config({"run": str(runs()["LAD student"].folder), "image": image, "gt": gt}))


@cache
def report() -> EvaluationReport:
    """Return the evaluation of the LAD student."""
    given = {"checkpoint": str(runs()["LAD student"].folder), "out": str(Path(PARAMETERS.out) / "evaluations")}
    return evaluate_checkpoint(resolve_evaluation_config(given))


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


@cache
def read_results(name: str) -> Results:
    """Return a table of results/toy."""
    return make_results.read_results(PROJECT / "results" / "toy" / f"{name}.json")


def verdicts() -> list[tuple[str, str, tuple[float, float, float]]]:
    """Return claim, verdict and difference of each line of "In short" in docs/findings.md, positive as claimed."""
    text = (PROJECT / "docs" / "findings.md").read_text(encoding="utf-8")
    differences = []
    for sentence, table, row, against in IN_SHORT.findall(text):
        (claim,) = [claim for claim in claims(read_results(table)) if (claim.title, claim.against) == (row, against)]
        change = claim.difference
        assert change.low is not None and change.high is not None
        if claim.claim == "worse":
            interval = (-change.mean, -change.high, -change.low)
        else:
            interval = (change.mean, change.low, change.high)
        differences.append((sentence, claim.verdict, interval))
    return differences


FROM_RESULTS: dict[str, Callable[[], tuple[Any, ...]]] = {  # arguments of the figures of committed results
    "draw_comparison": lambda: (read_results(TABLE_2).ap_by_row(),),
    "draw_gains": lambda: (gains(read_results(TABLE_2)),),
    "draw_teacher_quality": lambda: (
        teacher_quality(results := read_results("teacher_quality")),
        list(results.values("R50 alone").values()),
    ),
    "draw_verdicts": lambda: (verdicts(),),
}
DRAWN: dict[str, Callable[[], Figure]] = {
    "draw_anchors": draw_anchors,
    "draw_assignments": draw_assignments,
    "draw_positives": lambda: explorer().figures()["picture"],
    "draw_cost_maps": lambda: explorer().figures()["costs"],
    "draw_detections": draw_detections,
    "draw_distillation": draw_distillation,
    "draw_errors": draw_errors,
    "draw_history": draw_history,
    "draw_evaluated": draw_evaluated,
    "draw_levels": draw_levels,
    "draw_mixtures": lambda: explorer().figures()["teacher mixture"],
    "draw_precision_recall": draw_precision_recall,
    "draw_training": draw_training,
}


def save(figure: Figure, path: Path, data: Any = None) -> None:
    """Save a figure as a small PNG, with the data that it shows as text inside."""
    few_colors = to_image(figure, RESOLUTION).quantize(COLORS, kmeans=2)
    text = PngInfo()
    if data is not None:
        text.add_text("data", as_text(data))
    few_colors.save(path, optimize=True, pnginfo=text)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def as_text(data: Any) -> str:
    """Return data as JSON; numbers have the digits that a figure can show."""
    return json.dumps(json.loads(json.dumps(data), parse_float=lambda number: round(float(number), 3)))


def main() -> None:
    """Draw all reference images, or those of the committed results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--svg", action="store_true", help="also write .svg files")
    parser.add_argument("--results", action="store_true", help="only the figures of results/, which take seconds")
    given = parser.parse_args()
    for name, arguments in FROM_RESULTS.items():
        data = arguments()
        write(getattr(figures, name)(*data), name, given.svg, data)
    if given.results:
        return
    for name, draw in DRAWN.items():
        write(draw(), name, given.svg)
    explorer().save_film(FOLDER / "history.gif")


def write(figure: Figure, name: str, svg: bool, data: Any = None) -> None:
    """Write the reference image of a figure function."""
    path = FOLDER / f"{name.removeprefix('draw_')}.png"
    save(figure, path, data)
    if svg:
        figure.savefig(path.with_suffix(".svg"))


if __name__ == "__main__":
    main()
