"""Figures of assignments, checked on the artists."""

import dataclasses

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lad import figures
from lad.analysis.assignment import agreement, positives_per_level
from lad.assigners import PAA


def render(figure: Figure) -> Figure:
    """Render the figure, which fails on what cannot be drawn."""
    FigureCanvasAgg(figure).draw()
    return figure


def dots(ax) -> list[tuple[float, float, str]]:
    scatters = [collection for collection in ax.collections if isinstance(collection, PathCollection)]
    return [
        (*offset, to_hex(scatter.get_facecolor()[0]).upper())
        for scatter in scatters
        for offset in scatter.get_offsets().tolist()
    ]


def test_every_positive_is_a_dot_at_its_location_and_every_gt_has_its_count(scene):
    batch, analyses = scene
    figure = render(figures.draw_assignments(batch.images, batch.targets, analyses))
    axes = np.array(figure.axes).reshape(2, 4)
    for row in range(2):
        for column, analysis in enumerate(analyses.values()):
            ax = axes[row, column]
            expected = analysis.anchors.center[analysis.gt_index[row] >= 0].tolist()
            assert sorted([x, y] for x, y, _ in dots(ax)) == sorted(expected)
            numbers = [int(text.get_text()) for text in ax.texts]
            gts = (batch.targets.image == row).nonzero().flatten().tolist()
            assert numbers == [int((analysis.gt_index[row] == gt).sum()) for gt in gts]


def test_the_last_column_shows_the_agreement_in_the_colors_of_the_legend(scene):
    batch, analyses = scene
    figure = render(figures.draw_assignments(batch.images, batch.targets, analyses))
    student, teacher = (analyses[name].gt_index[0] for name in ("plain student", "teacher"))
    colors = [color for *_, color in dots(np.array(figure.axes).reshape(2, 4)[0, 3])]
    both = int(((student >= 0) & (student == teacher)).sum())
    assert colors.count(figures.BOTH) == both
    assert colors.count(figures.STUDENT) == int((student >= 0).sum()) - both
    assert colors.count(figures.TEACHER) == int((teacher >= 0).sum()) - both
    labels = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert labels == {"P3", "P4", "P5", "P6", "P7", "plain student only", "teacher only", "both"}
    title = " ".join(figure.axes[3].get_title().split())
    assert title == f"plain student and teacher: {agreement(student, teacher):.0%} agree"


def test_the_panels_of_a_single_image_stand_two_by_two(scene):
    batch, analyses = scene
    in_first = batch.targets.image == 0
    single = dataclasses.replace(
        batch.targets,
        boxes=batch.targets.boxes[in_first],
        labels=batch.targets.labels[in_first],
        image=batch.targets.image[in_first],
        image_hw=batch.targets.image_hw[:1],
    )
    two = {name: analyses[name] for name in ("plain student", "teacher")}
    figure = render(figures.draw_assignments(batch.images[:1], single, two))
    places = [(round(ax.get_position().x0, 2), round(ax.get_position().y1, 2)) for ax in figure.axes]
    assert len(places) == 3 and places[0][1] == places[1][1] > places[2][1] and places[0][0] == places[2][0]


def test_without_a_teacher_there_is_no_agreement_column(scene):
    batch, analyses = scene
    alone = {"plain student": analyses["plain student"]}
    assert len(render(figures.draw_assignments(batch.images, batch.targets, alone)).axes) == 2


def test_titles_of_narrow_panels_do_not_overlap(scene):
    batch, analyses = scene
    figure = render(figures.draw_assignments(batch.images, batch.targets, analyses))
    places = [ax.title.get_window_extent() for ax in figure.axes if ax.get_title()]
    assert not any(place.overlaps(other) for i, place in enumerate(places) for other in places[:i])
    page = figure.bbox
    assert all(page.x0 <= place.x0 and place.x1 <= page.x1 and place.y1 <= page.y1 for place in places)


def test_a_mixture_shows_every_candidate_and_the_cut(scene):
    _, analyses = scene
    gt = 0
    figure = render(figures.draw_mixtures(analyses, gt, "circle"))
    for ax, analysis in zip(figure.axes, analyses.values(), strict=True):
        assert sum(patch.get_data().values.sum() for patch in ax.patches) == analysis.count[gt]
        cut = analysis.cost[gt][analysis.positive[gt]].max().item()
        assert any(np.allclose(line.get_xdata(), cut) for line in ax.lines)
        assert f"{int(analysis.positive[gt].sum())} positive" in ax.get_legend_handles_labels()[1]


def test_a_gt_with_one_candidate_can_be_drawn(scene):
    _, analyses = scene
    analysis = analyses["teacher"]
    lone = dataclasses.replace(
        analysis, count=torch.ones_like(analysis.count), positive=torch.arange(45).eq(0).expand_as(analysis.positive)
    )
    render(figures.draw_mixtures({"teacher": lone}, 0))


def test_ignored_candidates_are_drawn_apart_from_background(scene):
    _, analyses = scene
    analysis = analyses["teacher"]
    count, positive = int(analysis.count[0]), int(analysis.positive[0].sum())
    (ax,) = render(figures.draw_mixtures({"teacher": analysis}, 0)).axes
    assert not any("ignored" in label for label in ax.get_legend_handles_labels()[1])
    is_second = torch.zeros_like(analysis.positive)
    is_second[0, positive] = True  # samples are sorted by cost, the positives first
    (ax,) = render(figures.draw_mixtures({"teacher": dataclasses.replace(analysis, ignored=is_second)}, 0)).axes
    labels = ax.get_legend_handles_labels()[1]
    assert {f"{count - positive - 1} background", "1 ignored", f"{positive} positive"} <= set(labels)


def test_a_subtitle_is_the_second_line_of_the_title(scene):
    _, analyses = scene
    (ax,) = render(figures.draw_mixtures({"teacher": analyses["teacher"]}, 0, "star", "what PAA would choose")).axes
    assert ax.get_title() == "teacher: star\nwhat PAA would choose"


def test_levels_are_bars_of_the_given_heights(scene):
    _, analyses = scene
    per_level = positives_per_level(analyses)
    (ax,) = render(figures.draw_levels(per_level)).axes
    assert [patch.get_height() for patch in ax.patches] == [value for values in per_level.values() for value in values]


@pytest.mark.parametrize(
    ("options", "formula"),
    [
        ({}, "cost = focal loss + 1.3 · GIoU loss"),
        ({"class_weight": 0}, "cost = 1.3 · GIoU loss"),
        ({"class_weight": 2, "box_weight": 1}, "cost = 2 · focal loss + GIoU loss"),
    ],
)
def test_the_axis_of_costs_names_their_terms_and_weights(scene, options, formula):
    _, analyses = scene
    weighted = {name: dataclasses.replace(analysis, paa=PAA(**options)) for name, analysis in analyses.items()}
    figure = render(figures.draw_mixtures(weighted, 0))
    assert {ax.get_xlabel() for ax in figure.axes if ax.get_xlabel()} == {formula}
