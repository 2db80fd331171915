"""The explorer goes where it is told, or stays where it is; without anybody who watches it is a picture."""

import dataclasses
import io
import sys
from base64 import b64decode
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.collections import PatchCollection
from PIL import Image

from lad.analysis.positives import MAX_PREDICTED
from lad.config.experiment import make_parameters
from lad.data.synthetic.shapes import write_shapes
from lad.experiments.run_store import finished_runs
from lad.experiments.runner import run_experiment
from lad.explorer import state as explorer_module
from lad.explorer.app import GAP, SHARPNESS, explore, sheet
from lad.explorer.config import make_explorer_config
from lad.explorer.session import Box, open_photo
from lad.explorer.state import WHAT_IF
from lad.figures.style import DPI

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures, and a run of two epochs with its teacher."""
    folder = tmp_path_factory.mktemp("explorer")
    write_shapes(folder / "shapes", "toy", {"train": 4, "val": 6})
    given = {"method": "lad", "student": "r18", "teacher": "r18", "data": folder / "shapes", "epochs": 2}
    sizes = {"short_sides": [128], "test_short_side": 128, "long_side": 128, "batch_size": 4, "seed": 1}
    run_experiment(make_parameters({**given, **sizes, "accelerator": "cpu", "out": folder / "runs"}))
    picture = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(picture).save(folder / "mine.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def lad_run(folder):
    return next(path.name for path in (folder / "runs").iterdir() if "-lad-" in path.name)


@pytest.fixture
def explorer(folder, lad_run):
    return explore(make_explorer_config({"out": folder / "runs", "run": lad_run}))


def is_at(explorer):
    return explorer.config, explorer.view, explorer.session, explorer.photo, explorer.box


def watch(monkeypatch, is_interactive):
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace(version_info=(7, 0)))
    for name in ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)
    if is_interactive:
        monkeypatch.setenv("JPY_SESSION_NAME", "explore.ipynb")


def test_where_nobody_watches_it_is_a_picture_and_no_widget(explorer, monkeypatch):
    watch(monkeypatch, False)
    bundle, size = explorer._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png"}
    with Image.open(io.BytesIO(b64decode(bundle["image/png"]))) as picture:
        assert picture.format == "PNG" and picture.width > 600
        assert size["image/png"] == {"width": picture.width // SHARPNESS, "height": picture.height // SHARPNESS}


def test_where_somebody_watches_it_is_widgets_and_a_picture(explorer, monkeypatch):
    watch(monkeypatch, True)
    bundle, _ = explorer._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png", VIEW}
    assert bundle["text/plain"] == f"Explorer({explorer.session.name})"
    assert set(bundle[VIEW]) >= {"model_id", "version_major"}


def test_it_has_a_figure_of_the_picture_the_costs_and_each_networks_mixture(explorer, folder):
    assert list(explorer.figures()) == ["picture", "costs", "student mixture", "teacher mixture"]
    alone = explore(make_explorer_config({"out": folder / "runs", "run": "untrained", "data": folder / "shapes"}))
    assert list(alone.figures()) == ["picture", "costs", "student mixture"]


@pytest.mark.parametrize("who", ["student", "teacher"])
def test_the_table_holds_the_costs_of_the_network_that_is_asked_for(explorer, who):
    explorer.change(table_of=who)
    one, gt = explorer.view.analyses[who], explorer.view.gt
    assert explorer.table()["cost"].iloc[0] == pytest.approx(one.cost[gt, 0].item())


def test_without_a_teacher_the_table_is_the_students(folder):
    config = {"out": folder / "runs", "run": "untrained", "data": folder / "shapes", "table_of": "teacher"}
    alone = explore(make_explorer_config(config))
    student = alone.view.analyses["student"]
    assert alone.table()["cost"].iloc[0] == pytest.approx(student.cost[alone.view.gt, 0].item())


def test_a_change_keeps_all_that_is_not_changed(explorer):
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
        ({"epoch": 9}, "parameter 'epoch' = 9: kept are 0, 1, 2"),
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
def test_what_cannot_be_seen_leaves_it_where_it_is(explorer, changes, message):
    explorer.change(image=1, epoch=1)
    before = is_at(explorer)
    table = explorer.table()
    with pytest.raises(ValueError, match=message):
        explorer.change(**changes)
    assert all(now is then for now, then in zip(is_at(explorer), before, strict=True))
    assert explorer.table().equals(table)


def test_a_photo_of_the_look_is_ones_own_picture_until_an_image_is_chosen(explorer, folder, lad_run):
    given = {"out": folder / "runs", "run": lad_run, "photo": folder / "mine.png"}
    with_photo = explore(make_explorer_config(given))
    assert with_photo.photo is not None and with_photo.view.picture.shape == (40, 60, 3)
    with_photo.change(assignment="atss", epoch=0)
    assert with_photo.view.picture.shape == (40, 60, 3)
    with_photo.change(image=1)
    assert with_photo.photo is None and with_photo.config.photo is None
    assert np.array_equal(with_photo.view.picture, with_photo.session.dataset.pixels(1))


def test_a_photo_is_read_and_asked_about_once(folder, lad_run, monkeypatch):
    given = {"out": folder / "runs", "run": lad_run, "photo": folder / "mine.png"}
    with_photo = explore(make_explorer_config(given))
    analyses = with_photo.view.analyses
    with_photo.change(levels=(3,))
    assert all(one is analyses[name] for name, one in with_photo.view.analyses.items())


def test_a_photo_that_cannot_be_read_is_refused(folder, lad_run):
    with pytest.raises(ValueError, match=r"broken\.png: cannot be read as an image"):
        explore(make_explorer_config({"out": folder / "runs", "run": lad_run, "photo": folder / "broken.png"}))


@pytest.mark.parametrize("changes", [{"image": 0}, {"run": "untrained"}], ids=["image", "run"])
def test_ones_own_picture_and_its_box_stay_until_an_image_or_a_run_is_chosen(explorer, folder, changes):
    explorer.change(data=str(folder / "shapes"))
    explorer.change(photo=open_photo(explorer.session, folder / "mine.png"), box=Box(label=4))
    explorer.change(assignment="atss")
    explorer.change(box=dataclasses.replace(explorer.box, place=(0, 0, 0.5, 0.5)))
    assert explorer.view.batch.targets.labels[0] == 4 and explorer.view.batch.targets.boxes[0, 2] == 64
    explorer.change(**changes)
    assert explorer.photo is None and explorer.box == Box()
    assert explorer.view.picture.shape == (128, 128, 3)


def test_another_teacher_looks_at_the_same_picture(explorer, folder, lad_run):
    explorer.change(photo=open_photo(explorer.session, folder / "mine.png"))
    explorer.change(compare_with=lad_run, assignment="each")
    assert explorer.session.runs["teacher"].folder.name == lad_run
    assert explorer.view.picture.shape == (40, 60, 3)
    explorer.change(compare_with=None)
    assert explorer.session.runs["teacher"].folder.name != lad_run


def test_other_data_are_opened(explorer, folder, tmp_path):
    write_shapes(tmp_path / "more", "toy", {"train": 1, "val": 9})
    explorer.change(data=str(tmp_path / "more"), image=8)
    assert len(explorer.session.dataset) == 9


def test_boxes_are_drawn_of_shown_levels_only(explorer):
    view = explorer.view
    levels = view.analyses["student"].anchors.level[view.positives.anchor[view.positives.gt == view.gt]] + 3
    least, most = levels.min().item(), levels.max().item()
    for shown in ((least,), (least, most), (), tuple(level for level in range(3, 8) if level != least)):
        explorer.change(anchor_boxes=True, predicted_boxes=True, levels=shown)
        (ax,) = explorer.figures()["picture"].axes
        count = int(torch.isin(levels, torch.tensor(shown, dtype=torch.int64)).sum())
        drawn = [len(c.get_paths()) for c in ax.collections if isinstance(c, PatchCollection)]
        few = min(count, MAX_PREDICTED)
        assert drawn == [count] + [few] * (2 if count else 0)  # anchors, and what student and teacher predict there


@pytest.mark.parametrize(
    ("assignment", "own"),
    [("each", {"student", "teacher"}), ("student", {"student"}), ("teacher", {"teacher"}), ("atss", set()),
     ("colad_std_mean", set())],
)  # fmt: skip
def test_a_mixture_that_does_not_decide_says_so(explorer, assignment, own):
    explorer.change(assignment=assignment)
    found = explorer.figures()
    titles = {name: found[f"{name} mixture"].axes[0].get_title() for name in ("student", "teacher")}
    assert {name for name, title in titles.items() if WHAT_IF not in title} == own


def test_the_image_stays_where_another_run_has_the_same_pictures(explorer, folder, lad_run, tmp_path):
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
    page = sheet(figures)
    sizes = [tuple(round(side * SHARPNESS * DPI) for side in figure.get_size_inches()) for figure in figures.values()]
    left, right = sizes[:2], sizes[2:]
    assert page.width == max(w for w, _ in left) + GAP + max(w for w, _ in right)
    assert page.height == pytest.approx(max(sum(h + GAP for _, h in column) for column in (left, right)), abs=2)
    assert sheet({"picture": figures["picture"]}).width == sizes[0][0]


def test_every_assignment_of_the_picture_is_told_by_its_title(explorer):
    told = explorer.by_assignment()
    explorer.change(assignment="atss")
    assert torch.equal(told["ATSS, no network asked"].anchor, explorer.view.positives.anchor)
    assert len(told) == len(explorer_module.assignments_for(explorer.session))


def test_every_epoch_of_the_picture_is_told_by_its_title(explorer):
    told = explorer.by_epoch()
    assert list(told) == ["untrained", "epoch 1", "epoch 2"]
    explorer.change(epoch=1)
    assert torch.equal(told["epoch 1"].anchor, explorer.view.positives.anchor)


def test_without_kept_epochs_there_is_what_is_seen_now(folder):
    alone = explore(make_explorer_config({"out": folder / "runs", "run": "untrained", "data": folder / "shapes"}))
    assert alone.by_epoch() == {"as it is": alone.view.positives}


def test_a_film_has_a_frame_per_epoch_and_none_is_made_unasked(explorer, tmp_path, capsys):
    explorer.save_film(None)
    assert capsys.readouterr().out == "no film was asked for; give film=assignment.gif or film=assignment.mp4\n"
    explorer.save_film(tmp_path / "assignment.gif")
    with Image.open(tmp_path / "assignment.gif") as film:
        assert film.n_frames == 3
    assert str(tmp_path / "assignment.gif") in capsys.readouterr().out
