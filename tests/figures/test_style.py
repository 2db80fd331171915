"""Properties of all figures: width, colors, plain names, and their SVG for pages."""

import re
from xml.etree import ElementTree

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lad import figures
from lad.analysis.assignment import get_detections
from lad.data.transforms import IMAGENET_MEAN
from lad.evaluation.error_analysis import EvaluatedImage
from lad.figures.style import PAGE, series_colors


def render(figure: Figure) -> Figure:
    """Render the figure, which fails on what cannot be drawn."""
    FigureCanvasAgg(figure).draw()
    return figure


def test_denormalize_inverts_the_normalization():
    rgb = figures.denormalize(torch.zeros(3, 2, 2))
    np.testing.assert_allclose(rgb[0, 0], IMAGENET_MEAN, rtol=1e-6)


def test_no_figure_is_wider_than_a_page_and_its_titles_stay_legible(scene):
    """So that its letters can be read where a notebook has room for 600 pixels."""
    batch, analyses = scene
    detections = {name: get_detections(analysis, batch) for name, analysis in analyses.items()}
    epochs = [{"epoch": 1, "cls": 1.0}]
    wide = [
        figures.draw_assignments(batch.images, batch.targets, analyses),
        figures.draw_mixtures(analyses, 0, "circle"),
        figures.draw_detections(batch.images, batch.targets, detections, ["a"] * 6),
        figures.draw_training({"a": epochs}, {key: key for key in "abcde"}),
        figures.draw_gains({"LAD": (1.0, None)}),
        figures.draw_evaluated([EvaluatedImage(np.zeros((60, 80, 3), np.uint8), [], [], [], "")] * 8),
    ]
    for figure in wide:
        assert figure.get_figwidth() <= PAGE + 1e-9
        points = 600 / 96 / figure.get_figwidth()  # of the page, to one of the figure
        titles = [ax.title for ax in render(figure).axes if ax.get_title()]
        assert all(title.get_fontsize() * points > 8 for title in titles)


def test_a_name_with_dollars_is_not_a_formula():
    name = r"$\frac{ costs $5"
    (ax,) = render(figures.draw_comparison({name: [60.0]})).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == [name]
    render(figures.draw_training({name: [{"epoch": 1, "cls": 1.0}]}))
    render(figures.draw_gains({name: (1.0, None)}))


def test_series_keep_the_colors_of_known_rows_and_the_others_differ():
    colors = series_colors(["new", "LAD", "baseline", "newer"])
    assert (colors["LAD"], colors["baseline"]) == (figures.DISTILLED, figures.STUDENT)
    assert len(set(colors.values())) == 4


def test_rows_of_a_table_differ_even_if_one_is_the_plain_student():
    assert len(set(series_colors(["plain student", "LAD", "LAD + PKD", "teacher"]).values())) == 4
    networks = ["plain student", "teacher", "LAD student"]
    assert series_colors(networks) == {name: figures.network_color(name) for name in networks}


def test_an_svg_is_as_wide_as_its_container_and_not_wider_than_the_figure(scene):
    _, analyses = scene
    figure = figures.draw_mixtures({"student": analyses["plain student"]}, 0, "star")
    head = figures.to_svg(figure).split(">")[0]
    assert "viewBox=" in head and not re.search(r' (width|height)="', head)
    assert f"width: 100%; max-width: {4.6 * 96:.0f}px; height: auto" in head


def test_text_and_axes_of_an_svg_have_the_color_of_the_page(scene):
    _, analyses = scene
    svg = figures.to_svg(figures.draw_mixtures({"student": analyses["plain student"]}, 0, "star"))
    assert "fill: currentColor" in svg.split(">")[0]
    assert "#000000" not in svg and "stroke: currentColor" in svg
    texts = [element for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("}text")]
    assert "student: star" in ["".join(text.itertext()) for text in texts]
    title = next(text for text in texts if "".join(text.itertext()) == "student: star")
    assert "fill" not in title.get("style", "")
