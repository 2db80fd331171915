"""The figure of augmentations shows every one of them, for any data set."""

import dataclasses
from pathlib import Path

from PIL import Image
from project_scripts import load_script

from lad.data.augmentation import AUGMENTATIONS

PROJECT = Path(__file__).parents[2]
FIGURE = PROJECT / "docs" / "figures" / "augmentation.png"


def test_the_script_draws_every_augmentation_of_three_images(shapes):
    script = load_script("make_augmentation_figure")
    figure = script.draw(shapes, [0, 1, 2])
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert {title.split(":")[0] for title in titles if title} == {"original", *AUGMENTATIONS}
    assert len(figure.axes) == 3 * (1 + len(AUGMENTATIONS)) and all(ax.images for ax in figure.axes)


def test_the_committed_figure_is_a_small_file():
    assert FIGURE.stat().st_size < 400_000
    with Image.open(FIGURE) as image:
        assert image.width >= 600


def test_the_page_lists_every_augmentation_with_its_options_and_defaults():
    page = (PROJECT / "docs" / "augmentation.md").read_text()
    for name, options in AUGMENTATIONS.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        for option, default in dataclasses.asdict(options()).items():
            assert f"`{option}` {default}" in row
