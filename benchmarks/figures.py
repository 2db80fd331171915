"""Measure how long each figure of one image takes with few and with many gts.

    python benchmarks/figures.py [--gts 10 100 300 1600] [--rounds 3] [--save FOLDER]

An image of random boxes; an untrained student and an untrained teacher. A figure's time includes its rendering, as PNG
or, in the explorer, as SVG; networks are not included, except in "another image".
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from matplotlib.figure import Figure
from measure import alternate, machine
from PIL import Image, ImageDraw

from lad import figures
from lad.analysis.assignment import analyze
from lad.analysis.positives import cost_map, find_positives
from lad.evaluation.error_analysis import EvaluatedImage
from lad.explorer.app import explore
from lad.explorer.config import make_explorer_config
from lad.explorer.widgets import Controls
from lad.figures.style import DPI, to_image
from lad.models.detector import build_detector
from lad.structures import Detections

HW = (600, 800)
NAMES = [f"class {number}" for number in range(80)]
KINDS = ("correct", "classification", "localization", "background", "duplicate", "missed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gts", type=int, nargs="+", default=[10, 100, 300, 1600])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", type=Path, help="folder to write the figures to, as PNG")
    given = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    for gts in given.gts:
        with TemporaryDirectory() as folder:
            write_data(Path(folder), gts)
            tasks = tasks_of(Path(folder))
            if given.save:
                save(tasks, given.save, gts)
            for name, times in alternate(tasks, given.rounds).items():
                seconds.setdefault(name, []).append(statistics.median(times))
    print(f"{machine()}\n")
    print(f"| seconds with this many gts | {' | '.join(map(str, given.gts))} |\n|---|{'---:|' * len(given.gts)}")
    for name, times in seconds.items():
        print(f"| {name} | {' | '.join(f'{time:.2f}' for time in times)} |")


def write_data(folder: Path, gts: int) -> None:
    """Write a data set of one image of colored boxes, used for training and validation; more of them are smaller."""
    rng, picture = np.random.default_rng(gts), Image.new("RGB", HW[::-1], (150, 155, 150))
    sides = np.minimum(200, rng.uniform(0.4, 1.2, (gts, 2)) * (HW[0] * HW[1] / gts) ** 0.5).round()
    corners = (rng.uniform(0, 1, (gts, 2)) * (np.array(HW[::-1]) - sides)).round()
    boxes = np.hstack([corners, sides]).tolist()
    for x, y, width, height in boxes:
        color = tuple(rng.integers(60, 220, 3).tolist())
        ImageDraw.Draw(picture).rectangle((x, y, x + width - 1, y + height - 1), fill=color)
    annotations = [
        {"id": row + 1, "image_id": 1, "category_id": row % len(NAMES) + 1, "bbox": box, "area": box[2] * box[3]}
        | {"iscrowd": 0}
        for row, box in enumerate(boxes)
    ]
    document = {
        "images": [{"id": 1, "file_name": "1.png", "height": HW[0], "width": HW[1]}],
        "annotations": annotations,
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(NAMES)],
    }
    (folder / "annotations").mkdir()
    for split in ("train", "val"):
        (folder / split).mkdir()
        picture.save(folder / split / "1.png")
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))


def tasks_of(folder: Path) -> dict[str, Callable[[], object]]:
    """Return a task for each figure of the data set's image."""
    torch.manual_seed(0)
    config = make_explorer_config({"run": "untrained", "data": str(folder), "out": str(folder / "runs")})
    explorer = explore(config)
    controls, view = Controls(explorer), explorer.view
    images, targets, student = view.batch.images, view.batch.targets, view.analyses["student"]
    teacher = analyze(build_detector("r18", len(NAMES), width=0.25, channels=64), view.batch)
    analyses, anchors = {"student": student, "teacher": teacher}, student.anchors
    positives = find_positives("each", analyses, targets)
    boxes = targets.boxes + torch.randn(len(targets.boxes), 4)
    detections = Detections(boxes, torch.linspace(1, 0.5, len(boxes)), targets.labels)
    kinds = [KINDS[row % len(KINDS)] for row in range(len(boxes))]
    texts = [f"{NAMES[label]} 0.90" for label in targets.labels.tolist()]
    resized = Image.fromarray(view.pixels).resize(targets.image_hw[0].flip(0).tolist())
    evaluated = EvaluatedImage(np.asarray(resized), boxes.tolist(), kinds, texts, f"{len(boxes)} boxes")
    history = {f"epoch {epoch}": positives for epoch in range(4)}
    costs = {name: cost_map(analysis, targets, 0) for name, analysis in analyses.items()}
    names = [f"{NAMES[label]} {row}" for row, label in enumerate(targets.labels.tolist())]

    def another_object() -> None:
        controls._change(lambda: {"gt": (explorer.view.gt + 1) % len(targets.boxes)})

    def another_image() -> None:
        explorer.session.analysis_cache.clear()
        explorer.session.image_cache.clear()
        controls._change(lambda: {"image": 0, "gt": None})

    drawn: dict[str, Callable[[], Figure]] = {
        "draw_assignments": lambda: figures.draw_assignments(images, targets, analyses),
        "draw_detections": lambda: figures.draw_detections(images, targets, {"student": [detections]}, NAMES),
        "draw_evaluated": lambda: figures.draw_evaluated([evaluated]),
        "draw_positives": lambda: figures.draw_positives(view.pixels, targets, anchors, positives, 0, names),
        "draw_history, 4 panels": lambda: figures.draw_history(images[0], targets, anchors, history),
        "draw_cost_maps": lambda: figures.draw_cost_maps(costs, anchors, targets, 0, positives),
        "draw_anchors": lambda: figures.draw_anchors(images[0], targets, anchors, 0),
        "draw_mixtures": lambda: figures.draw_mixtures(analyses, 0, names[0]),
    }
    tasks: dict[str, Callable[[], object]] = {
        name: lambda draw=draw: to_image(draw(), DPI) for name, draw in drawn.items()
    }
    return tasks | {"explorer: another object": another_object, "explorer: another image": another_image}


def save(tasks: dict[str, Callable[[], object]], folder: Path, gts: int) -> None:
    """Save the figures as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, task in tasks.items():
        picture = task()
        if isinstance(picture, Image.Image):
            picture.save(folder / f"{name.split(',')[0]}-{gts}.png")


if __name__ == "__main__":
    main()
