"""The film of an assignment: its panels checked on the artists, its files by their readers."""

import dataclasses
import re
import sys
from pathlib import Path

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from lad import figures
from lad.analysis.positives import BOTH, NEITHER, STUDENT_ONLY, Positives
from lad.figures.style import WIDTH
from lad.geometry import make_anchors

HW = (96, 128)


@pytest.fixture
def film(targets):
    """Four assignments of the fixture's first image, with its two gts: nothing, then ever more of P3, once of P5."""
    one = type(targets)(targets.boxes[:2], targets.labels[:2], targets.image[:2], targets.image_hw[:1])
    anchors = make_anchors(HW)
    first_of_p5 = sum(anchors.level_counts[:2])
    rows = [([], [], []), ([40], [0], [STUDENT_ONLY]), ([40, 41, 60], [0, 0, 1], [STUDENT_ONLY, BOTH, BOTH])]
    rows.append(([40, first_of_p5 + 1], [0, 1], [BOTH, BOTH]))
    positives = [Positives(*(torch.tensor(part, dtype=torch.int64) for part in row)) for row in rows]
    return one, anchors, dict(zip(("untrained", "epoch 1", "epoch 2", "epoch 3"), positives, strict=True))


def drawn(figure: Figure) -> Figure:
    FigureCanvasAgg(figure).draw()
    return figure


def dots(ax) -> list[tuple[float, float, str]]:
    scatters = [c for c in ax.collections if isinstance(c, PathCollection)]
    return [
        (*place, to_hex(color).upper())
        for c in scatters
        for place, color in zip(c.get_offsets().tolist(), c.get_facecolors(), strict=True)
    ]


def test_a_strip_has_a_panel_per_epoch_with_its_dots_and_counts(film):
    targets, anchors, history = film
    figure = drawn(figures.draw_history(torch.zeros(3, *HW), targets, anchors, history))
    assert [ax.get_title() for ax in figure.axes] == list(history)
    colors = {STUDENT_ONLY: figures.STUDENT, BOTH: figures.BOTH}
    for ax, positives in zip(figure.axes, history.values(), strict=True):
        places = anchors.center[positives.anchor].tolist()
        expected = [(x, y, colors[by]) for (x, y), by in zip(places, positives.by.tolist(), strict=True)]
        assert sorted(dots(ax)) == sorted(expected)
        assert [text.get_text() for text in ax.texts] == [str(int((positives.gt == gt).sum())) for gt in (0, 1)]
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert labels == ["student only", "both", "P3", "P4", "P5", "P6", "P7"]


def test_where_no_network_was_asked_the_legend_has_levels_alone(film):
    targets, anchors, history = film
    rules = {
        title: Positives(positives.anchor, positives.gt, positives.by * 0 + NEITHER)
        for title, positives in history.items()
    }
    figure = drawn(figures.draw_history(torch.zeros(3, *HW), targets, anchors, rules))
    assert [text.get_text() for legend in figure.legends for text in legend.get_texts()] == [
        "P3",
        "P4",
        "P5",
        "P6",
        "P7",
    ]
    assert {color for ax in figure.axes for *_, color in dots(ax)} == {figures.NEITHER}


def test_a_strip_wraps_into_rows_of_half_a_page(film):
    targets, anchors, history = film
    figure = drawn(figures.draw_history(torch.zeros(3, *HW), targets, anchors, history))
    assert figure.get_figwidth() == WIDTH
    bottoms = [round(ax.get_position().y0, 3) for ax in figure.axes]
    assert len(set(bottoms[:3])) == 1 and bottoms[3] < bottoms[0]
    wide = drawn(figures.draw_history(torch.zeros(3, *HW), targets, anchors, history, columns=4))
    assert len({round(ax.get_position().y0, 3) for ax in wide.axes}) == 1


def test_a_dot_is_larger_on_a_coarser_level(film):
    targets, anchors, history = film
    ax = drawn(figures.draw_history(torch.zeros(3, *HW), targets, anchors, history)).axes[3]
    fine, coarse = next(c.get_sizes() for c in ax.collections if isinstance(c, PathCollection))
    assert coarse > 2 * fine


def test_the_chosen_gt_stands_out(film):
    targets, anchors, history = film
    ax = drawn(figures.draw_history(torch.zeros(3, *HW), targets, anchors, history, gt=1)).axes[2]
    pale, bold = [c for c in ax.collections if isinstance(c, PathCollection)]
    assert len(pale.get_offsets()) == 2 and len(bold.get_offsets()) == 1
    assert max(pale.get_facecolors()[:, 3]) < min(bold.get_facecolors()[:, 3])
    assert [patch.get_linestyle() for patch in ax.patches] == ["--", "-"]


def test_the_number_of_a_small_gt_hides_none_of_its_dots(film):
    targets, anchors, _ = film
    small = dataclasses.replace(
        targets, boxes=torch.tensor([[40.0, 40, 60, 60]]), labels=targets.labels[:1], image=targets.image[:1]
    )
    inside = torch.where((anchors.level == 0) & ((anchors.center - 50).abs() <= 12).all(dim=1))[0]
    positives = Positives(inside, torch.zeros_like(inside), torch.full_like(inside, BOTH))
    (ax,) = drawn(figures.draw_history(torch.zeros(3, *HW), small, anchors, {"epoch 1": positives})).axes
    (number,) = ax.texts
    place = number.get_window_extent()
    dots = ax.transData.transform(anchors.center[inside].numpy())
    assert number.get_text() == str(len(inside)) and len(inside) == 9
    assert not place.count_contains(dots)
    assert ax.get_window_extent().containsx(place.x0) and ax.get_window_extent().containsy(place.y1)


def frames(count: int, size: tuple[float, float] = (1.0, 0.7)) -> list[Figure]:
    made = [Figure(figsize=size) for _ in range(count)]
    for index, figure in enumerate(made):
        figure.text(0.2, 0.4, str(index))
    return made


def test_a_gif_has_a_frame_per_figure_and_holds_the_last(tmp_path):
    path = figures.save_animation(frames(3), tmp_path / "new" / "film.gif", seconds_per_frame=0.2)
    with Image.open(path) as film:
        assert film.n_frames == 3 and film.info["loop"] == 0
        durations = []
        for frame in range(3):
            film.seek(frame)
            durations.append(film.info["duration"])
    assert durations == [200, 200, 600]
    assert [found.name for found in path.parent.iterdir()] == ["film.gif"]


def test_a_gif_has_one_palette_so_that_nothing_flickers(tmp_path):
    colored = frames(3)
    for figure, color in zip(colored, ("#D55E00", "#0072B2", "#009E73"), strict=True):
        figure.set_facecolor(color)
    path = figures.save_animation(colored, tmp_path / "film.gif")
    content = path.read_bytes()
    with Image.open(path) as film:
        found = []
        for frame in range(3):
            film.seek(frame)
            found.append(film.convert("RGB").getpixel((1, 1)))
    assert found == [pytest.approx(wanted, abs=4) for wanted in ((213, 94, 0), (0, 114, 178), (0, 158, 115))]
    descriptors = [content[match.end() - 1] for match in re.finditer(rb"\x00\x2c.{8}.", content, re.DOTALL)]
    assert len(descriptors) >= 3 and not any(flags & 0x80 for flags in descriptors[:3])  # no frame has its own


def test_figures_of_several_sizes_become_frames_of_one(tmp_path):
    path = figures.save_animation([*frames(1), *frames(2, size=(0.6, 1.01))], tmp_path / "film.gif")
    with Image.open(path) as film:
        assert film.size == (200, 202) and film.n_frames == 3


def test_an_mp4_is_one(tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = figures.save_animation(frames(3, size=(1.013, 0.777)), tmp_path / "film.mp4", seconds_per_frame=0.4)
    assert path.read_bytes()[4:8] == b"ftyp"
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert seconds == pytest.approx(5 * 0.4, abs=0.1) and count == pytest.approx(50, abs=3)
    assert [found.name for found in tmp_path.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize("name", ["film.avi", "film"])
def test_another_suffix_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"give a name that ends in \.gif or \.mp4"):
        figures.save_animation(frames(1), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_no_frames_and_no_time_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no frames"):
        figures.save_animation([], tmp_path / "film.gif")
    with pytest.raises(ValueError, match="seconds_per_frame=0 "):
        figures.save_animation(frames(1), tmp_path / "film.gif", seconds_per_frame=0)


def test_without_ffmpeg_an_mp4_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"needs ffmpeg; pip install imageio-ffmpeg, or give a name that ends in \.gif"
    ):
        figures.save_animation(frames(1), tmp_path / "film.mp4")


@pytest.mark.parametrize("name", ["-i.mp4", "tcp:film.mp4"])
def test_a_name_is_no_option_of_ffmpeg(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert figures.save_animation(frames(1), name) == Path(name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_failure_leaves_the_file_that_was_there(tmp_path, monkeypatch):
    fails = tmp_path / "ffmpeg"
    fails.write_text("#!/bin/sh\ncat > /dev/null\necho no such encoder >&2\nexit 1\n")
    fails.chmod(0o755)
    monkeypatch.setattr("lad.figures.history._find_ffmpeg", lambda path: str(fails))
    (tmp_path / "film.mp4").write_text("earlier")
    with pytest.raises(ValueError, match="no such encoder"):
        figures.save_animation(frames(1), tmp_path / "film.mp4")
    assert (tmp_path / "film.mp4").read_text() == "earlier"
    assert not (tmp_path / "film.mp4.unfinished").exists()
