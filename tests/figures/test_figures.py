"""Figures draw what they are given: checked on the artists, not on pixels."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lad import figures
from lad.analysis.assignment import agreement, analyze, detections_of, first_images, positives_per_level
from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset, find_split
from lad.data.synthetic.shapes import write_shapes
from lad.data.transforms import IMAGENET_MEAN, eval_transform
from lad.evaluation.error_analysis import ERROR_TYPES, SIZES, EvaluatedImage
from lad.figures.detection import KIND_COLORS
from lad.figures.style import PAGE
from lad.models.detector import build_detector
from lad.structures import Detections


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, "toy", {"train": 1, "val": 6})
    images, path = find_split(folder, "val")
    batch = first_images(CocoDataset(images, read_annotations(path), eval_transform(128, 128)), 2)
    torch.manual_seed(0)
    names = ("plain student", "teacher", "LAD student")
    return batch, {name: analyze(build_detector("r18", 6, width=0.25, channels=64), batch) for name in names}


def drawn(figure: Figure) -> Figure:
    FigureCanvasAgg(figure).draw()  # fails on what cannot be drawn
    return figure


def dots(ax) -> list[tuple[float, float, str]]:
    return [(*c.get_offsets()[0].tolist(), to_hex(c.get_facecolor()[0]).upper()) for c in ax.collections]


def test_every_positive_is_a_dot_at_its_location_and_every_gt_has_its_number(scene):
    batch, analyses = scene
    figure = drawn(figures.draw_assignments(batch.images, batch.targets, analyses))
    axes = np.array(figure.axes).reshape(2, 4)
    for row in range(2):
        for column, one in enumerate(analyses.values()):
            ax = axes[row, column]
            expected = one.anchors.center[one.gt_index[row] >= 0].tolist()
            assert sorted([x, y] for x, y, _ in dots(ax)) == sorted(expected)
            numbers = [int(text.get_text()) for text in ax.texts]
            gts = (batch.targets.image == row).nonzero().flatten().tolist()
            assert numbers == [int((one.gt_index[row] == gt).sum()) for gt in gts]


def test_the_last_column_shows_who_agrees_in_the_colors_of_the_legend(scene):
    batch, analyses = scene
    figure = drawn(figures.draw_assignments(batch.images, batch.targets, analyses))
    own, taught = (analyses[name].gt_index[0] for name in ("plain student", "teacher"))
    colors = [color for *_, color in dots(np.array(figure.axes).reshape(2, 4)[0, 3])]
    both = int(((own >= 0) & (own == taught)).sum())
    assert colors.count(figures.BOTH) == both
    assert colors.count(figures.STUDENT) == int((own >= 0).sum()) - both
    assert colors.count(figures.TEACHER) == int((taught >= 0).sum()) - both
    labels = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert labels == {"P3", "P4", "P5", "P6", "P7", "plain student only", "teacher only", "both"}
    title = " ".join(figure.axes[3].get_title().split())
    assert title == f"plain student and teacher: {agreement(own, taught):.0%} agree"


def test_the_panels_of_a_single_picture_stand_two_by_two(scene):
    batch, analyses = scene
    here = batch.targets.image == 0
    alone = dataclasses.replace(
        batch.targets,
        boxes=batch.targets.boxes[here],
        labels=batch.targets.labels[here],
        image=batch.targets.image[here],
        image_hw=batch.targets.image_hw[:1],
    )
    two = {name: analyses[name] for name in ("plain student", "teacher")}
    figure = drawn(figures.draw_assignments(batch.images[:1], alone, two))
    places = [(round(ax.get_position().x0, 2), round(ax.get_position().y1, 2)) for ax in figure.axes]
    assert len(places) == 3 and places[0][1] == places[1][1] > places[2][1] and places[0][0] == places[2][0]


def test_without_a_teacher_there_is_nothing_to_agree_with(scene):
    batch, analyses = scene
    alone = {"plain student": analyses["plain student"]}
    assert len(drawn(figures.draw_assignments(batch.images, batch.targets, alone)).axes) == 2


def test_a_mixture_shows_every_candidate_and_the_cut(scene):
    _, analyses = scene
    gt = 0
    figure = drawn(figures.draw_mixtures(analyses, gt, "circle"))
    for ax, one in zip(figure.axes, analyses.values(), strict=True):
        assert sum(patch.get_data().values.sum() for patch in ax.patches) == one.count[gt]
        cut = one.cost[gt][one.positive[gt]].max().item()
        assert any(np.allclose(line.get_xdata(), cut) for line in ax.lines)
        assert f"{int(one.positive[gt].sum())} positive" in ax.get_legend_handles_labels()[1]


def test_a_gt_with_one_candidate_can_be_drawn(scene):
    _, analyses = scene
    one = analyses["teacher"]
    lone = dataclasses.replace(
        one, count=torch.ones_like(one.count), positive=torch.arange(45).eq(0).expand_as(one.positive)
    )
    drawn(figures.draw_mixtures({"teacher": lone}, 0))


def test_levels_are_bars_of_the_given_heights(scene):
    _, analyses = scene
    per_level = positives_per_level(analyses)
    (ax,) = drawn(figures.draw_levels(per_level)).axes
    assert [patch.get_height() for patch in ax.patches] == [value for values in per_level.values() for value in values]


def test_training_draws_ap_only_where_it_was_evaluated():
    epochs = [
        {"epoch": 1, "cls": 1.0, "box": 0.5, "positives_per_gt": 5.0},
        {"epoch": 2, "cls": 0.8, "box": 0.4, "positives_per_gt": 6.0, "AP": 0.3},
    ]
    figure = drawn(figures.draw_training({"teacher": epochs, "plain student": epochs[:1]}))
    assert [list(line.get_xdata()) for line in figure.axes[0].lines] == [[1, 2], [1]]
    assert [list(line.get_ydata()) for line in figure.axes[3].lines] == [[0.3]]
    assert figure.axes[0].lines[0].get_color() == figures.TEACHER


def test_training_draws_any_logged_numbers_in_one_color_per_row_of_a_table():
    epochs = {
        name: [{"epoch": 1, "agreement": share}] for name, share in zip("abcd", (0.1, 0.2, 0.3, 0.4), strict=True)
    }
    figure = drawn(figures.draw_training(epochs, {"agreement": "agreement with what it learns"}))
    (ax,) = figure.axes
    assert ax.get_title() == "agreement with what it learns" and ax.get_ylim()[0] == 0
    assert [line.get_ydata()[0] for line in ax.lines] == [0.1, 0.2, 0.3, 0.4]
    assert len({line.get_color() for line in ax.lines}) == 4
    (legend,) = figure.legends  # four names do not fit into the panel
    assert [text.get_text() for text in legend.get_texts()] == list("abcd")


def test_what_was_not_logged_is_said():
    ax, empty = drawn(figures.draw_training({"a": [{"epoch": 1, "cls": 1.0}]}, {"cls": "loss", "cost": "cost"})).axes
    assert not ax.texts and [text.get_text() for text in empty.texts] == ["not logged"]


def test_a_comparison_shows_every_seed_its_mean_and_what_was_not_run():
    (ax,) = drawn(figures.draw_comparison({"baseline": [60.0, 62.0], "LAD": []})).axes
    seeds, mean = ax.lines
    assert list(seeds.get_xdata()) == [60, 62] and list(seeds.get_ydata()) == [0, 0]
    assert set(mean.get_xdata()) == {61}
    assert [text.get_text() for text in ax.texts] == ["61.0", "not run"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["baseline", "LAD"]


def test_a_comparison_of_fractions_has_three_decimals():
    (ax,) = drawn(figures.draw_comparison({"baseline": [0.6, 0.62]}, unit="AP")).axes
    assert [text.get_text() for text in ax.texts] == ["0.610"] and ax.get_xlabel() == "AP"


def test_a_name_with_dollars_is_drawn_as_it_is():
    name = r"$\frac{ costs $5"
    (ax,) = drawn(figures.draw_comparison({name: [60.0]})).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == [name]
    drawn(figures.draw_training({name: [{"epoch": 1, "cls": 1.0}]}))
    drawn(figures.draw_gains({name: (1.0, None)}))


def test_no_figure_is_wider_than_a_page_however_much_it_shows(scene):
    """So that its letters can be read where a notebook has room for 600 pixels."""
    batch, analyses = scene
    found = {name: detections_of(one, batch) for name, one in analyses.items()}
    epochs = [{"epoch": 1, "cls": 1.0}]
    wide = [
        figures.draw_assignments(batch.images, batch.targets, analyses),
        figures.draw_mixtures(analyses, 0, "circle"),
        figures.draw_detections(batch.images, batch.targets, found, ["a"] * 6),
        figures.draw_training({"a": epochs}, {key: key for key in "abcde"}),
        figures.draw_gains({"LAD": (1.0, None)}),
        figures.draw_evaluated([EvaluatedImage(np.zeros((60, 80, 3), np.uint8), [], [], [], "")] * 8),
    ]
    for figure in wide:
        assert figure.get_figwidth() <= PAGE + 1e-9
        points = 600 / 96 / figure.get_figwidth()  # of the page, to one of the figure
        titles = [ax.title for ax in drawn(figure).axes if ax.get_title()]
        assert all(title.get_fontsize() * points > 8 for title in titles)


def test_titles_of_narrow_panels_do_not_meet(scene):
    batch, analyses = scene
    figure = drawn(figures.draw_assignments(batch.images, batch.targets, analyses))
    places = [ax.title.get_window_extent() for ax in figure.axes if ax.get_title()]
    assert not any(place.overlaps(other) for i, place in enumerate(places) for other in places[:i])
    page = figure.bbox
    assert all(page.x0 <= place.x0 and place.x1 <= page.x1 and place.y1 <= page.y1 for place in places)


def test_gains_show_what_was_published_and_what_was_found_with_its_interval():
    gains = {"LAD": (1.2, (4.2, 3.9, 4.6)), "published only": (0.9, None), "found only": (None, (1.0, 1.0, 1.0))}
    (ax,) = drawn(figures.draw_gains(gains)).axes
    _zero, *marks = ax.lines
    drawn_points = [(list(line.get_xdata()), list(line.get_ydata())) for line in marks]
    assert drawn_points == [
        ([1.2], [0]),
        ([3.9, 4.6], [0, 0]),
        ([4.2], [0]),
        ([0.9], [1]),
        ([1, 1], [2, 2]),
        ([1], [2]),
    ]


def test_detections_below_the_threshold_are_not_drawn(scene):
    batch, _ = scene
    boxes = torch.tensor([[10.0, 10, 50, 50], [20.0, 20, 60, 60]])
    found = [Detections(boxes, torch.tensor([0.9, 0.1]), torch.tensor([0, 1]))] * 2
    names = ["circle", "square", "triangle", "star", "cross", "ring"]
    figure = drawn(figures.draw_detections(batch.images, batch.targets, {"teacher": found}, names))
    truth, teacher = figure.axes[0], figure.axes[1]
    assert len(truth.patches) == int((batch.targets.image == 0).sum())
    assert [text.get_text() for text in teacher.texts] == ["circle 0.90"]


def test_an_image_without_detections_or_gts_can_be_drawn(scene):
    batch, analyses = scene
    empty = dataclasses.replace(
        batch.targets,
        boxes=batch.targets.boxes[:0],
        labels=batch.targets.labels[:0],
        image=batch.targets.image[:0],
    )
    found = {"teacher": detections_of(analyses["teacher"], batch)}
    drawn(figures.draw_detections(batch.images, empty, found, ["a"] * 6, min_score=1.1))


def test_a_picture_is_the_image_before_normalization():
    picture = figures.to_picture(torch.zeros(3, 2, 2))
    np.testing.assert_allclose(picture[0, 0], IMAGENET_MEAN, rtol=1e-6)


def test_every_judged_box_has_the_color_of_what_it_is_and_what_was_missed_is_dashed():
    kinds = ["correct", "classification", "missed"]
    boxes = [[0, 0, 10, 10], [5, 5, 20, 20], [30, 10, 50, 40]]
    one = EvaluatedImage(
        np.zeros((60, 80, 3), np.uint8), boxes, kinds, ["a 0.90", "b 0.60", "c"], "1 correct · 1 missed"
    )
    (ax,) = (ax for ax in drawn(figures.draw_evaluated([one])).axes if ax.patches)
    assert [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in ax.patches] == [
        (0, 0, 10, 10), (5, 5, 15, 15), (30, 10, 20, 30),
    ]  # fmt: skip
    assert [to_hex(patch.get_edgecolor()).upper() for patch in ax.patches] == [KIND_COLORS[kind] for kind in kinds]
    assert [patch.get_linestyle() for patch in ax.patches] == ["-", "-", "--"]
    assert [text.get_text() for text in ax.texts] == ["a 0.90", "b 0.60", "c"]
    assert ax.get_title() == "1 correct · 1 missed"


def test_errors_are_bars_by_size_and_what_each_kind_costs():
    table = pd.DataFrame({size: range(len(ERROR_TYPES)) for size in SIZES}, index=ERROR_TYPES)
    table["dAP50"] = [0.01 * (i + 1) for i in range(len(ERROR_TYPES))]
    left, right = drawn(figures.draw_errors(table)).axes
    assert [bar.get_width() for bar in left.patches] == [*range(len(ERROR_TYPES))] * len(SIZES)
    assert [bar.get_x() for bar in left.patches[len(ERROR_TYPES) :]] == [
        *range(len(ERROR_TYPES)), *(2 * i for i in range(len(ERROR_TYPES)))
    ]  # stacked  # fmt: skip
    np.testing.assert_allclose([bar.get_width() for bar in right.patches], 100 * table["dAP50"])
    assert [label.get_text() for label in right.get_yticklabels()] == list(ERROR_TYPES)


def test_precision_and_recall_are_a_line_for_each_iou_with_its_ap():
    curves = {0.5: np.linspace(1, 0, 101), 0.55: np.linspace(0.8, 0, 101)}
    (ax,) = drawn(figures.draw_precision_recall(curves)).axes
    for line, (iou, precision) in zip(ax.lines, curves.items(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), precision)
        np.testing.assert_allclose(line.get_xdata(), np.linspace(0, 1, 101))
        assert line.get_label() == f"{iou:.2f}: {precision.mean():.3f}"
