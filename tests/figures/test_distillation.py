"""The figure of distillation methods, checked on the artists."""

import dataclasses

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from lad import figures
from lad.analysis.distillation import compare_networks
from lad.assigners import PAA
from lad.figures.distillation import WITHOUT_FEATURES
from lad.models.detector import build_detector
from lad.structures import Targets


@pytest.fixture(scope="module")
def seen(scene):
    """Two images, and what one untrained network would learn from another on the first."""
    batch, _ = scene
    torch.manual_seed(0)
    student, teacher = (build_detector("r18", 6, width=0.25, channels=64) for _ in range(2))
    return batch, compare_networks(student, teacher, batch, PAA())


def render(figure: Figure) -> Figure:
    """Render the figure, which fails on what cannot be drawn."""
    FigureCanvasAgg(figure).draw()
    return figure


def dots(ax) -> list[list[float]]:
    return [place for scatter in ax.collections if isinstance(scatter, PathCollection) for place in
            scatter.get_offsets().tolist()]  # fmt: skip


def test_each_method_has_a_panel_with_its_name_and_what_is_shown(seen):
    batch, view = seen
    figure = render(figures.draw_distillation(batch.images[0], batch.targets, view))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["LAD", "Soft labels, BCKD", "PKD", "CrossKD"]
    for ax in figure.axes:
        texts = [text for text in ax.texts if len(text.get_text()) > 20]
        assert texts and all(text.get_window_extent().x1 <= ax.get_window_extent().x1 for text in texts)


def test_every_positive_is_a_dot_and_every_gt_of_the_first_image_has_their_number(seen):
    batch, view = seen
    ax = render(figures.draw_distillation(batch.images[0], batch.targets, view)).axes[0]
    assert sorted(dots(ax)) == sorted(view.anchors.center[view.gt_index >= 0].tolist())
    numbers = sorted(int(text.get_text()) for text in ax.texts if text.get_text().isdigit())
    gts = (batch.targets.image == 0).nonzero().flatten().tolist()
    assert numbers == sorted(int((view.gt_index == gt).sum()) for gt in gts)


def test_each_map_is_drawn_over_the_image_with_the_ends_of_its_scale(seen):
    batch, view = seen
    figure = render(figures.draw_distillation(batch.images[0], batch.targets, view))
    for ax, values in zip(figure.axes[1:], (view.probability, view.features, view.cross), strict=True):
        _gray, heat = ax.images
        assert torch.equal(torch.tensor(heat.get_array()), values) and heat.get_clim()[1] == values.max()
        (scale,) = ax.child_axes
        assert [label.get_text() for label in scale.get_xticklabels()] == [f"{end:.2g}" for end in heat.get_clim()]


def test_without_common_features_a_sentence_replaces_their_panels(seen):
    batch, view = seen
    without = dataclasses.replace(view, features=None, cross=None)
    figure = render(figures.draw_distillation(batch.images[0], batch.targets, without))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["LAD", "Soft labels, BCKD"]
    assert [text.get_text() for text in figure.texts] == [WITHOUT_FEATURES]


def test_an_image_without_gts_is_drawn(seen):
    batch, view = seen
    empty = Targets(torch.zeros(0, 4), torch.zeros(0).long(), torch.zeros(0).long(), batch.targets.image_hw)
    nothing = dataclasses.replace(view, gt_index=torch.full_like(view.gt_index, -1))
    assert dots(render(figures.draw_distillation(batch.images[0], empty, nothing)).axes[0]) == []
