"""Figures of detections, checked on the artists."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lad import figures
from lad.analysis.assignment import get_detections
from lad.evaluation.error_analysis import ERROR_TYPES, SIZES, EvaluatedImage
from lad.figures.detection import KIND_COLORS, MAX_LABELS
from lad.structures import Detections


def render(figure: Figure) -> Figure:
    """Render the figure, which fails on what cannot be drawn."""
    FigureCanvasAgg(figure).draw()
    return figure


def test_detections_below_the_threshold_are_not_drawn(scene):
    batch, _ = scene
    boxes = torch.tensor([[10.0, 10, 50, 50], [20.0, 20, 60, 60]])
    detections = [Detections(boxes, torch.tensor([0.9, 0.1]), torch.tensor([0, 1]))] * 2
    names = ["circle", "square", "triangle", "star", "cross", "ring"]
    figure = render(figures.draw_detections(batch.images, batch.targets, {"teacher": detections}, names))
    truth, teacher = figure.axes[0], figure.axes[1]
    (boxes,) = truth.collections
    assert len(boxes.get_paths()) == int((batch.targets.image == 0).sum())
    assert [text.get_text() for text in teacher.texts] == ["circle 0.90"]


def test_an_image_without_detections_or_gts_can_be_drawn(scene):
    batch, analyses = scene
    empty = dataclasses.replace(
        batch.targets,
        boxes=batch.targets.boxes[:0],
        labels=batch.targets.labels[:0],
        image=batch.targets.image[:0],
    )
    detections = {"teacher": get_detections(analyses["teacher"], batch)}
    render(figures.draw_detections(batch.images, empty, detections, ["a"] * 6, min_score=1.1))


def test_every_box_has_the_color_of_its_kind_and_missed_objects_are_dashed():
    kinds = ["correct", "classification", "missed"]
    boxes = [[0, 0, 10, 10], [5, 5, 20, 20], [30, 10, 50, 40]]
    image = EvaluatedImage(
        np.zeros((60, 80, 3), np.uint8), boxes, kinds, ["a 0.90", "b 0.60", "c"], "1 correct · 1 missed"
    )
    (ax,) = (ax for ax in render(figures.draw_evaluated([image])).axes if ax.collections)
    (drawn,) = ax.collections
    assert [path.vertices[[0, 2]].ravel().tolist() for path in drawn.get_paths()] == boxes
    assert [to_hex(color).upper() for color in drawn.get_edgecolors()] == [KIND_COLORS[kind] for kind in kinds]
    assert [dashes is not None for _, dashes in drawn.get_linestyles()] == [False, False, True]
    assert [text.get_text() for text in ax.texts] == ["a 0.90", "b 0.60", "c"]
    assert ax.get_title() == "1 correct · 1 missed"


def test_without_images_the_figure_says_so():
    (message,) = render(figures.draw_evaluated([])).texts
    assert message.get_text() == "no image has a ground-truth object"


def test_captions_in_one_corner_do_not_hide_each_other():
    boxes = [[10, 10, 90, 90], [11, 10, 80, 80], [25, 12, 70, 60], [10, 70, 40, 90]]
    texts = [f"{name} 0.50" for name in ("triangle", "square", "circle", "star")]
    image = EvaluatedImage(np.zeros((100, 100, 3), np.uint8), boxes, ["correct"] * 4, texts, "")
    figure = figures.draw_evaluated([image])
    render(figure)
    places = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(place.overlaps(other) for i, place in enumerate(places) for other in places[:i])
    for text, box in ((figure.axes[0].texts[index], boxes[index]) for index in (0, 3)):
        assert text.get_position() == pytest.approx(box[:2], abs=1)  # in their own corner


def test_captions_at_the_edge_of_an_image_stay_within_it():
    boxes = [[0, 0, 99, 99], [92, 2, 100, 30], [80, 96, 100, 100], [-5, 40, 20, 60]]
    texts = ["hippopotamus", "hippopotamus 0.53", "triangle 0.50", "WWWWWWW 0.99"]
    image = EvaluatedImage(np.zeros((100, 100, 3), np.uint8), boxes, ["correct"] * 4, texts, "")
    figure = figures.draw_evaluated([image])
    render(figure)
    (ax,) = (ax for ax in figure.axes if ax.texts)
    edge = ax.get_window_extent()
    for place in (text.get_window_extent() for text in ax.texts):
        assert edge.x0 - 1 <= place.x0 and place.x1 <= edge.x1 + 1
        assert edge.y0 - 1 <= place.y0 and place.y1 <= edge.y1 + 1


def test_many_captions_do_not_hide_each_other():
    """As many captions as are drawn at all, in the smallest panel."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        corner = rng.uniform(0, 60, (MAX_LABELS, 2))
        boxes = np.hstack([corner, corner + rng.uniform(20, 40, (MAX_LABELS, 2))]).tolist()
        image = EvaluatedImage(
            np.zeros((100, 100, 3), np.uint8), boxes, ["correct"] * MAX_LABELS, ["square 0.55"] * MAX_LABELS, ""
        )
        figure = figures.draw_evaluated([image] * 5)
        render(figure)
        places = [text.get_window_extent() for text in figure.axes[0].texts]
        assert len(places) == MAX_LABELS
        assert not any(place.overlaps(other) for i, place in enumerate(places) for other in places[:i])


def test_errors_are_bars_by_size_and_by_dap50():
    table = pd.DataFrame({size: range(len(ERROR_TYPES)) for size in SIZES}, index=ERROR_TYPES)
    table["dAP50"] = [0.01 * (i + 1) for i in range(len(ERROR_TYPES))]
    left, right = render(figures.draw_errors(table)).axes
    assert [bar.get_width() for bar in left.patches] == [*range(len(ERROR_TYPES))] * len(SIZES)
    assert [bar.get_x() for bar in left.patches[len(ERROR_TYPES) :]] == [
        *range(len(ERROR_TYPES)), *(2 * i for i in range(len(ERROR_TYPES)))
    ]  # stacked  # fmt: skip
    np.testing.assert_allclose([bar.get_width() for bar in right.patches], 100 * table["dAP50"])
    assert [label.get_text() for label in right.get_yticklabels()] == list(ERROR_TYPES)


def test_precision_over_recall_is_a_line_for_each_iou_with_its_ap():
    curves = {0.5: np.linspace(1, 0, 101), 0.55: np.linspace(0.8, 0, 101)}
    (ax,) = render(figures.draw_precision_recall(curves)).axes
    for line, (iou, precision) in zip(ax.lines, curves.items(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), precision)
        np.testing.assert_allclose(line.get_xdata(), np.linspace(0, 1, 101))
        assert line.get_label() == f"{iou:.2f}: {precision.mean():.3f}"
