"""Every figure has a reference image in docs/figures, and every linked image exists."""

import re
from pathlib import Path

import pytest
from PIL import Image
from project_scripts import load_script

from lad import figures
from lad.config.experiment import make_parameters

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "docs" / "figures"
DRAWN = [name for name in figures.__all__ if name.startswith("draw_")]
PAGES = [PROJECT / "README.md", PROJECT / "benchmarks" / "README.md", *(PROJECT / "docs").rglob("*.md")]


@pytest.mark.parametrize("name", DRAWN)
def test_every_figure_has_an_image_and_a_description(name):
    image_name = f"{name.removeprefix('draw_')}.png"
    (line,) = re.findall(rf"^\|.*`{name}`.*\|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert f"({image_name})" in line
    with Image.open(FOLDER / image_name) as image:
        assert image.width >= 600 and image.height >= 150


def test_the_script_draws_all_figures():
    script = load_script("make_figures")
    assert sorted([*script.DRAWN, *script.FROM_RESULTS]) == sorted(DRAWN)


@pytest.mark.parametrize("name", ["draw_comparison", "draw_gains", "draw_teacher_quality", "draw_verdicts"])
def test_a_figure_of_results_shows_the_committed_ones(name):
    """After new results: `make results`."""
    script = load_script("make_figures")
    with Image.open(FOLDER / f"{name.removeprefix('draw_')}.png") as image:
        assert image.text["data"] == script.as_text(script.FROM_RESULTS[name]())


def test_the_verdicts_are_all_those_in_short_and_positive_as_claimed():
    script = load_script("make_figures")
    text = (PROJECT / "docs" / "findings.md").read_text(encoding="utf-8").partition("\n## In short\n")[2]
    listed = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("| ")][2:]
    drawn = script.verdicts()
    assert len(drawn) == len(listed)
    for line, (claim, verdict, (mean, low, high)) in zip(listed, drawn, strict=True):
        assert line.startswith(f"| {claim} | {verdict} |") and low < mean < high
        assert verdict != "supported" or low > 0
        assert verdict != "contradicted" or high < 0


def test_the_animation_has_a_frame_for_every_epoch():
    with Image.open(FOLDER / "history.gif") as animation:
        assert animation.n_frames == 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_linked_images_exist(page):
    for target in re.findall(r"!\[[^]]*\]\((?!https?:)([^)]+)\)", page.read_text()):
        assert (page.parent / target).is_file(), target


def test_images_are_small_files():
    sizes = {path.stem: path.stat().st_size for path in FOLDER.glob("*.png")}
    assert max(sizes[name.removeprefix("draw_")] for name in DRAWN) < 200_000
    assert (FOLDER / "history.gif").stat().st_size < 400_000
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2_000_000


@pytest.mark.slow
def test_every_figure_of_runs_can_be_drawn(tmp_path, monkeypatch):
    """Of networks that have hardly trained, on the images of the reference figures."""
    script = load_script("make_figures")
    small = {"teacher": "r18", "student": "r18", "width": 0.125, "teacher_width": 0.125}
    short = {"epochs": 1, "teacher_epochs": 1, "train_images": 8}
    monkeypatch.setattr(script, "PARAMETERS", make_parameters({**small, **short, "out": str(tmp_path)}))
    for name, draw in script.DRAWN.items():
        script.save(draw(), tmp_path / f"{name}.png")
