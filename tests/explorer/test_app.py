"""The explorer shows what it is changed to, or stays as it was; outside an interactive notebook it is an image."""

import dataclasses
import io
import sys
from base64 import b64decode
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.collections import PolyCollection
from PIL import Image

from lad.analysis.positives import ASSIGNMENTS, MAX_PREDICTED
from lad.data.synthetic.folders import write_shapes
from lad.experiments.run_store import finished_runs
from lad.explorer.app import GAP, PIXEL_RATIO, compose_sheet, explore
from lad.explorer.config import make_explorer_config
from lad.explorer.photo import UserBox, open_photo
from lad.explorer.state import CURRENT_WEIGHTS, MIXTURE_NOT_USED
from lad.explorer.view import assignments_for
from lad.figures.style import DPI

WIDGET_TYPE = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def folder(trained_runs):
    """The folder of runs/ and shapes/, their data."""
    return trained_runs["lad"].folder.parents[1]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(picture).save(folder / "mine.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def lad_run(trained_runs):
    """The name of a run of two epochs with a teacher."""
    return trained_runs["lad"].folder.name


@pytest.fixture
def explorer(folder, lad_run):
    return explore(make_explorer_config({"out": folder / "runs", "run": lad_run}))


def state_of(explorer):
    return explorer.config, explorer.view, explorer.session, explorer.photo, explorer.box


def run_in_notebook(monkeypatch, is_interactive):
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace(version_info=(7, 0)))
    for name in ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)
    if is_interactive:
        monkeypatch.setenv("JPY_SESSION_NAME", "explore.ipynb")


def test_outside_an_interactive_notebook_it_is_an_image_without_widgets(explorer, monkeypatch):
    run_in_notebook(monkeypatch, False)
    bundle, size = explorer._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png"}
    with Image.open(io.BytesIO(b64decode(bundle["image/png"]))) as picture:
        assert picture.format == "PNG" and picture.width > 600
        assert size["image/png"] == {"width": picture.width // PIXEL_RATIO, "height": picture.height // PIXEL_RATIO}


def test_in_an_interactive_notebook_it_is_widgets_and_an_image(explorer, monkeypatch):
    run_in_notebook(monkeypatch, True)
    bundle, _ = explorer._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png", WIDGET_TYPE}
    assert bundle["text/plain"] == f"Explorer({explorer.session.name})"
    assert set(bundle[WIDGET_TYPE]) >= {"model_id", "version_major"}


def test_it_draws_the_image_the_costs_and_each_networks_mixture(explorer, folder):
    assert list(explorer.figures()) == ["picture", "costs", "student mixture", "teacher mixture"]
    alone = explore(make_explorer_config({"out": folder / "runs", "run": "untrained", "data": folder / "shapes"}))
    assert list(alone.figures()) == ["picture", "costs", "student mixture"]


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_the_table_holds_the_costs_of_the_chosen_network(explorer, network):
    explorer.change(table_of=network)
    analysis, gt = explorer.view.analyses[network], explorer.view.gt
    assert explorer.table()["cost"].iloc[0] == pytest.approx(analysis.cost[gt, 0].item())


def test_without_a_teacher_the_table_is_the_students(folder):
    config = {"out": folder / "runs", "run": "untrained", "data": folder / "shapes", "table_of": "teacher"}
    alone = explore(make_explorer_config(config))
    student = alone.view.analyses["student"]
    assert alone.table()["cost"].iloc[0] == pytest.approx(student.cost[alone.view.gt, 0].item())


def test_a_change_keeps_everything_else(explorer):
    explorer.change(image=2, gt=0, levels=(3, 4), anchor_boxes=True)
    explorer.change(assignment="atss")
    config = explorer.config
    assert (config.image, config.gt, config.levels, config.anchor_boxes, config.assignment) == (
        2,
        0,
        (3, 4),
        True,
        "atss",
    )
    explorer.change(gt=None)
    assert explorer.config.gt is None and explorer.config.image == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": 99}, "parameter 'image' = 99"),
        ({"image": -1}, "parameter 'image' = -1"),
        ({"gt": 99}, "parameter 'gt' = 99"),
        ({"gt": -1}, "parameter 'gt' = -1"),
        ({"epoch": 9}, "parameter 'epoch' = 9: the saved epochs are 0, 1, 2"),
        ({"assignment": "nothing"}, "parameter 'assignment' = 'nothing'"),
        ({"levels": (9,)}, r"parameter 'levels' = \[9\]"),
        ({"table_of": "nobody"}, "parameter 'table_of' = 'nobody'"),
        ({"run": "nothing"}, "parameter 'run' = 'nothing'"),
        ({"compare_with": "nothing"}, "parameter 'compare_with' = 'nothing'"),
        ({"run": "untrained", "assignment": "teacher", "epoch": None}, "needs a teacher"),
        ({"data": "nowhere"}, "parameter 'data' = 'nowhere'"),
        ({"asignment": "each"}, "did you mean 'assignment'"),
        ({"image": 1, "gt": 99}, "parameter 'gt' = 99"),
    ],
)
def test_an_impossible_change_leaves_the_explorer_as_it_was(explorer, changes, message):
    explorer.change(image=1, epoch=1)
    before = state_of(explorer)
    table = explorer.table()
    with pytest.raises(ValueError, match=message):
        explorer.change(**changes)
    assert all(after is value for after, value in zip(state_of(explorer), before, strict=True))
    assert explorer.table().equals(table)


def test_a_photo_in_the_configuration_is_shown_until_an_image_is_chosen(explorer, folder, lad_run, photos):
    given = {"out": folder / "runs", "run": lad_run, "photo": photos / "mine.png"}
    with_photo = explore(make_explorer_config(given))
    assert with_photo.photo is not None and with_photo.view.pixels.shape == (40, 60, 3)
    with_photo.change(assignment="atss", epoch=0)
    assert with_photo.view.pixels.shape == (40, 60, 3)
    with_photo.change(image=1)
    assert with_photo.photo is None and with_photo.config.photo is None
    assert np.array_equal(with_photo.view.pixels, with_photo.session.dataset.pixels(1))


def test_a_photo_is_read_and_analyzed_once(folder, lad_run, monkeypatch, photos):
    given = {"out": folder / "runs", "run": lad_run, "photo": photos / "mine.png"}
    with_photo = explore(make_explorer_config(given))
    analyses = with_photo.view.analyses
    with_photo.change(levels=(3,))
    assert all(analysis is analyses[name] for name, analysis in with_photo.view.analyses.items())


def test_a_photo_that_cannot_be_read_is_an_error(folder, lad_run, photos):
    with pytest.raises(ValueError, match=r"broken\.png: cannot be read as an image"):
        explore(make_explorer_config({"out": folder / "runs", "run": lad_run, "photo": photos / "broken.png"}))


@pytest.mark.parametrize("changes", [{"image": 0}, {"run": "untrained"}], ids=["image", "run"])
def test_a_photo_and_its_box_stay_until_an_image_or_a_run_is_chosen(explorer, folder, changes, photos):
    explorer.change(data=str(folder / "shapes"))
    explorer.change(photo=open_photo(explorer.session, photos / "mine.png"), box=UserBox(label=4))
    explorer.change(assignment="atss")
    explorer.change(box=dataclasses.replace(explorer.box, corners=(0, 0, 0.5, 0.5)))
    assert explorer.view.batch.targets.labels[0] == 4 and explorer.view.batch.targets.boxes[0, 2] == 64
    explorer.change(**changes)
    assert explorer.photo is None and explorer.box == UserBox()
    assert explorer.view.pixels.shape == (128, 128, 3)


def test_another_teacher_analyzes_the_same_image(explorer, folder, lad_run, photos):
    explorer.change(photo=open_photo(explorer.session, photos / "mine.png"))
    explorer.change(compare_with=lad_run, assignment="each")
    assert explorer.session.runs["teacher"].folder.name == lad_run
    assert explorer.view.pixels.shape == (40, 60, 3)
    explorer.change(compare_with=None)
    assert explorer.session.runs["teacher"].folder.name != lad_run


def test_other_data_are_opened(explorer, folder, tmp_path):
    write_shapes(tmp_path / "more", "toy", {"train": 1, "val": 9})
    explorer.change(data=str(tmp_path / "more"), image=8)
    assert len(explorer.session.dataset) == 9


def test_boxes_are_drawn_for_shown_levels_only(explorer):
    view = explorer.view
    levels = view.analyses["student"].anchors.level[view.positives.anchor[view.positives.gt == view.gt]] + 3
    lowest, highest = levels.min().item(), levels.max().item()
    for shown in ((lowest,), (lowest, highest), (), tuple(level for level in range(3, 8) if level != lowest)):
        explorer.change(anchor_boxes=True, predicted_boxes=True, levels=shown)
        (ax,) = explorer.figures()["picture"].axes
        count = int(torch.isin(levels, torch.tensor(shown, dtype=torch.int64)).sum())
        drawn = [len(c.get_paths()) for c in ax.collections if isinstance(c, PolyCollection)]
        predicted = min(count, MAX_PREDICTED)
        expected = [count] + [predicted] * (2 if count else 0)  # anchors; student's and teacher's predictions
        assert drawn == [*expected, len(view.batch.targets.boxes) - 1]  # and the other gts


@pytest.mark.parametrize(
    ("assignment", "own"),
    [("each", {"student", "teacher"}), ("student", {"student"}), ("teacher", {"teacher"}), ("atss", set()),
     ("colad_std_mean", set())],
)  # fmt: skip
def test_a_mixture_that_the_assignment_does_not_use_says_so(explorer, assignment, own):
    explorer.change(assignment=assignment)
    figures = explorer.figures()
    titles = {name: figures[f"{name} mixture"].axes[0].get_title() for name in ("student", "teacher")}
    assert {name for name, title in titles.items() if MIXTURE_NOT_USED not in title} == own


def test_the_image_stays_when_another_run_has_the_same_data(explorer, folder, lad_run, tmp_path):
    other = next(run.folder.name for run in finished_runs(folder / "runs") if run.folder.name != lad_run)
    explorer.change(image=2, gt=0)
    explorer.change(run=other, compare_with=None)
    assert explorer.session.name == other and explorer.config.image == 2
    explorer.change(image=1, gt=0)
    write_shapes(tmp_path / "one", "toy", {"train": 1, "val": 1})
    explorer.change(data=str(tmp_path / "one"))
    assert (explorer.config.image, explorer.config.gt) == (0, None)


def test_a_sheet_holds_every_figure_in_two_columns(explorer):
    figures = explorer.figures()
    sheet = compose_sheet(figures)
    sizes = [tuple(round(side * PIXEL_RATIO * DPI) for side in figure.get_size_inches()) for figure in figures.values()]
    left, right = sizes[:2], sizes[2:]
    width = max(w for w, _ in left) + GAP + max(w for w, _ in right)
    assert sheet.width == pytest.approx(width, abs=2)  # a figure's size in pixels is rounded
    assert sheet.height == pytest.approx(max(sum(h + GAP for _, h in column) for column in (left, right)), abs=2)
    assert compose_sheet({"picture": figures["picture"]}).width == pytest.approx(sizes[0][0], abs=1)


def test_positives_by_assignment_are_titled(explorer):
    positives = explorer.positives_by_assignment()
    explorer.change(assignment="atss")
    assert torch.equal(positives[ASSIGNMENTS["atss"]].anchor, explorer.view.positives.anchor)
    assert len(positives) == len(assignments_for(explorer.session))


def test_positives_by_epoch_are_titled(explorer):
    positives = explorer.positives_by_epoch()
    assert list(positives) == ["untrained", "epoch 1", "epoch 2"]
    explorer.change(epoch=1)
    assert torch.equal(positives["epoch 1"].anchor, explorer.view.positives.anchor)


def test_without_saved_epochs_there_are_the_current_positives(folder):
    alone = explore(make_explorer_config({"out": folder / "runs", "run": "untrained", "data": folder / "shapes"}))
    assert alone.positives_by_epoch() == {CURRENT_WEIGHTS: alone.view.positives}


def test_a_film_has_a_frame_per_epoch_and_is_written_only_with_a_path(explorer, tmp_path, capsys):
    explorer.save_film(None)
    hint = "no film written; to write one, set film=assignment.gif or film=assignment.mp4\n"
    assert capsys.readouterr().out == hint
    explorer.save_film(tmp_path / "assignment.gif")
    with Image.open(tmp_path / "assignment.gif") as film:
        assert film.n_frames == 3
    assert str(tmp_path / "assignment.gif") in capsys.readouterr().out
