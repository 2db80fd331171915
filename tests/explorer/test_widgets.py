"""The explorer's widgets, used as a user would: a choice changes its panels and no other choice."""

import datetime
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from tiny_runs import tiny

from lad.analysis.positives import ASSIGNMENTS, NEED_TEACHER
from lad.data.synthetic.folders import write_shapes
from lad.experiments.run_store import finished_runs, open_run
from lad.experiments.runner import run_experiment
from lad.explorer import photo as photo_module
from lad.explorer.app import explore
from lad.explorer.config import make_explorer_config
from lad.explorer.photo import UserBox
from lad.explorer.widgets import NO_EPOCH, OWN_TEACHER, PANELS, THUMBNAILS, Controls

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images for 2.4 pages of thumbnails, markup as a class name; a LAD run with its teacher, one without epochs."""
    folder = tmp_path_factory.mktemp("controls")
    write_shapes(folder / "shapes", "toy", {"train": 4, "val": 2 * THUMBNAILS + 3})
    for split in ("train", "val"):
        file = folder / "shapes" / f"instances_{split}.json"
        content = json.loads(file.read_text())
        content["categories"][0]["name"] = EVIL
        file.write_text(json.dumps(content))
    data, out = folder / "shapes", folder / "runs"
    run_experiment(tiny(data, out, method="lad", teacher="r18", teacher_epochs=1))
    run_experiment(tiny(data, out, seed=1, save_epochs=False, epochs=1))
    return folder


@pytest.fixture(scope="module")
def names(folder):
    runs = [path.name for path in (folder / "runs").iterdir() if path.is_dir()]
    return {
        "lad": next(name for name in runs if "-lad-" in name),
        "teacher": next(name for name in runs if "-baseline-" in name and "-s0-" in name),
        "no epochs": next(name for name in runs if "-s1-" in name),
    }


@pytest.fixture
def controls(folder, names):
    return Controls(explore(make_explorer_config({"out": folder / "runs", "run": names["lad"]})))


def contents(controls) -> dict[str, str]:
    """Return what each panel shows."""
    return {name: panel.value for name, panel in controls.panels.items()} | {"table": controls.table.value}


def choices(controls) -> dict[str, object]:
    """Return the value of every control."""
    chosen = ("run", "compare_with", "epoch", "gt", "assignment", "anchor_boxes", "predicted_boxes", "table_of")
    boxes = ("box_x", "box_y", "box_class")
    values = {name: getattr(controls, name).value for name in (*chosen, *boxes)}
    return values | {"levels": [button.value for button in controls.levels]}


def changed(before, after) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def visible_thumbnails(controls) -> list[int]:
    buttons = [button for button in controls.thumbnails if button.layout.display != "none"]
    return [int(button.tooltip.split()[1]) - 1 for button in buttons]


def chosen_thumbnails(controls) -> list[int]:
    buttons = [button for button in controls.thumbnails if "lad-chosen" in button._dom_classes]
    return [int(button.tooltip.split()[1]) - 1 for button in buttons]


def image_file(width=60, height=40, kind="png") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind)
    return file.getvalue()


def upload(controls, content: bytes, name: str = "cat.png") -> None:
    """Upload a file as the front end does."""
    modified = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    file = {"name": name, "type": "image/png", "size": len(content), "content": memoryview(content)}
    controls.upload.set_state({"value": [{**file, "last_modified": int(modified.timestamp() * 1000)}]})


# Each control changes what it should


def test_at_first_every_control_shows_the_explorers_state(controls, names):
    assert controls.run.value == names["lad"] and controls.compare_with.value == ""
    assert [value for _, value in controls.run.options] == [*controls.runs, "untrained"]
    assert set(controls.runs) == set(names.values())
    assert controls.compare_with.options[0][0] == OWN_TEACHER
    assert [value for _, value in controls.compare_with.options] == ["", *controls.runs]
    assert controls.epoch.options == (("untrained", 0), ("1", 1), ("2", 2)) and controls.epoch.value == 2
    assert controls.image_range.value == "1–8 of 19"
    assert controls.gt.value == controls.explorer.view.gt and controls.assignment.value == "each"
    assert [name for _, name in controls.assignment.options] == list(ASSIGNMENTS)
    assert all(button.value for button in controls.levels)
    assert chosen_thumbnails(controls) == [0] and controls.message.value == ""
    assert controls.user_box.layout.display == "none"


def test_a_run_has_a_readable_title(controls, names):
    titles = {value: label for label, value in controls.run.options}
    for run in finished_runs(controls.explorer.config.out):
        title = titles[run.folder.name]
        networks = "r18 ← r18, LAD" if run.parameters.method == "lad" else "r18, plain"
        assert title.startswith(f"{networks}, AP {run.metrics['AP']:.3f}".replace(" 0.", " ."))
    assert len(set(titles.values())) == len(titles)


def test_at_first_every_panel_is_drawn(controls):
    for panel in controls.panels.values():
        assert panel.value.startswith("<svg ") and panel.layout.display is None
    assert controls.table.value.startswith("<table>") and 'class="lad-positive"' in controls.table.value


@pytest.mark.parametrize(
    ("name", "value", "panels"),
    [
        ("assignment", "atss", {*PANELS, "table"}),  # the mixtures' titles change
        ("epoch", 0, {"picture", "costs", "student mixture", "table"}),
        ("anchor_boxes", True, {"picture"}),
        ("predicted_boxes", True, {"picture"}),
        ("table_of", "teacher", {"table"}),
    ],
)
def test_a_choice_changes_its_panels_and_no_other_choice(controls, name, value, panels):
    before, chosen = contents(controls), choices(controls)
    getattr(controls, name).value = value
    assert changed(before, contents(controls)) == panels
    assert changed(chosen, choices(controls)) == {name}
    assert getattr(controls.explorer.config, name) == value


def test_another_object_changes_every_panel_and_no_other_choice(controls):
    image = next(i for i in range(19) if len(controls.explorer.session.dataset.annotations.records[i].boxes) > 1)
    controls.explorer.change(image=image, gt=0)
    controls.refresh()
    before, chosen = contents(controls), choices(controls)
    controls.gt.value = 1
    assert changed(before, contents(controls)) == {*PANELS, "table"}
    assert changed(chosen, choices(controls)) == {"gt"} and controls.explorer.config.gt == 1


def test_a_hidden_level_is_left_out_of_image_and_costs(controls):
    before, chosen = contents(controls), choices(controls)
    controls.levels[0].value = False
    assert changed(before, contents(controls)) == {"picture", "costs"}
    assert changed(chosen, choices(controls)) == {"levels"}
    assert controls.explorer.config.levels == (4, 5, 6, 7)
    controls.levels[0].value = True
    assert controls.explorer.config.levels == (3, 4, 5, 6, 7)


def test_all_levels_may_be_hidden(controls):
    for button in controls.levels:
        button.value = False
    assert controls.explorer.config.levels == () and controls.message.value == ""
    assert all(panel.value.startswith("<svg ") for panel in controls.panels.values())


def test_choices_stay_while_others_are_made(controls):
    controls.epoch.value = 1
    controls.levels[1].value = False
    controls.anchor_boxes.value = True
    controls.table_of.value = "teacher"
    controls.assignment.value = "tal"
    controls.thumbnails[3].click()
    config = controls.explorer.config
    assert (config.epoch, config.levels, config.anchor_boxes) == (1, (3, 5, 6, 7), True)
    assert (config.table_of, config.assignment, config.image) == ("teacher", "tal", 3)
    assert choices(controls)["epoch"] == 1 and choices(controls)["levels"] == [True, False, True, True, True]


# Runs


def test_another_run_brings_its_own_epochs_objects_and_assignments(controls, names):
    controls.epoch.value = 1
    controls.assignment.value = "teacher"
    controls.thumbnails[2].click()
    controls.run.value = names["no epochs"]
    assert controls.message.value == ""
    assert controls.explorer.session.name == names["no epochs"]
    assert [value for _, value in controls.epoch.options] == [NO_EPOCH] and controls.epoch.disabled
    assert set(ASSIGNMENTS) - {name for _, name in controls.assignment.options} == set(NEED_TEACHER)
    assert controls.assignment.value == "each" and chosen_thumbnails(controls) == [2]  # the data are the same
    assert len(controls.gt.options) == len(controls.explorer.view.batch.targets.boxes)
    assert controls.gt.value == controls.explorer.view.gt
    assert controls.panels["teacher mixture"].layout.display == "none"
    assert controls.panels["teacher mixture"].value == "" and controls.table_of.options == ("student",)
    controls.run.value = names["lad"]
    assert [value for _, value in controls.epoch.options] == [0, 1, 2] and not controls.epoch.disabled
    assert controls.panels["teacher mixture"].value and controls.panels["teacher mixture"].layout.display is None
    assert [name for _, name in controls.assignment.options] == list(ASSIGNMENTS)


def test_an_untrained_network_can_be_chosen(folder, names):
    config = {"out": folder / "runs", "run": names["lad"], "data": folder / "shapes"}
    controls = Controls(explore(make_explorer_config(config)))
    controls.run.value = "untrained"
    assert controls.explorer.session.name == controls.run.value == "untrained" and controls.message.value == ""


def test_another_teacher_changes_its_panels_and_not_the_image(controls, names):
    controls.thumbnails[1].click()
    before = contents(controls)
    controls.compare_with.value = names["no epochs"]
    assert controls.explorer.session.runs["teacher"].folder.name == names["no epochs"]
    assert controls.explorer.config.image == 1 and controls.run.value == names["lad"]
    assert "teacher mixture" in changed(before, contents(controls))
    assert "student mixture" not in changed(before, contents(controls))
    controls.compare_with.value = ""
    assert not changed(before, contents(controls))


def test_a_run_without_a_teacher_can_be_compared_with_another_run(controls, names):
    controls.run.value = names["no epochs"]
    controls.compare_with.value = names["teacher"]
    assert "teacher" in [name for _, name in controls.assignment.options]
    assert controls.panels["teacher mixture"].value


@pytest.fixture
def elsewhere(folder, names, tmp_path):
    """A copy of a run, in a folder of its own."""
    shutil.copytree(folder / "runs" / names["no epochs"], tmp_path / "copied-run")
    return tmp_path / "copied-run"


def test_a_run_outside_the_folder_can_be_left_and_chosen_again(folder, names, elsewhere):
    controls = Controls(explore(make_explorer_config({"out": folder / "runs", "run": str(elsewhere)})))
    assert controls.run.value == str(elsewhere) and controls.explorer.session.name == "copied-run"
    assert len({label for label, _ in controls.run.options}) == len(names) + 2
    controls.run.value = names["lad"]
    assert controls.message.value == ""
    controls.run.value = str(elsewhere)
    assert controls.explorer.session.name == "copied-run" and controls.message.value == ""


def test_a_teacher_outside_the_folder_is_among_the_options(folder, names, elsewhere):
    config = {"out": folder / "runs", "run": names["lad"], "compare_with": str(elsewhere)}
    controls = Controls(explore(make_explorer_config(config)))
    assert controls.compare_with.value == str(elsewhere)
    controls.assignment.value = "teacher"
    assert controls.explorer.session.runs["teacher"].folder == elsewhere and controls.message.value == ""


def test_a_folder_without_runs_offers_an_untrained_network(folder, tmp_path):
    controls = Controls(explore(make_explorer_config({"out": tmp_path, "data": folder / "shapes"})))
    assert [label for label, _ in controls.run.options] == ["untrained"]
    assert [label for label, _ in controls.compare_with.options] == [OWN_TEACHER]
    assert controls.epoch.value == NO_EPOCH and controls.epoch.disabled


# Thumbnails


def test_a_thumbnail_shows_its_image_with_the_default_object(controls):
    controls.gt.value = 0
    controls.thumbnails[4].click()
    explorer = controls.explorer
    assert explorer.config.image == 4 and explorer.config.gt is None and chosen_thumbnails(controls) == [4]
    assert np.array_equal(explorer.view.pixels, explorer.session.dataset.pixels(4))
    assert len(controls.gt.options) == len(explorer.view.batch.targets.boxes)


def test_thumbnail_pages_turn_forward_and_back_and_stop_at_the_ends(controls):
    pages = [list(range(8)), list(range(8, 16)), [16, 17, 18]]
    visited = [visible_thumbnails(controls)]
    for button in (
        controls.previous,
        controls.next,
        controls.next,
        controls.next,
        controls.previous,
        controls.previous,
    ):
        button.click()
        visited.append(visible_thumbnails(controls))
        assert controls.image_range.value == f"{visited[-1][0] + 1}–{visited[-1][-1] + 1} of 19"
    assert visited == [pages[i] for i in (0, 0, 1, 2, 2, 1, 0)]
    assert controls.explorer.config.image == 0  # turning chooses nothing


def test_a_thumbnail_on_a_later_page_is_the_image_of_that_page(controls):
    controls.next.click()
    assert chosen_thumbnails(controls) == []
    controls.next.click()
    controls.thumbnails[2].click()
    assert controls.explorer.config.image == 18 and chosen_thumbnails(controls) == [18]
    controls.previous.click()
    assert chosen_thumbnails(controls) == []


def test_each_visible_thumbnail_has_a_small_image(controls):
    style = controls.thumbnail_style.value
    assert style.count("data:image/jpeg;base64,") == THUMBNAILS
    controls.next.click()
    controls.next.click()
    assert controls.thumbnail_style.value.count("data:image/jpeg;base64,") == 3


def test_the_page_of_the_configured_image_is_visible(folder, names):
    controls = Controls(explore(make_explorer_config({"out": folder / "runs", "run": names["lad"], "image": 9})))
    assert visible_thumbnails(controls) == list(range(8, 16)) and chosen_thumbnails(controls) == [9]


def test_another_run_on_the_same_data_shows_the_same_image(controls, names):
    controls.next.click()
    controls.thumbnails[1].click()
    controls.run.value = names["no epochs"]
    assert visible_thumbnails(controls) == list(range(8, 16)) and chosen_thumbnails(controls) == [9]


# The user's own photo


def test_an_uploaded_photo_is_shown_with_a_movable_box(controls):
    before = contents(controls)
    upload(controls, image_file())
    assert controls.message.value == ""
    assert controls.explorer.view.pixels.shape == (40, 60, 3) and controls.explorer.view.gt == 0
    assert "picture" in changed(before, contents(controls))
    assert controls.user_box.layout.display == "flex" and chosen_thumbnails(controls) == []
    assert controls.gt.options[0] == ("your box", 0)
    assert (controls.box_x.value, controls.box_y.value) == ((0.25, 0.75), (0.25, 0.75))


def test_a_moved_box_changes_the_panels_and_no_other_choice(controls):
    upload(controls, image_file())
    before, chosen = contents(controls), choices(controls)
    controls.box_x.value = (0.0, 0.5)
    assert controls.explorer.box.corners == (0.0, 0.25, 0.5, 0.75)
    assert controls.explorer.view.batch.targets.boxes[0].tolist() == [0, pytest.approx(21.25), 64, 63.75]
    assert {"picture", "costs", "student mixture", "table"} <= changed(before, contents(controls))
    assert changed(chosen, choices(controls)) == {"box_x"}
    controls.box_class.value = 3
    assert controls.explorer.view.batch.targets.labels[0] == 3
    assert controls.gt.options[0][0] == "your box" and controls.explorer.box.corners == (0.0, 0.25, 0.5, 0.75)


@pytest.mark.parametrize("side", [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_a_box_keeps_a_minimum_size_within_the_image(controls, side):
    upload(controls, image_file())
    controls.box_x.value = side
    controls.box_y.value = side
    x0, y0, x1, y1 = controls.explorer.box.corners
    assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
    assert x1 - x0 == pytest.approx(0.02) and controls.message.value == ""
    assert controls.box_x.value == pytest.approx((x0, x1)) and controls.box_y.value == pytest.approx((y0, y1))


def test_a_detection_can_be_chosen_and_stays_chosen_while_the_box_moves(controls, monkeypatch):
    monkeypatch.setattr(photo_module, "SCORE_THRESHOLD", 0.0)
    upload(controls, image_file())
    assert len(controls.gt.options) == 6
    controls.gt.value = 3
    controls.box_x.value = (0.1, 0.4)
    assert controls.explorer.view.gt == controls.gt.value == 3


def test_a_thumbnail_replaces_the_photo_and_the_same_file_can_be_uploaded_again(controls):
    upload(controls, image_file())
    controls.thumbnails[1].click()
    assert controls.explorer.photo is None and controls.user_box.layout.display == "none"
    assert chosen_thumbnails(controls) == [1]
    upload(controls, image_file())
    assert controls.explorer.photo is not None and controls.user_box.layout.display == "flex"


@pytest.mark.parametrize("name", ["cat.png", EVIL])
def test_a_corrupted_upload_is_one_escaped_line_and_the_image_stays(controls, name):
    controls.thumbnails[2].click()
    before, chosen = contents(controls), choices(controls)
    upload(controls, b"not an <b>image</b>", name)
    message = controls.message.value
    assert "cannot be read as an image" in message and "\n" not in message and "<" not in message
    assert not changed(before, contents(controls)) and not changed(chosen, choices(controls))
    assert controls.user_box.layout.display == "none" and chosen_thumbnails(controls) == [2]
    controls.thumbnails[3].click()
    assert controls.message.value == ""


def test_a_photo_in_the_configuration_has_its_box_at_once(folder, names, tmp_path):
    (tmp_path / "mine.jpg").write_bytes(image_file(kind="jpeg"))
    config = {"out": folder / "runs", "run": names["lad"], "photo": tmp_path / "mine.jpg"}
    controls = Controls(explore(make_explorer_config(config)))
    assert controls.user_box.layout.display == "flex" and chosen_thumbnails(controls) == []
    controls.thumbnails[0].click()
    assert controls.explorer.photo is None and chosen_thumbnails(controls) == [0]


def test_the_box_is_reset_with_its_photo(controls, names):
    upload(controls, image_file())
    controls.box_class.value = 5
    controls.run.value = names["no epochs"]
    assert controls.explorer.box == UserBox() and controls.box_class.value == 0 and controls.message.value == ""


# Errors


def test_an_impossible_choice_shows_a_message_and_every_control_goes_back(controls, names, folder):
    shutil.copytree(folder / "runs" / names["teacher"], folder / "runs" / "broken-run")
    try:
        controls.runs["broken-run"] = open_run(folder / "runs" / "broken-run")
        (folder / "runs" / "broken-run" / "params.json").write_text("{}")
        controls.refresh()
        before, chosen = contents(controls), choices(controls)
        controls.run.value = "broken-run"
    finally:
        shutil.rmtree(folder / "runs" / "broken-run")
    assert "params.json: was written by another version" in controls.message.value
    assert not changed(before, contents(controls)) and not changed(chosen, choices(controls))


def test_markup_in_a_class_name_is_text_everywhere(controls, folder, names):
    """In the image, the mixtures, the table and the message about classes that do not match."""
    records = controls.explorer.session.dataset.annotations.records
    image = next(i for i in range(len(records)) if 0 in records[i].labels)
    controls.explorer.change(image=image, gt=records[image].labels.tolist().index(0))
    controls.refresh()
    for value in contents(controls).values():
        assert EVIL not in value and "<img" not in value
    assert "&lt;img src=x" in controls.panels["picture"].value
    assert "&lt;img src=x" in controls.panels["student mixture"].value

    other = folder / "other"
    if not other.exists():
        write_shapes(other, "toy", {"train": 4, "val": 2})
        run_experiment(tiny(other, folder / "runs", seed=7, epochs=1))
    fresh = Controls(
        explore(make_explorer_config({"out": folder / "runs", "run": names["lad"], "data": folder / "shapes"}))
    )
    fresh.run.value = next(name for name in fresh.runs if "-s7-" in name)
    assert "&lt;img src=x onerror=alert(1)&gt;" in fresh.message.value and "<" not in fresh.message.value
    assert fresh.run.value == names["lad"]


def test_the_table_has_a_row_per_candidate_and_its_positives_in_bold(controls):
    table = controls.explorer.table()
    assert controls.table.value.count("<tr") == 1 + len(table)
    assert controls.table.value.count("lad-positive") == int((table["positive"] == "yes").sum())
    assert f"<td>{table['cost'].iloc[0]:.3f}</td>" in controls.table.value
