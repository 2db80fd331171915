"""Every figure has its reference picture, every picture that is linked to is there, and its words can be read."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from lad import figures
from lad.evaluation.error_analysis import EvaluatedImage
from lad.figures.detection import MAX_LABELS

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "docs" / "figures"
DRAWN = [name for name in figures.__all__ if name.startswith("draw_")]
PAGES = [PROJECT / "README.md", PROJECT / "benchmarks" / "README.md", *(PROJECT / "docs").rglob("*.md")]


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_has_a_picture_and_a_line_that_says_what_it_shows(name):
    picture = f"{name.removeprefix('draw_')}.png"
    (line,) = re.findall(rf"^\|.*`{name}`.*\|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert f"({picture})" in line
    with Image.open(FOLDER / picture) as image:
        assert image.width >= 600 and image.height >= 150


def test_one_command_draws_all_of_them():
    spec = importlib.util.spec_from_file_location("make_figures", PROJECT / "scripts" / "make_figures.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert sorted(script.DRAWN) == sorted(DRAWN)


def test_the_film_has_a_picture_for_every_epoch():
    with Image.open(FOLDER / "history.gif") as film:
        assert film.n_frames == 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_pictures_that_are_linked_to_are_there(page):
    for target in re.findall(r"!\[[^]]*\]\((?!https?:)([^)]+)\)", page.read_text()):
        assert (page.parent / target).is_file(), target


def test_pictures_are_quick_to_fetch():
    sizes = {path.stem: path.stat().st_size for path in FOLDER.glob("*.png")}
    assert max(sizes[name.removeprefix("draw_")] for name in DRAWN) < 200_000
    assert (FOLDER / "history.gif").stat().st_size < 400_000
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2_000_000


def test_names_of_boxes_in_one_corner_do_not_hide_each_other():
    boxes = [[10, 10, 90, 90], [11, 10, 80, 80], [25, 12, 70, 60], [10, 70, 40, 90]]
    texts = [f"{name} 0.50" for name in ("triangle", "square", "circle", "star")]
    one = EvaluatedImage(np.zeros((100, 100, 3), np.uint8), boxes, ["correct"] * 4, texts, "")
    figure = figures.draw_evaluated([one])
    FigureCanvasAgg(figure).draw()
    places = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(place.overlaps(other) for i, place in enumerate(places) for other in places[:i])
    for text, box in ((figure.axes[0].texts[index], boxes[index]) for index in (0, 3)):
        assert text.get_position() == pytest.approx(box[:2], abs=1)  # the first, and whoever is alone, in their corner


def test_names_at_the_edge_of_a_picture_stay_within_it():
    boxes = [[0, 0, 99, 99], [92, 2, 100, 30], [80, 96, 100, 100], [-5, 40, 20, 60]]
    texts = ["hippopotamus", "hippopotamus 0.53", "triangle 0.50", "WWWWWWW 0.99"]
    one = EvaluatedImage(np.zeros((100, 100, 3), np.uint8), boxes, ["correct"] * 4, texts, "")
    figure = figures.draw_evaluated([one])
    FigureCanvasAgg(figure).draw()
    (ax,) = (ax for ax in figure.axes if ax.texts)
    edge = ax.get_window_extent()
    for place in (text.get_window_extent() for text in ax.texts):
        assert edge.x0 - 1 <= place.x0 and place.x1 <= edge.x1 + 1
        assert edge.y0 - 1 <= place.y0 and place.y1 <= edge.y1 + 1


def test_the_names_of_many_boxes_do_not_hide_each_other():
    """As many as are named at all, in a picture as small as any."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        corner = rng.uniform(0, 60, (MAX_LABELS, 2))
        boxes = np.hstack([corner, corner + rng.uniform(20, 40, (MAX_LABELS, 2))]).tolist()
        one = EvaluatedImage(
            np.zeros((100, 100, 3), np.uint8), boxes, ["correct"] * MAX_LABELS, ["square 0.55"] * MAX_LABELS, ""
        )
        figure = figures.draw_evaluated([one] * 5)
        FigureCanvasAgg(figure).draw()
        places = [text.get_window_extent() for text in figure.axes[0].texts]
        assert len(places) == MAX_LABELS
        assert not any(place.overlaps(other) for i, place in enumerate(places) for other in places[:i])
