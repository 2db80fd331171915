"""Draws the reference pictures of docs/figures, one for each figure of lad.figures: `make figures`.

python scripts/make_figures.py [--svg]

They show the toy runs of `make run`, which it trains if they are missing, and results/. --svg: as .svg, too.
"""

import argparse
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from matplotlib.figure import Figure

from lad import figures
from lad.analysis.assignment import AssignmentAnalysis, analyze, detections_of, first_images, positives_per_level
from lad.analysis.positives import open_picture
from lad.config.evaluation import make_evaluation_config
from lad.config.experiment import make_parameters
from lad.data.coco import CocoDataset
from lad.data.collate import collate
from lad.evaluation.coco_eval import precision_recall
from lad.experiments.evaluate import EvaluationReport, error_table, evaluate_checkpoint, images_with_errors
from lad.experiments.run_store import Run
from lad.experiments.runner import compare, open_data
from lad.explorer.app import explore
from lad.explorer.config import make_explorer_config
from lad.explorer.state import Explorer
from lad.figures.style import to_image
from lad.models.detector import Detector
from lad.structures import Batch

FOLDER = Path(__file__).parent / "figures"
RESULTS = Path(__file__).parents[1] / "results" / "toy" / "table2_soft_label_vs_lad.json"
PARAMETERS = make_parameters({"teacher": "r101"})
# Of the validation set, images
ASSIGNED = (118, 195)  # with small and large objects that overlap, few of them in a network's color
DETECTED = (98, 174)  # with few detections, and one student's mistake in each
JUDGED = (72, 107, 27, 63)  # with four kinds of mistakes
# and an image and an object of it
ANCHORED = (188, 1)  # too large for P3, too small for P5
EXPLORED = (118, 0)  # claimed by the student, the teacher, and both, whose positives are clearly cheaper

RESOLUTION = 144  # dots per inch
COLORS = 255  # of a picture, which makes its file a third as large


@cache
def runs() -> dict[str, Run]:
    return compare(PARAMETERS)


@cache
def detector(name: str) -> Detector:
    return runs()[name].load_detector()


@cache
def pictures() -> CocoDataset:
    return open_data(PARAMETERS)[1]


@cache
def judgments(images: tuple[int, ...]) -> tuple[Batch, dict[str, AssignmentAnalysis]]:
    """Validation images, and what the networks say of them."""
    batch = collate([pictures()[index] for index in images])
    return batch, {name: analyze(detector(name), batch) for name in runs()}


@cache
def explorer() -> Explorer:
    image, gt = EXPLORED
    return explore(make_explorer_config({"run": runs()["LAD student"].folder.name, "image": image, "gt": gt}))


@cache
def evaluation_report() -> EvaluationReport:
    return evaluate_checkpoint(make_evaluation_config({"checkpoint": str(runs()["LAD student"].folder)}))


def draw_assignments() -> Figure:
    batch, analyses = judgments(ASSIGNED)
    return figures.draw_assignments(batch.images, batch.targets, analyses)


def draw_levels() -> Figure:
    many = first_images(pictures(), count=24)
    return figures.draw_levels(positives_per_level({name: analyze(detector(name), many) for name in runs()}))


def draw_anchors() -> Figure:
    image, gt = ANCHORED
    batch, anchors = open_picture(pictures(), image)
    return figures.draw_anchors(batch.images[0], batch.targets, anchors, gt, levels=range(3), margin=0.6)


def draw_history() -> Figure:
    scene = explorer().scene
    anchors, history = scene.analyses["student"].anchors, explorer().by_epoch()
    return figures.draw_history(scene.picture, scene.batch.targets, anchors, history, scene.gt, columns=4)


def draw_training() -> Figure:
    return figures.draw_training({name: run.epochs for name, run in runs().items()})


def draw_detections() -> Figure:
    batch, analyses = judgments(DETECTED)
    found = {name: detections_of(one, batch) for name, one in analyses.items()}
    return figures.draw_detections(batch.images, batch.targets, found, pictures().annotations.class_names)


def draw_evaluated() -> Figure:
    return figures.draw_evaluated(images_with_errors(evaluation_report(), JUDGED))


def draw_errors() -> Figure:
    return figures.draw_errors(error_table(evaluation_report()))


def draw_precision_recall() -> Figure:
    coco_eval = evaluation_report().coco_eval
    assert coco_eval is not None  # the toy set has its gts
    return figures.draw_precision_recall(precision_recall(coco_eval))


def draw_comparison() -> Figure:
    rows = json.loads(RESULTS.read_text())["rows"]
    return figures.draw_comparison({row["title"]: [100 * run["metrics"]["AP"] for run in row["runs"]] for row in rows})


def draw_gains() -> Figure:
    rows = {row["title"]: row for row in json.loads(RESULTS.read_text())["rows"]}
    gains = {}
    for title, row in rows.items():
        if row["against"] is not None:
            published, against = (next(iter(one["published"].values()))["ap"] for one in (row, rows[row["against"]]))
            ours = row["difference"]
            gains[title] = (published - against, (ours["mean"], ours["low"], ours["high"]))
    return figures.draw_gains(gains)


DRAWN: dict[str, Callable[[], Figure]] = {
    "draw_anchors": draw_anchors,
    "draw_assignments": draw_assignments,
    "draw_positives": lambda: explorer().figures()["picture"],
    "draw_comparison": draw_comparison,
    "draw_cost_maps": lambda: explorer().figures()["costs"],
    "draw_detections": draw_detections,
    "draw_errors": draw_errors,
    "draw_gains": draw_gains,
    "draw_history": draw_history,
    "draw_evaluated": draw_evaluated,
    "draw_levels": draw_levels,
    "draw_mixtures": lambda: explorer().figures()["teacher mixture"],
    "draw_precision_recall": draw_precision_recall,
    "draw_training": draw_training,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--svg", action="store_true", help="as .svg, too")
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
