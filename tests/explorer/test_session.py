"""Explorer session: which networks and images a configuration opens, and what is an error."""

import json
import shutil

import pytest
import torch
from tiny_runs import fabricate, tiny

from lad.analysis.positives import ASSIGNMENTS
from lad.experiments.runner import run_experiment
from lad.explorer.config import make_explorer_config
from lad.explorer.session import find_runs, open_session
from lad.explorer.state import Explorer


def same_weights(first, second) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


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


SPECIAL = {
    "a distillation term": {"method": "baseline", "distill": ["pkd"]},
    "several teachers": {"method": "lad", "other_teachers": ["r18"]},
    "a teacher for half the epochs": {"method": "lad", "teach_until": 0.5},
}


@pytest.mark.parametrize("given", SPECIAL.values(), ids=SPECIAL)
def test_a_run_with_a_teacher_of_any_use_is_shown_with_it(given, runs, tmp_path, capsys):
    data = runs["plain"].parameters.data
    run = fabricate(tiny(data, tmp_path, teacher="r18", save_epochs=True, **given))
    capsys.readouterr()
    explorer = Explorer(make_explorer_config({"out": tmp_path, "run": run.name}))
    notes = capsys.readouterr().out
    assert ("r18 + r18; the teacher shown is the first" in notes) == ("other_teachers" in given)
    assert set(explorer.figures()) == {"picture", "costs", "student mixture", "teacher mixture"}
    assert len(explorer.positives_by_epoch()) == 3 and len(explorer.table())
    assert set(explorer.positives_by_assignment()) == set(ASSIGNMENTS.values())


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
