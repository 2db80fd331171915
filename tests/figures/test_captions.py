"""Captions of images with many boxes, and names in any script."""

import warnings

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from lad import figures
from lad.evaluation.error_analysis import EvaluatedImage
from lad.figures import captions
from lad.figures.captions import CAPTIONS_PER_INCH, draw_captions
from lad.figures.detection import MAX_LABELS
from lad.figures.style import MAX_VECTOR_SHAPES, draw_boxes
from lad.structures import Detections, Targets

MISSING = "\U000f0042"  # of a private area, which no installed font has


def render(figure: Figure) -> Figure:
    """Render the figure; a warning, for example about a missing glyph, is an error."""
    with warnings.catch_warnings(action="error"):
        FigureCanvasAgg(figure).draw()
    return figure


def axes(width: float = 4.0):
    """Axes of an image of 800×600."""
    figure = Figure(figsize=(width, 0.75 * width))
    return figure.add_axes((0, 0, 1, 1), xlim=(0, 800), ylim=(600, 0))


def random_boxes(count: int) -> list[list[float]]:
    corners = np.random.default_rng(0).uniform(0, 500, (count, 2))
    sides = 5 + 80 * np.arange(count)[:, None] / count
    return np.hstack([corners, corners + sides]).tolist()


def test_up_to_a_number_every_box_has_its_caption():
    ax, count = axes(), 4 * CAPTIONS_PER_INCH
    draw_captions(ax, random_boxes(count), list(map(str, range(count))), ["black"] * count, 4.0)
    assert [text.get_text() for text in ax.texts] == list(map(str, range(count)))


def test_of_many_boxes_the_largest_have_a_caption_and_a_note_counts_them():
    ax, count = axes(), 1600
    draw_captions(ax, random_boxes(count), list(map(str, range(count))), ["black"] * count, 4.0)
    note, *shown = [text.get_text() for text in ax.texts]
    assert note == f"{len(shown)} of 1,600 labels shown" and 20 < len(shown) <= 4 * CAPTIONS_PER_INCH
    assert shown == [str(row) for row in reversed(range(count - len(shown), count))]
    render(ax.figure)
    places = [text.get_window_extent() for text in ax.texts]
    assert not any(place.overlaps(other) for i, place in enumerate(places) for other in places[:i])


def test_long_captions_of_many_boxes_leave_most_of_the_image_visible():
    ax, count = axes(), 300
    draw_captions(ax, random_boxes(count), ["a long name of a class: 12"] * count, ["black"] * count, 4.0)
    render(ax.figure)
    areas = [text.get_window_extent().width * text.get_window_extent().height for text in ax.texts]
    assert len(areas) > 5 and sum(areas) < 0.3 * ax.bbox.width * ax.bbox.height


def test_the_work_of_placing_is_bounded(monkeypatch):
    compared = []
    covered_shares = captions._covered_shares
    monkeypatch.setattr(
        captions, "_covered_shares", lambda places, taken: compared.append(len(places)) or covered_shares(places, taken)
    )
    totals = []
    for count in (400, 1600):
        compared.clear()
        draw_captions(axes(), random_boxes(count), ["7"] * count, ["black"] * count, 4.0, np.ones((10 * count, 3)))
        totals.append(sum(compared))
    assert totals[0] == totals[1] < (4 * CAPTIONS_PER_INCH) ** 2 * 4


def test_boxes_are_one_artist_and_very_many_are_an_image_in_an_svg():
    for count in (2, MAX_VECTOR_SHAPES + 1):
        ax = axes()
        draw_boxes(ax, random_boxes(count), "black")
        (boxes,) = ax.collections
        assert not ax.patches and len(boxes.get_paths()) == count
        assert bool(boxes.get_rasterized()) == (count > MAX_VECTOR_SHAPES)


def test_the_detections_of_the_highest_scores_have_a_caption():
    count = 200
    scores = torch.linspace(0.5, 1, count)
    detections = Detections(torch.tensor(random_boxes(count)), scores, torch.zeros(count).long())
    targets = Targets(
        torch.zeros(0, 4), torch.zeros(0).long(), torch.zeros(0).long(), torch.tensor([[600, 800]])
    )  # fmt: skip
    figure = figures.draw_detections(torch.zeros(1, 3, 600, 800), targets, {"student": [detections]}, ["a"])
    note, *shown = [text.get_text() for text in figure.axes[1].texts]
    assert note == f"{MAX_LABELS} of 200 labels shown" and shown == [
        f"a {score:.2f}" for score in scores.flip(0)[:MAX_LABELS].tolist()
    ]


@pytest.mark.parametrize("name", ["红色的方块", "سيارة", "🚗", f"a{MISSING}", "$x_1^{", "_private", "a\nb"])
def test_a_name_in_any_script_is_drawn_without_a_warning(name):
    pixels = np.zeros((60, 80, 3), np.uint8)
    render(figures.draw_evaluated([EvaluatedImage(pixels, [[0, 0, 9, 9]], ["correct"], [f"{name} 0.90"], name)]))
    render(figures.draw_comparison({name: [60.0]}))
    figure = render(figures.draw_training({name: [{"epoch": 1, "cls": 1.0}]}))
    assert len(figure.axes[0].get_legend().get_texts()) == 1
    assert not any(MISSING in text.get_text() for text in figure.findobj(Text))
