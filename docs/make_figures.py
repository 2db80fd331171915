"""Draws the reference pictures of docs/figures, one for each figure of lad.figures: `make figures`.

python docs/make_figures.py [--svg]

They show the toy runs of `make run`, which it trains if they are missing, and results/. --svg: as .svg, too.
"""

import argparse
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from matplotlib.figure import Figure

from lad import figures
from lad.data import Batch, CocoDataset, collate
from lad.evaluation import precision_recall
from lad.examination import Examination, error_table, examine, judged_images
from lad.experiment import compare, open_data
from lad.explain import Opinion, detections_of, first_images, opinion, positives_per_level
from lad.explorer import Explorer, explore
from lad.figures.style import to_image
from lad.lesson import open_picture
from lad.look import make_look
from lad.models import Detector
from lad.parameters import make_parameters
from lad.question import make_question
from lad.runs import Run

FOLDER = Path(__file__).parent / "figures"
RESULTS = Path(__file__).parents[1] / "results" / "toy" / "table2_soft_label_vs_lad.json"
PARAMETERS = make_parameters({"teacher": "r101"})
# Of the validation set, images
ASSIGNED = (118, 195)  # with small and large objects that overlap, few of them in a network's colour
DETECTED = (98, 174)  # with few detections, and one student's mistake in each
JUDGED = (72, 107, 27, 63)  # with four kinds of mistakes
# and an image and an object of it
ANCHORED = (188, 1)  # too large for P3, too small for P5
EXPLORED = (118, 0)  # claimed by the student, the teacher, and both, whose positives are clearly cheaper

RESOLUTION = 144  # dots per inch
COLOURS = 255  # of a picture, which makes its file a third as large


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
def judgements(images: tuple[int, ...]) -> tuple[Batch, dict[str, Opinion]]:
    """Validation images, and what the networks say of them."""
    batch = collate([pictures()[index] for index in images])
    return batch, {name: opinion(detector(name), batch) for name in runs()}


@cache
def explorer() -> Explorer:
    image, gt = EXPLORED
    return explore(make_look({"run": runs()["LAD student"].folder.name, "image": image, "gt": gt}))


@cache
def examination() -> Examination:
    return examine(make_question({"checkpoint": str(runs()["LAD student"].folder)}))


def draw_assignments() -> Figure:
    batch, opinions = judgements(ASSIGNED)
    return figures.draw_assignments(batch.images, batch.targets, opinions)


def draw_levels() -> Figure:
    many = first_images(pictures(), count=24)
    return figures.draw_levels(positives_per_level({name: opinion(detector(name), many) for name in runs()}))


def draw_anchors() -> Figure:
    image, gt = ANCHORED
    batch, anchors = open_picture(pictures(), image)
    return figures.draw_anchors(batch.images[0], batch.targets, anchors, gt, levels=range(3), margin=0.6)


def draw_history() -> Figure:
    scene = explorer().scene
    anchors, history = scene.opinions["student"].anchors, explorer().by_epoch()
    return figures.draw_history(scene.picture, scene.batch.targets, anchors, history, scene.gt, columns=4)


def draw_training() -> Figure:
    return figures.draw_training({name: run.epochs for name, run in runs().items()})


def draw_detections() -> Figure:
    batch, opinions = judgements(DETECTED)
    found = {name: detections_of(one, batch) for name, one in opinions.items()}
    return figures.draw_detections(batch.images, batch.targets, found, pictures().annotations.class_names)


def draw_judged() -> Figure:
    return figures.draw_judged(judged_images(examination(), JUDGED))


def draw_errors() -> Figure:
    return figures.draw_errors(error_table(examination()))


def draw_precision_recall() -> Figure:
    judged = examination().judged
    assert judged is not None  # the toy set has its gts
    return figures.draw_precision_recall(precision_recall(judged))


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
    "draw_claims": lambda: explorer().figures()["picture"],
    "draw_comparison": draw_comparison,
    "draw_cost_maps": lambda: explorer().figures()["costs"],
    "draw_detections": draw_detections,
    "draw_errors": draw_errors,
    "draw_gains": draw_gains,
    "draw_history": draw_history,
    "draw_judged": draw_judged,
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
        few_colours = to_image(figure, RESOLUTION).quantize(COLOURS, kmeans=2)
        few_colours.save(path, optimize=True)
        if given.svg:
            figure.savefig(path.with_suffix(".svg"))
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    explorer().save_film(FOLDER / "history.gif")


if __name__ == "__main__":
    main()
