"""Explorer session: which networks, epoch, image and object a configuration shows, and what is an error."""

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
from lad.experiments.runner import run_experiment
from lad.explorer import session as session_module
from lad.explorer.config import make_explorer_config
from lad.explorer.session import (
    MAX_CACHED_ANALYSES,
    MAX_DETECTIONS,
    MAX_DISPLAY_SIDE,
    UserBox,
    assignments_for,
    find_runs,
    gt_names,
    open_photo,
    open_session,
    render_view,
)
from lad.structures import Detections


@pytest.fixture(scope="module")
def runs(trained_runs):
    """Finished runs by name: "plain", "without epochs", and the newest, "lad", with its "teacher"."""
    return trained_runs


@pytest.fixture(scope="module")
def config_for(runs):
    out = runs["plain"].folder.parent
    return lambda **given: make_explorer_config({"out": out, **given})


@pytest.fixture(scope="module")
def session(config_for):
    """The session of the run with a teacher."""
    return open_session(config_for())


@pytest.fixture(scope="module")
def plain(runs, config_for):
    return open_session(config_for(run=runs["plain"].folder.name))


def same_weights(first, second) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


def same_analysis(first, second) -> bool:
    """Return whether outputs agree up to the order in which threads add."""
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


def test_a_run_without_a_teacher_opens_alone(plain):
    assert list(plain.detectors) == list(plain.runs) == ["student"]


def test_a_network_without_a_teacher_can_be_compared_with_another_run(runs, config_for):
    names = {"run": runs["plain"].folder.name, "compare_with": runs["without epochs"].folder.name}
    compared = open_session(config_for(**names))
    assert same_weights(compared.detectors["teacher"], runs["without epochs"].load_detector())
    assert same_weights(compared.detectors["student"], runs["plain"].load_detector())


def test_compare_with_replaces_a_runs_own_teacher(runs, config_for):
    opened = find_runs(config_for(run=runs["lad"].folder.name, compare_with=runs["plain"].folder.name))
    assert opened["teacher"].folder == runs["plain"].folder


def test_a_run_whose_teacher_was_deleted_opens_alone(runs, tmp_path):
    folder = tmp_path / runs["lad"].folder.name
    shutil.copytree(runs["lad"].folder, folder)
    parameters = json.loads((folder / "params.json").read_text())
    (folder / "params.json").write_text(json.dumps({**parameters, "out": str(tmp_path)}))
    assert list(open_session(make_explorer_config({"out": tmp_path})).detectors) == ["student"]


def test_an_untrained_network_is_the_same_every_time_and_has_no_epochs(runs, config_for):
    data = str(runs["plain"].parameters.data)
    before = torch.get_rng_state()
    first, second = (open_session(config_for(run="untrained", data=data)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)  # the global generator is unchanged
    assert first.name == "untrained" and first.epochs == [] and not first.runs
    assert same_weights(first.detectors["student"], second.detectors["student"])
    assert not first.detectors["student"].training


def test_a_folder_without_a_run_opens_an_untrained_network_and_logs_why(runs, tmp_path, capsys):
    opened = open_session(make_explorer_config({"out": tmp_path, "data": runs["plain"].parameters.data}))
    assert opened.name == "untrained"
    assert capsys.readouterr().out == (
        f"no finished run in {tmp_path}: showing an untrained network; `make run` trains some in minutes\n"
    )


@pytest.mark.parametrize("parameter", ["run", "compare_with"])
def test_an_unknown_run_is_one_line_with_the_existing_runs(parameter, runs, config_for):
    with pytest.raises(ValueError) as caught:
        open_session(config_for(**{parameter: "nothing"}))
    line = str(caught.value)
    assert line.startswith(f"parameter '{parameter}' = 'nothing': no finished run in ") and "\n" not in line
    assert all(run.folder.name in line for run in runs.values())


def test_an_unknown_run_in_an_empty_folder_is_one_line(tmp_path):
    with pytest.raises(
        ValueError, match=r"'nothing': no finished run in .*; the folder has none; `make run` trains some$"
    ):
        open_session(make_explorer_config({"out": tmp_path, "run": "nothing"}))


@pytest.fixture(scope="module")
def other_classes(runs, tmp_path_factory):
    """The runs' data with one class renamed."""
    folder = tmp_path_factory.mktemp("other") / "data"
    shutil.copytree(runs["plain"].parameters.data, folder)
    for split in ("train", "val"):
        file = folder / f"instances_{split}.json"
        content = json.loads(file.read_text())
        content["categories"][0]["name"] = "ball"
        file.write_text(json.dumps(content))
    return folder


def test_data_with_other_classes_than_the_run_are_an_error(runs, config_for, other_classes):
    run = runs["plain"].folder.name
    with pytest.raises(
        ValueError, match=rf"^{run}: was trained on 6 classes \(circle, .*instances_val.json has 6 classes \(ball, .*"
    ):
        open_session(config_for(run=run, data=other_classes))


def test_two_networks_with_different_classes_are_an_error(runs, config_for, other_classes):
    parameters = runs["plain"].parameters
    other = run_experiment(parameters.model_copy(update={"data": str(other_classes), "out": str(other_classes)}))
    with pytest.raises(
        ValueError, match=rf"^{other.folder.name}: was trained on 6 classes \(ball, .* has 6 classes \(circle, "
    ):
        open_session(config_for(run=runs["plain"].folder.name, compare_with=str(other.folder)))


def test_only_images_with_objects_are_shown(runs, config_for, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(runs["plain"].parameters.data, folder)
    file = folder / "instances_val.json"
    content = json.loads(file.read_text())
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] not in (1, 3)]
    file.write_text(json.dumps(content))
    config = config_for(run=runs["plain"].folder.name, data=folder)
    assert [record.image_id for record in open_session(config).dataset.annotations.records] == [2, 4, 5, 6]
    file.write_text(json.dumps({**content, "annotations": []}))
    with pytest.raises(ValueError, match=r"instances_val\.json: no image has an object, so"):
        open_session(config)


# Which epoch


def test_an_epoch_is_analyzed_with_its_own_weights_whatever_was_shown_before(plain, runs, config_for):
    batch = render_view(plain, config_for()).batch
    expected = {epoch: analyze(runs["plain"].load_detector(epoch), batch) for epoch in (None, 0, 1, 2)}
    assert not same_analysis(expected[0], expected[2]) and not same_analysis(expected[1], expected[2])
    for image in (0, 1, 0):  # the other image in between, so that weights must be loaded again
        for epoch in (2, 0, None, 1, 0, 2):
            analysis = render_view(plain, config_for(epoch=epoch, image=image)).analyses["student"]
            assert image or same_analysis(analysis, expected[epoch])


def test_without_an_epoch_the_final_weights_are_used(plain, config_for):
    last, final = (render_view(plain, config_for(epoch=epoch)).analyses["student"] for epoch in (2, None))
    assert same_analysis(last, final)


def test_a_teacher_with_a_run_of_its_own_always_has_its_final_weights(session, config_for):
    first, last = (render_view(session, config_for(epoch=epoch)).analyses for epoch in (0, 1))
    assert same_analysis(first["teacher"], last["teacher"])
    assert not same_analysis(first["student"], last["student"])


def test_the_second_network_of_co_learning_follows_the_epoch(runs, config_for, tmp_path):
    parameters = runs["plain"].parameters.model_copy(
        update={"method": "colad", "teacher": "r18", "epochs": 1, "out": str(tmp_path)}
    )
    run = run_experiment(parameters)
    together = open_session(make_explorer_config({"out": tmp_path}))
    assert together.runs["teacher"] == run.teacher_network()
    batch = render_view(together, make_explorer_config({"out": tmp_path})).batch
    for epoch in (1, 0, 1):
        analyses = render_view(together, make_explorer_config({"out": tmp_path, "epoch": epoch})).analyses
        assert same_analysis(analyses["teacher"], analyze(run.teacher_network().load_detector(epoch), batch))
        assert same_analysis(analyses["student"], analyze(run.load_detector(epoch), batch))


def test_an_epoch_that_was_not_saved_is_an_error(plain, config_for):
    with pytest.raises(ValueError, match=r"^parameter 'epoch' = 7: the saved epochs are 0, 1, 2$"):
        render_view(plain, config_for(epoch=7))


def test_an_epoch_of_a_run_without_saved_epochs_is_an_error_with_the_reason(runs, config_for):
    config = config_for(run=runs["without epochs"].folder.name)
    assert open_session(config).epochs == []
    with pytest.raises(
        ValueError,
        match=r"'epoch' = 1: no epoch is saved, because the run was trained without save_epochs; leave it out$",
    ):
        render_view(open_session(config), config.model_copy(update={"epoch": 1}))


def test_an_epoch_of_an_untrained_network_is_an_error_with_the_reason(runs, config_for):
    config = config_for(run="untrained", data=runs["plain"].parameters.data, epoch=0)
    with pytest.raises(
        ValueError, match=r"'epoch' = 0: no epoch is saved, because the network is untrained; leave it out$"
    ):
        render_view(open_session(config), config)


def test_analyses_are_cached_up_to_a_limit(plain, config_for, monkeypatch):
    calls = []
    analyze_image = session_module.analyze
    monkeypatch.setattr(session_module, "analyze", lambda *given: calls.append(1) or analyze_image(*given))
    plain.analysis_cache.clear()
    for gt in (0, None):
        for assignment in ("student", "atss"):
            render_view(plain, config_for(gt=gt, assignment=assignment))
    assert len(calls) == 1
    plain.analysis_cache.update({("student", None, -number): None for number in range(1, 2 * MAX_CACHED_ANALYSES)})
    render_view(plain, config_for(image=1))
    assert len(calls) == 2 and len(plain.analysis_cache) == MAX_CACHED_ANALYSES


# Which image and object


def test_the_image_and_its_gts_are_those_of_the_validation_set(plain, config_for):
    for image in range(len(plain.dataset)):
        view = render_view(plain, config_for(image=image))
        assert np.array_equal(view.pixels, plain.dataset.pixels(image))
        assert torch.equal(view.batch.targets.boxes, plain.dataset[image].boxes)
        assert 0 <= view.gt < len(view.batch.targets.boxes)


def test_an_image_index_out_of_range_is_an_error(plain, config_for):
    with pytest.raises(ValueError, match=r"^parameter 'image' = 6: must be 0 … 5$"):
        render_view(plain, config_for(image=6))


def test_an_object_index_out_of_range_is_an_error(plain, config_for):
    last = len(render_view(plain, config_for()).batch.targets.boxes) - 1
    assert render_view(plain, config_for(gt=last)).gt == last
    with pytest.raises(ValueError, match=f"^parameter 'gt' = {last + 1}: must be 0 … {last}$"):
        render_view(plain, config_for(gt=last + 1))


def test_an_assignment_without_its_teacher_is_not_offered_and_an_error(plain, session, config_for):
    assert list(assignments_for(session)) == list(ASSIGNMENTS)
    assert set(ASSIGNMENTS) - set(assignments_for(plain)) == set(NEED_TEACHER)
    with pytest.raises(ValueError, match="assignment 'teacher' needs a teacher"):
        render_view(plain, config_for(assignment="teacher"))


def test_objects_of_one_class_are_numbered(plain, config_for):
    view = render_view(plain, config_for(photo=None))
    targets = view.batch.targets
    several = type(targets)(targets.boxes[:1].repeat(3, 1), torch.tensor([2, 0, 2]), torch.zeros(3).long(), None)
    batch = type(view.batch)(view.batch.images, several, *[None] * 3)
    named = type(view)(view.pixels, batch, view.class_names, view.analyses, view.positives, 0)
    assert gt_names(named) == ["triangle 1", "circle", "triangle 2"]


# The user's own photo


def saved(tmp_path, name, image, **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def colorful(width=60, height=40):
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([rows * 5, columns * 4, rows + columns], axis=2).astype(np.uint8))


def test_on_a_photo_the_users_box_is_the_first_object(plain, config_for, tmp_path):
    config = config_for(photo=saved(tmp_path, "mine.png", colorful()))
    view = render_view(plain, config, box=UserBox((0.25, 0.5, 0.75, 1.0), label=3))
    height, width = view.batch.targets.image_hw[0].tolist()
    assert (height, width) == (85, 128)  # as the network sees 40 x 60 pixels
    assert view.batch.targets.boxes[0].tolist() == [0.25 * 128, 0.5 * 85, 0.75 * 128, 85]
    assert view.batch.targets.labels[0] == 3 and gt_names(view)[0] == "your box"
    assert np.array_equal(view.pixels, np.asarray(colorful()))


@pytest.mark.parametrize("label", [6, -1])
def test_a_box_of_an_unknown_class_is_one_clear_line(label, plain, config_for, tmp_path):
    config = config_for(photo=saved(tmp_path, "mine.png", colorful()))
    with pytest.raises(ValueError, match=rf"^box of class {label}: the class must be 0 … 5$"):
        render_view(plain, config, box=UserBox(label=label))


def test_the_students_detections_are_the_photos_other_objects(plain, config_for, tmp_path):
    corners = torch.tensor([[float(i), 0, 40 + i, 50] for i in range(8)])
    detections = Detections(corners, torch.linspace(0.9, 0.4, 8), torch.arange(8) % 6)
    photo = dataclasses.replace(open_photo(plain, saved(tmp_path, "mine.png", colorful())), detections=detections)
    view = render_view(plain, config_for(), photo, UserBox())
    assert len(view.batch.targets.boxes) == 1 + MAX_DETECTIONS
    assert torch.equal(view.batch.targets.boxes[1:], corners[:MAX_DETECTIONS])
    assert view.batch.targets.labels.tolist() == [0, 0, 1, 2, 3, 4]


def test_another_box_on_the_photo_is_analyzed_again(plain, config_for, tmp_path):
    photo = open_photo(plain, saved(tmp_path, "mine.png", colorful()))
    boxes = [UserBox((0, 0, 0.5, 0.5)), UserBox((0.5, 0.5, 1, 1)), UserBox((0, 0, 0.5, 0.5))]
    first, second, again = (render_view(plain, config_for(), photo, box) for box in boxes)
    assert not torch.equal(first.positives.anchor, second.positives.anchor)
    assert torch.equal(first.positives.anchor, again.positives.anchor)


def test_detections_on_a_photo_do_not_depend_on_the_epoch_on_show(runs, config_for, tmp_path):
    path = saved(tmp_path, "mine.png", colorful())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_module, "SCORE_THRESHOLD", 0.0)
        run = runs["plain"].folder.name
        detections = []
        for epoch in (None, 0):
            fresh = open_session(config_for(run=run))
            render_view(fresh, config_for(epoch=epoch))
            detections.append(open_photo(fresh, path).detections)
    assert len(detections[0].boxes) and torch.equal(detections[0].boxes, detections[1].boxes)


@pytest.mark.parametrize("kind", ["L", "RGBA", "P", "1", "I;16"])
def test_a_photo_of_any_color_mode_is_shown(kind, plain, config_for, tmp_path):
    if kind == "I;16":
        image = Image.fromarray((np.arange(2400).reshape(40, 60) * 20).astype(np.uint16))
    else:
        image = colorful().convert(kind)
    view = render_view(plain, config_for(photo=saved(tmp_path, "mine.png", image)))
    assert view.pixels.shape == (40, 60, 3) and view.pixels.dtype == np.uint8
    if kind == "L":
        assert np.array_equal(view.pixels, np.repeat(np.asarray(image)[:, :, None], 3, axis=2))


def test_a_photo_is_rotated_as_its_exif_says(plain, config_for, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90° clockwise
    path = saved(tmp_path, "phone.jpg", colorful(), exif=exif, quality=95)
    view = render_view(plain, config_for(photo=path))
    assert view.pixels.shape == (60, 40, 3)
    upright = np.asarray(colorful().rotate(-90, expand=True)).astype(int)
    assert np.abs(view.pixels.astype(int) - upright).mean() < 6  # JPEG is lossy


@pytest.mark.parametrize(("width", "height"), [(1, 1), (900, 9), (1300, 700)])
def test_a_photo_of_any_size_is_shown_at_no_more_than_display_size(width, height, plain, config_for, tmp_path):
    view = render_view(plain, config_for(photo=saved(tmp_path, "mine.png", colorful(width, height))))
    assert max(view.pixels.shape) <= MAX_DISPLAY_SIDE
    assert len(view.batch.targets.boxes) >= 1 and max(view.batch.targets.image_hw[0].tolist()) <= 128


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + 40 * b"x", b"GIF89a"])
def test_a_file_that_is_not_an_image_is_one_clear_line(content, plain, config_for, tmp_path):
    path = tmp_path / "notes.png"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        render_view(plain, config_for(photo=path))
    reason = "cannot be read as an image (" if content else "is empty (0 bytes)"
    assert str(caught.value).startswith(f"{path}: {reason}") and "\n" not in str(caught.value)


def test_a_corrupted_upload_is_named_in_the_message(plain):
    content = io.BytesIO(b"no picture")
    content.name = "cat.jpg"
    with pytest.raises(ValueError, match=r"^cat\.jpg: cannot be read as an image"):
        open_photo(plain, content)


def test_a_truncated_image_is_an_error_wherever_it_ends(plain):
    whole = {}
    for kind in ("png", "jpeg"):
        file = io.BytesIO()
        colorful(200, 100).save(file, format=kind)
        whole[kind] = file.getvalue()
    for content in whole.values():
        for share in (0.02, 0.3, 0.9):
            with pytest.raises(ValueError, match="cannot be read as an image"):
                open_photo(plain, io.BytesIO(content[: int(share * len(content))]))
