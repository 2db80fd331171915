"""What there is to see at a config: which networks, which picture, which epoch."""

import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from lad.analysis.assignment import analyze
from lad.analysis.positives import ASSIGNMENTS, NEED_TEACHER
from lad.config.experiment import make_parameters
from lad.data.synthetic.shapes import write_shapes
from lad.experiments.runner import run_experiment
from lad.explorer import session as scene_module
from lad.explorer.config import make_explorer_config
from lad.explorer.session import (
    LONGEST,
    MAX_ANALYSES,
    MAX_DETECTED,
    Box,
    assignments_for,
    find_runs,
    gt_names,
    open_photo,
    open_session,
    render_view,
)
from lad.structures import Detections


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Finished runs by name: "plain", "without epochs", and "lad" with its "teacher", which came last."""
    folder = tmp_path_factory.mktemp("view")
    write_shapes(folder / "shapes", "toy", {"train": 4, "val": 6})
    made = {"plain": tiny(folder, seed=1, epochs=2), "without epochs": tiny(folder, seed=2, save_epochs=False)}
    made["lad"] = tiny(folder, method="lad", teacher="r18", seed=3)
    finished = {name: run_experiment(parameters) for name, parameters in made.items()}
    finished["teacher"] = run_experiment(made["lad"].of_teacher())
    for second, name in enumerate(("plain", "without epochs", "teacher", "lad")):  # they may end within one
        file = finished[name].folder / "results.json"
        results = json.loads(file.read_text())
        file.write_text(json.dumps({**results, "finished": f"2020-01-01T00:00:0{second}+00:00"}))
    return finished


def tiny(folder, **changes):
    sizes = {"short_sides": [128], "test_short_side": 128, "long_side": 128}
    given = {"method": "baseline", "student": "r18", "data": folder / "shapes", "epochs": 1, "batch_size": 4}
    return make_parameters({**given, **sizes, "accelerator": "cpu", "out": folder / "runs", **changes})


@pytest.fixture(scope="module")
def look_at(runs):
    out = runs["plain"].folder.parent
    return lambda **given: make_explorer_config({"out": out, **given})


@pytest.fixture(scope="module")
def session(look_at):
    """Of the run with a teacher."""
    return open_session(look_at())


@pytest.fixture(scope="module")
def plain(runs, look_at):
    return open_session(look_at(run=runs["plain"].folder.name))


def same_weights(first, second) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


def same_opinion(first, second) -> bool:
    """Up to the order in which a number of threads adds."""
    return torch.allclose(first.outputs.cls_logits, second.outputs.cls_logits, atol=1e-4) and torch.allclose(
        first.outputs.box_deltas, second.outputs.box_deltas, atol=1e-4
    )


# Which networks


def test_the_newest_run_is_opened_with_its_own_teacher(session, runs):
    assert session.name == runs["lad"].folder.name
    assert {name: run.folder for name, run in session.runs.items()} == {
        "student": runs["lad"].folder,
        "teacher": runs["teacher"].folder,
    }
    for name, run in (("student", "lad"), ("teacher", "teacher")):
        assert same_weights(session.detectors[name], runs[run].load_detector())


@pytest.mark.parametrize("given", ["name", "folder"])
def test_a_run_is_found_by_its_name_and_by_its_folder(given, runs, tmp_path):
    run = runs["plain"]
    by = {"name": {"run": run.folder.name, "out": run.folder.parent}, "folder": {"run": str(run.folder)}}
    assert find_runs(make_explorer_config({"out": tmp_path, **by[given]}))["student"].folder == run.folder


def test_a_run_without_a_teacher_has_none(plain):
    assert list(plain.detectors) == list(plain.runs) == ["student"]


def test_a_network_without_a_teacher_can_be_compared_with_another_run(runs, look_at):
    names = {"run": runs["plain"].folder.name, "compare_with": runs["without epochs"].folder.name}
    compared = open_session(look_at(**names))
    assert same_weights(compared.detectors["teacher"], runs["without epochs"].load_detector())
    assert same_weights(compared.detectors["student"], runs["plain"].load_detector())


def test_another_run_takes_the_place_of_a_runs_own_teacher(runs, look_at):
    found = find_runs(look_at(run=runs["lad"].folder.name, compare_with=runs["plain"].folder.name))
    assert found["teacher"].folder == runs["plain"].folder


def test_a_teacher_whose_run_is_gone_is_no_mistake(runs, tmp_path):
    folder = tmp_path / runs["lad"].folder.name
    shutil.copytree(runs["lad"].folder, folder)
    parameters = json.loads((folder / "params.json").read_text())
    (folder / "params.json").write_text(json.dumps({**parameters, "out": str(tmp_path)}))
    assert list(open_session(make_explorer_config({"out": tmp_path})).detectors) == ["student"]


def test_an_untrained_network_is_the_same_every_time_and_has_no_epochs(runs, look_at):
    data = str(runs["plain"].parameters.data)
    before = torch.get_rng_state()
    first, second = (open_session(look_at(run="untrained", data=data)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)  # whoever draws numbers draws the same as without it
    assert first.name == "untrained" and first.epochs == [] and not first.runs
    assert same_weights(first.detectors["student"], second.detectors["student"])
    assert not first.detectors["student"].training


def test_a_folder_without_a_run_shows_an_untrained_network_and_says_so(runs, tmp_path, capsys):
    opened = open_session(make_explorer_config({"out": tmp_path, "data": runs["plain"].parameters.data}))
    assert opened.name == "untrained"
    assert capsys.readouterr().out == (
        f"no finished run in {tmp_path}; this network is untrained. `make run` trains some in minutes\n"
    )


@pytest.mark.parametrize("parameter", ["run", "compare_with"])
def test_an_unknown_run_is_one_line_with_those_that_are_there(parameter, runs, look_at):
    with pytest.raises(ValueError) as caught:
        open_session(look_at(**{parameter: "nothing"}))
    line = str(caught.value)
    assert line.startswith(f"parameter '{parameter}' = 'nothing': no finished run in ") and "\n" not in line
    assert all(run.folder.name in line for run in runs.values())


def test_an_unknown_run_where_there_is_none_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"'nothing': no finished run in .*; none is finished there$"):
        open_session(make_explorer_config({"out": tmp_path, "run": "nothing"}))


@pytest.fixture(scope="module")
def other_classes(runs, tmp_path_factory):
    """The runs' data with one class renamed, and an image without objects in front."""
    folder = tmp_path_factory.mktemp("other") / "data"
    shutil.copytree(runs["plain"].parameters.data, folder)
    for split in ("train", "val"):
        file = folder / f"instances_{split}.json"
        content = json.loads(file.read_text())
        content["categories"][0]["name"] = "ball"
        file.write_text(json.dumps(content))
    return folder


def test_a_run_of_other_classes_than_the_data_is_refused(runs, look_at, other_classes):
    run = runs["plain"].folder.name
    with pytest.raises(ValueError, match=rf"^{run}: knows 6 classes \(circle, .*instances_val.json lists 6 \(ball, .*"):
        open_session(look_at(run=run, data=other_classes))


def test_two_networks_of_different_classes_are_refused(runs, look_at, other_classes):
    parameters = runs["plain"].parameters
    other = run_experiment(parameters.model_copy(update={"data": str(other_classes), "out": str(other_classes)}))
    with pytest.raises(ValueError, match=rf"^{other.folder.name}: knows 6 classes \(ball, .* lists 6 \(circle, "):
        open_session(look_at(run=runs["plain"].folder.name, compare_with=str(other.folder)))


def test_only_images_with_objects_are_looked_at(runs, look_at, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(runs["plain"].parameters.data, folder)
    file = folder / "instances_val.json"
    content = json.loads(file.read_text())
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] not in (1, 3)]
    file.write_text(json.dumps(content))
    config = look_at(run=runs["plain"].folder.name, data=folder)
    assert [record.image_id for record in open_session(config).dataset.annotations.records] == [2, 4, 5, 6]
    file.write_text(json.dumps({**content, "annotations": []}))
    with pytest.raises(ValueError, match=r"instances_val\.json: no image with an object to config at"):
        open_session(config)


# Which epoch


def test_the_opinion_of_an_epoch_is_by_its_own_weights_whatever_was_seen_before(plain, runs, look_at):
    batch = render_view(plain, look_at()).batch
    expected = {epoch: analyze(runs["plain"].load_detector(epoch), batch) for epoch in (None, 0, 1, 2)}
    assert not same_opinion(expected[0], expected[2]) and not same_opinion(expected[1], expected[2])
    for image in (0, 1, 0):  # the other image is asked in between, so that weights must be loaded anew
        for epoch in (2, 0, None, 1, 0, 2):
            seen = render_view(plain, look_at(epoch=epoch, image=image)).analyses["student"]
            assert image or same_opinion(seen, expected[epoch])


def test_no_epoch_is_the_network_as_it_ended(plain, look_at):
    last, none = (render_view(plain, look_at(epoch=epoch)).analyses["student"] for epoch in (2, None))
    assert same_opinion(last, none)


def test_a_teacher_with_a_run_of_its_own_stays_as_it_is(session, look_at):
    first, last = (render_view(session, look_at(epoch=epoch)).analyses for epoch in (0, 1))
    assert same_opinion(first["teacher"], last["teacher"])
    assert not same_opinion(first["student"], last["student"])


def test_the_second_network_of_co_learning_follows_the_epoch(runs, look_at, tmp_path):
    parameters = runs["plain"].parameters.model_copy(
        update={"method": "colad", "teacher": "r18", "epochs": 1, "out": str(tmp_path)}
    )
    run = run_experiment(parameters)
    together = open_session(make_explorer_config({"out": tmp_path}))
    assert together.runs["teacher"] == run.teacher_network()
    batch = render_view(together, make_explorer_config({"out": tmp_path})).batch
    for epoch in (1, 0, 1):
        analyses = render_view(together, make_explorer_config({"out": tmp_path, "epoch": epoch})).analyses
        assert same_opinion(analyses["teacher"], analyze(run.teacher_network().load_detector(epoch), batch))
        assert same_opinion(analyses["student"], analyze(run.load_detector(epoch), batch))


def test_an_epoch_that_was_not_kept_is_refused(plain, look_at):
    with pytest.raises(ValueError, match=r"^parameter 'epoch' = 7: kept are 0, 1, 2$"):
        render_view(plain, look_at(epoch=7))


def test_a_run_without_epochs_says_why(runs, look_at):
    config = look_at(run=runs["without epochs"].folder.name)
    assert open_session(config).epochs == []
    with pytest.raises(ValueError, match=r"'epoch' = 1: kept are none, as the run was made without save_epochs$"):
        render_view(open_session(config), config.model_copy(update={"epoch": 1}))


def test_an_untrained_network_has_no_epoch_to_look_at(runs, look_at):
    config = look_at(run="untrained", data=runs["plain"].parameters.data, epoch=0)
    with pytest.raises(ValueError, match=r"'epoch' = 0: kept are none, as the network is untrained$"):
        render_view(open_session(config), config)


def test_what_a_network_said_is_remembered_but_not_without_end(plain, look_at, monkeypatch):
    asked = []
    ask = scene_module.analyze
    monkeypatch.setattr(scene_module, "analyze", lambda *given: asked.append(1) or ask(*given))
    plain.remembered.clear()
    for gt in (0, None):
        for assignment in ("student", "atss"):
            render_view(plain, look_at(gt=gt, assignment=assignment))
    assert len(asked) == 1
    plain.remembered.update({("student", None, -number): None for number in range(1, 2 * MAX_ANALYSES)})
    render_view(plain, look_at(image=1))
    assert len(asked) == 2 and len(plain.remembered) == MAX_ANALYSES


# Which picture and object


def test_the_picture_and_its_gts_are_those_of_the_validation_set(plain, look_at):
    for image in range(len(plain.dataset)):
        seen = render_view(plain, look_at(image=image))
        assert np.array_equal(seen.picture, plain.dataset.pixels(image))
        assert torch.equal(seen.batch.targets.boxes, plain.dataset[image].boxes)
        assert 0 <= seen.gt < len(seen.batch.targets.boxes)


def test_an_image_that_is_not_there_is_refused(plain, look_at):
    with pytest.raises(ValueError, match=r"^parameter 'image' = 6: give 0 … 5$"):
        render_view(plain, look_at(image=6))


def test_an_object_that_is_not_there_is_refused(plain, look_at):
    last = len(render_view(plain, look_at()).batch.targets.boxes) - 1
    assert render_view(plain, look_at(gt=last)).gt == last
    with pytest.raises(ValueError, match=f"^parameter 'gt' = {last + 1}: give 0 … {last}$"):
        render_view(plain, look_at(gt=last + 1))


def test_an_assignment_without_its_teacher_is_not_offered_and_refused(plain, session, look_at):
    assert list(assignments_for(session)) == list(ASSIGNMENTS)
    assert set(ASSIGNMENTS) - set(assignments_for(plain)) == set(NEED_TEACHER)
    with pytest.raises(ValueError, match="assignment 'teacher' needs a teacher"):
        render_view(plain, look_at(assignment="teacher"))


def test_objects_of_one_class_are_numbered(plain, look_at):
    seen = render_view(plain, look_at(photo=None))
    targets = seen.batch.targets
    several = type(targets)(targets.boxes[:1].repeat(3, 1), torch.tensor([2, 0, 2]), torch.zeros(3).long(), None)
    batch = type(seen.batch)(seen.batch.images, several, *[None] * 3)
    named = type(seen)(seen.picture, batch, seen.class_names, seen.analyses, seen.positives, 0)
    assert gt_names(named) == ["triangle 1", "circle", "triangle 2"]


# A picture of one's own


def saved(tmp_path, name, image, **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def colorful(width=60, height=40):
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([rows * 5, columns * 4, rows + columns], axis=2).astype(np.uint8))


def test_on_ones_own_picture_the_drawn_box_is_the_first_object(plain, look_at, tmp_path):
    config = look_at(photo=saved(tmp_path, "mine.png", colorful()))
    seen = render_view(plain, config, box=Box((0.25, 0.5, 0.75, 1.0), label=3))
    height, width = seen.batch.targets.image_hw[0].tolist()
    assert (height, width) == (85, 128)  # as the network sees 40 x 60 pixels
    assert seen.batch.targets.boxes[0].tolist() == [0.25 * 128, 0.5 * 85, 0.75 * 128, 85]
    assert seen.batch.targets.labels[0] == 3 and gt_names(seen)[0] == "your box"
    assert np.array_equal(seen.picture, np.asarray(colorful()))


@pytest.mark.parametrize("label", [6, -1])
def test_a_box_of_a_class_that_is_not_there_is_one_clear_line(label, plain, look_at, tmp_path):
    config = look_at(photo=saved(tmp_path, "mine.png", colorful()))
    with pytest.raises(ValueError, match=rf"^a box of class {label}: give 0 … 5$"):
        render_view(plain, config, box=Box(label=label))


def test_what_the_student_finds_on_it_are_the_other_objects(plain, look_at, tmp_path):
    places = torch.tensor([[float(i), 0, 40 + i, 50] for i in range(8)])
    found = Detections(places, torch.linspace(0.9, 0.4, 8), torch.arange(8) % 6)
    photo = dataclasses.replace(open_photo(plain, saved(tmp_path, "mine.png", colorful())), found=found)
    seen = render_view(plain, look_at(), photo, Box())
    assert len(seen.batch.targets.boxes) == 1 + MAX_DETECTED
    assert torch.equal(seen.batch.targets.boxes[1:], places[:MAX_DETECTED])
    assert seen.batch.targets.labels.tolist() == [0, 0, 1, 2, 3, 4]


def test_another_box_is_asked_about_anew(plain, look_at, tmp_path):
    photo = open_photo(plain, saved(tmp_path, "mine.png", colorful()))
    boxes = [Box((0, 0, 0.5, 0.5)), Box((0.5, 0.5, 1, 1)), Box((0, 0, 0.5, 0.5))]
    first, second, again = (render_view(plain, look_at(), photo, box) for box in boxes)
    assert not torch.equal(first.positives.anchor, second.positives.anchor)
    assert torch.equal(first.positives.anchor, again.positives.anchor)


def test_what_is_found_does_not_depend_on_the_epoch_that_was_looked_at(runs, look_at, tmp_path):
    path = saved(tmp_path, "mine.png", colorful())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene_module, "SURE", 0.0)
        run = runs["plain"].folder.name
        found = []
        for epoch in (None, 0):
            fresh = open_session(look_at(run=run))
            render_view(fresh, look_at(epoch=epoch))
            found.append(open_photo(fresh, path).found)
    assert len(found[0].boxes) and torch.equal(found[0].boxes, found[1].boxes)


@pytest.mark.parametrize("kind", ["L", "RGBA", "P", "1", "I;16"])
def test_a_picture_of_any_mode_is_seen(kind, plain, look_at, tmp_path):
    if kind == "I;16":
        image = Image.fromarray((np.arange(2400).reshape(40, 60) * 20).astype(np.uint16))
    else:
        image = colorful().convert(kind)
    seen = render_view(plain, look_at(photo=saved(tmp_path, "mine.png", image)))
    assert seen.picture.shape == (40, 60, 3) and seen.picture.dtype == np.uint8
    if kind == "L":
        assert np.array_equal(seen.picture, np.repeat(np.asarray(image)[:, :, None], 3, axis=2))


def test_a_photo_that_was_taken_on_its_side_stands_upright(plain, look_at, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    path = saved(tmp_path, "phone.jpg", colorful(), exif=exif, quality=95)
    seen = render_view(plain, look_at(photo=path))
    assert seen.picture.shape == (60, 40, 3)
    upright = np.asarray(colorful().rotate(-90, expand=True)).astype(int)
    assert np.abs(seen.picture.astype(int) - upright).mean() < 6  # of a JPEG


@pytest.mark.parametrize(("width", "height"), [(1, 1), (900, 9), (1300, 700)])
def test_a_picture_of_any_size_is_seen_and_drawn_no_larger_than_it_needs(width, height, plain, look_at, tmp_path):
    seen = render_view(plain, look_at(photo=saved(tmp_path, "mine.png", colorful(width, height))))
    assert max(seen.picture.shape) <= LONGEST
    assert len(seen.batch.targets.boxes) >= 1 and max(seen.batch.targets.image_hw[0].tolist()) <= 128


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + 40 * b"x", b"GIF89a"])
def test_a_file_that_is_no_picture_is_one_clear_line(content, plain, look_at, tmp_path):
    path = tmp_path / "notes.png"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        render_view(plain, look_at(photo=path))
    why = "cannot be read as an image (" if content else "is empty (0 bytes)"
    assert str(caught.value).startswith(f"{path}: {why}") and "\n" not in str(caught.value)


def test_a_broken_upload_is_called_by_its_name(plain):
    content = io.BytesIO(b"no picture")
    content.name = "cat.jpg"
    with pytest.raises(ValueError, match=r"^cat\.jpg: cannot be read as an image"):
        open_photo(plain, content)


def test_a_torn_picture_is_refused_wherever_it_ends(plain):
    whole = {}
    for kind in ("png", "jpeg"):
        file = io.BytesIO()
        colorful(200, 100).save(file, format=kind)
        whole[kind] = file.getvalue()
    for content in whole.values():
        for share in (0.02, 0.3, 0.9):
            with pytest.raises(ValueError, match="cannot be read as an image"):
                open_photo(plain, io.BytesIO(content[: int(share * len(content))]))
