"""Every figure has its reference picture, every picture that is linked to is there, and its words can be read."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lad import figures
from lad.errors import JudgedImage

PROJECT = Path(__file__).parents[1]
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
    spec = importlib.util.spec_from_file_location("make_figures", PROJECT / "docs" / "make_figures.py")
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
    one = JudgedImage(np.zeros((100, 100, 3), np.uint8), boxes, ["correct"] * 4, texts, "")
    figure = figures.draw_judged([one])
    figure.canvas.draw()
    places = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(place.overlaps(other) for i, place in enumerate(places) for other in places[:i])
    tops = [text.get_position()[1] for text in figure.axes[0].texts]
    assert (tops[0], tops[3]) == (11, 71)  # the first of them, and whoever is alone, stay in their corner
