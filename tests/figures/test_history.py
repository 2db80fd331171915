"""The history of an assignment: its panels are checked on the artists, its files by readers of their formats."""

import dataclasses
import re
import sys
from pathlib import Path

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from lad import figures
from lad.analysis.positives import BOTH, NEITHER, STUDENT_ONLY, Positives
from lad.figures.style import WIDTH
from lad.geometry import make_anchors

HW = (96, 128)


@pytest.fixture
def scene(targets):
    """Two gts of one image, its anchors, and four assignments: nothing, then positives of P3, once of P5."""
    first_image = type(targets)(targets.boxes[:2], targets.labels[:2], targets.image[:2], targets.image_hw[:1])
    anchors = make_anchors(HW)
    first_of_p5 = sum(anchors.level_counts[:2])
    rows = [([], [], []), ([40], [0], [STUDENT_ONLY]), ([40, 41, 60], [0, 0, 1], [STUDENT_ONLY, BOTH, BOTH])]
    rows.append(([40, first_of_p5 + 1], [0, 1], [BOTH, BOTH]))
    positives = [Positives(*(torch.tensor(part, dtype=torch.int64) for part in row)) for row in rows]
    return first_image, anchors, dict(zip(("untrained", "epoch 1", "epoch 2", "epoch 3"), positives, strict=True))


def render(figure: Figure) -> Figure:
    """Render the figure, which fails on what cannot be drawn."""
    FigureCanvasAgg(figure).draw()
    return figure


def dots(ax) -> list[tuple[float, float, str]]:
    scatters = [c for c in ax.collections if isinstance(c, PathCollection)]
    return [
        (*place, to_hex(color).upper())
        for c in scatters
        for place, color in zip(c.get_offsets().tolist(), c.get_facecolors(), strict=True)
    ]


def test_a_strip_has_a_panel_per_epoch_with_its_dots_and_counts(scene):
    targets, anchors, history = scene
    figure = render(figures.draw_history(torch.zeros(3, *HW), targets, anchors, history))
    assert [ax.get_title() for ax in figure.axes] == list(history)
    colors = {STUDENT_ONLY: figures.STUDENT, BOTH: figures.BOTH}
    for ax, positives in zip(figure.axes, history.values(), strict=True):
        places = anchors.center[positives.anchor].tolist()
        expected = [(x, y, colors[source]) for (x, y), source in zip(places, positives.source.tolist(), strict=True)]
        assert sorted(dots(ax)) == sorted(expected)
        assert [text.get_text() for text in ax.texts] == [str(int((positives.gt == gt).sum())) for gt in (0, 1)]
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert labels == ["student only", "both", "P3", "P4", "P5", "P6", "P7"]


def test_without_sources_the_legend_has_only_levels(scene):
    targets, anchors, history = scene
    rules = {
        title: Positives(positives.anchor, positives.gt, positives.source * 0 + NEITHER)
        for title, positives in history.items()
    }
    figure = render(figures.draw_history(torch.zeros(3, *HW), targets, anchors, rules))
    assert [text.get_text() for legend in figure.legends for text in legend.get_texts()] == [
        "P3",
        "P4",
        "P5",
        "P6",
        "P7",
    ]
    assert {color for ax in figure.axes for *_, color in dots(ax)} == {figures.NEITHER}


def test_a_strip_wraps_into_rows(scene):
    targets, anchors, history = scene
    figure = render(figures.draw_history(torch.zeros(3, *HW), targets, anchors, history))
    assert figure.get_figwidth() == WIDTH
    bottoms = [round(ax.get_position().y0, 3) for ax in figure.axes]
    assert len(set(bottoms[:3])) == 1 and bottoms[3] < bottoms[0]
    wide = render(figures.draw_history(torch.zeros(3, *HW), targets, anchors, history, columns=4))
    assert len({round(ax.get_position().y0, 3) for ax in wide.axes}) == 1


def test_a_dot_is_larger_on_a_coarser_level(scene):
    targets, anchors, history = scene
    ax = render(figures.draw_history(torch.zeros(3, *HW), targets, anchors, history)).axes[3]
    fine, coarse = next(c.get_sizes() for c in ax.collections if isinstance(c, PathCollection))
    assert coarse > 2 * fine


def test_the_chosen_gt_is_bold_and_the_others_pale(scene):
    targets, anchors, history = scene
    ax = render(figures.draw_history(torch.zeros(3, *HW), targets, anchors, history, gt=1)).axes[2]
    pale, bold = [c for c in ax.collections if isinstance(c, PathCollection)]
    assert len(pale.get_offsets()) == 2 and len(bold.get_offsets()) == 1
    assert max(pale.get_facecolors()[:, 3]) < min(bold.get_facecolors()[:, 3])
    (others,) = (c for c in ax.collections if isinstance(c, PolyCollection))
    assert others.get_linestyle()[0][1] and [patch.get_linestyle() for patch in ax.patches] == ["solid"]


def test_the_count_of_a_small_gt_hides_none_of_its_dots(scene):
    targets, anchors, _ = scene
    small = dataclasses.replace(
        targets, boxes=torch.tensor([[40.0, 40, 60, 60]]), labels=targets.labels[:1], image=targets.image[:1]
    )
    inside = torch.where((anchors.level == 0) & ((anchors.center - 50).abs() <= 12).all(dim=1))[0]
    positives = Positives(inside, torch.zeros_like(inside), torch.full_like(inside, BOTH))
    (ax,) = render(figures.draw_history(torch.zeros(3, *HW), small, anchors, {"epoch 1": positives})).axes
    (number,) = ax.texts
    place = number.get_window_extent()
    dots = ax.transData.transform(anchors.center[inside].numpy())
    assert number.get_text() == str(len(inside)) and len(inside) == 9
    assert not place.count_contains(dots)
    assert ax.get_window_extent().containsx(place.x0) and ax.get_window_extent().containsy(place.y1)


def frames(count: int, size: tuple[float, float] = (1.0, 0.7)) -> list[Figure]:
    figures_ = [Figure(figsize=size) for _ in range(count)]
    for index, figure in enumerate(figures_):
        figure.text(0.2, 0.4, str(index))
    return figures_


def test_a_gif_has_a_frame_per_figure_and_shows_the_last_longer(tmp_path):
    path = figures.save_animation(frames(3), tmp_path / "new" / "animation.gif", seconds_per_frame=0.2)
    with Image.open(path) as animation:
        assert animation.n_frames == 3 and animation.info["loop"] == 0
        durations = []
        for frame in range(3):
            animation.seek(frame)
            durations.append(animation.info["duration"])
    assert durations == [200, 200, 600]
    assert [file.name for file in path.parent.iterdir()] == ["animation.gif"]


def test_a_gif_has_one_palette_for_all_frames(tmp_path):
    colored = frames(3)
    for figure, color in zip(colored, ("#D55E00", "#0072B2", "#009E73"), strict=True):
        figure.set_facecolor(color)
    path = figures.save_animation(colored, tmp_path / "animation.gif")
    content = path.read_bytes()
    with Image.open(path) as animation:
        colors = []
        for frame in range(3):
            animation.seek(frame)
            colors.append(animation.convert("RGB").getpixel((1, 1)))
    assert colors == [pytest.approx(color, abs=4) for color in ((213, 94, 0), (0, 114, 178), (0, 158, 115))]
    descriptors = [content[match.end() - 1] for match in re.finditer(rb"\x00\x2c.{8}.", content, re.DOTALL)]
    assert len(descriptors) >= 3 and not any(flags & 0x80 for flags in descriptors[:3])  # no local palette


def test_figures_of_different_sizes_become_frames_of_the_same_size(tmp_path):
    path = figures.save_animation([*frames(1), *frames(2, size=(0.6, 1.01))], tmp_path / "animation.gif")
    with Image.open(path) as animation:
        assert animation.size == (200, 202) and animation.n_frames == 3


def test_an_mp4_has_the_expected_duration(tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = figures.save_animation(frames(3, size=(1.013, 0.777)), tmp_path / "animation.mp4", seconds_per_frame=0.4)
    assert path.read_bytes()[4:8] == b"ftyp"
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert seconds == pytest.approx(5 * 0.4, abs=0.1) and count == pytest.approx(50, abs=3)
    assert [file.name for file in tmp_path.iterdir()] == ["animation.mp4"]


@pytest.mark.parametrize("name", ["animation.avi", "animation"])
def test_an_unknown_suffix_is_rejected(name, tmp_path):
    with pytest.raises(ValueError, match=r"give a name that ends in \.gif or \.mp4"):
        figures.save_animation(frames(1), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_no_frames_and_no_duration_are_rejected(tmp_path):
    with pytest.raises(ValueError, match="there are no frames; give at least one figure"):
        figures.save_animation([], tmp_path / "animation.gif")
    with pytest.raises(ValueError, match="seconds_per_frame=0 must be greater than 0"):
        figures.save_animation(frames(1), tmp_path / "animation.gif", seconds_per_frame=0)


def test_an_mp4_without_ffmpeg_is_rejected_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"needs ffmpeg; pip install imageio-ffmpeg, or give a name that ends in \.gif"
    ):
        figures.save_animation(frames(1), tmp_path / "animation.mp4")


@pytest.mark.parametrize("name", ["-i.mp4", "tcp:animation.mp4"])
def test_a_file_name_is_never_read_as_an_ffmpeg_option(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert figures.save_animation(frames(1), name) == Path(name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_failure_keeps_the_existing_file(tmp_path, monkeypatch):
    fails = tmp_path / "ffmpeg"
    fails.write_text("#!/bin/sh\ncat > /dev/null\necho no such encoder >&2\nexit 1\n")
    fails.chmod(0o755)
    monkeypatch.setattr("lad.figures.history._find_ffmpeg", lambda path: str(fails))
    (tmp_path / "animation.mp4").write_text("earlier")
    with pytest.raises(ValueError, match="no such encoder"):
        figures.save_animation(frames(1), tmp_path / "animation.mp4")
    assert (tmp_path / "animation.mp4").read_text() == "earlier"
    assert not (tmp_path / "animation.mp4.unfinished").exists()
