"""Runs on disk are found by what is in their folders; these were never trained."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from lad.config.experiment import Parameters, make_parameters
from lad.experiments.annotation_hashes import annotation_hashes
from lad.experiments.fingerprint import Fingerprint, fingerprint
from lad.experiments.run_store import (
    describe_code,
    find_run,
    finished_runs,
    folder_to_train,
    latest_run,
    networks_of,
    open_run,
)

OTHER_CODE = Fingerprint({"lad.losses": {"detection_loss": "0"}})


def finished_run(out: Path, finished: str = "2020-01-01", **changes: object) -> Parameters:
    """Write the files of a finished baseline run and return its parameters."""
    return write_run(make_parameters({"method": "baseline", "student": "r18", "out": out, **changes}), finished)


def write_run(
    parameters: Parameters,
    finished: str = "2020-01-01",
    code: Fingerprint | None = None,
    name: str = "",
    hashes: Mapping[str, str] = MappingProxyType({}),
) -> Parameters:
    folder = Path(parameters.out) / (name or parameters.run_name)
    folder.mkdir()
    written_by = (code or fingerprint(parameters)).to_json()
    (folder / "code.json").write_text(json.dumps(written_by))
    (folder / "params.json").write_text(json.dumps(parameters.model_dump()))
    results = {"finished": finished, "metrics": {"AP": 0.1}, "code": written_by, **hashes}
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "model.safetensors").touch()
    return parameters


def test_finished_runs_come_oldest_first_whatever_their_names(tmp_path):
    days = {3: "2020-01-02", 1: "2020-01-03", 2: "2020-01-01"}
    for seed, day in days.items():
        finished_run(tmp_path, day, seed=seed)
    assert [run.parameters.seed for run in finished_runs(tmp_path)] == [2, 3, 1]


@pytest.mark.parametrize("missing", ["results.json", "model.safetensors"])
def test_a_run_without_results_or_weights_is_not_finished(missing, tmp_path):
    parameters = finished_run(tmp_path)
    (tmp_path / parameters.run_name / missing).unlink()
    assert find_run(parameters) is None and finished_runs(tmp_path) == []


def test_a_folder_that_is_not_there_has_no_runs(tmp_path):
    assert finished_runs(tmp_path / "nowhere") == [] and open_run(tmp_path / "nowhere") is None


@pytest.mark.parametrize("content", ["{}", "no json", '{"unknown": 1}'])
def test_a_run_that_cannot_be_read_is_reported_and_the_others_are_found(content, tmp_path, capsys):
    good, bad = finished_run(tmp_path, seed=1), finished_run(tmp_path, seed=2)
    file = tmp_path / bad.run_name / "params.json"
    file.write_text(content)
    with pytest.raises(ValueError, match="was written by another version; move the folder away to train"):
        open_run(file.parent)
    assert [run.parameters for run in finished_runs(tmp_path)] == [good]
    assert capsys.readouterr().out.startswith(f"left out: {file}: was written by another version")


@pytest.mark.parametrize("content", ["{}", "[]", "", '{"finished": "2020", "code": 1}'])
def test_a_run_whose_results_cannot_be_read_is_reported_and_left_out(content, tmp_path, capsys):
    good, bad = finished_run(tmp_path, seed=1), finished_run(tmp_path, seed=2)
    (tmp_path / bad.run_name / "results.json").write_text(content)
    assert [run.parameters for run in finished_runs(tmp_path)] == [good]
    assert "results.json: corrupted; move the folder away to train the run again" in capsys.readouterr().out


def test_a_run_without_its_parameters_is_reported_and_left_out(tmp_path, capsys):
    good, bad = finished_run(tmp_path, seed=1), finished_run(tmp_path, seed=2)
    (tmp_path / bad.run_name / "params.json").unlink()
    assert [run.parameters for run in finished_runs(tmp_path)] == [good]
    assert "params.json: cannot be read (No such file or directory)" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_run_is_trained_again_after_its_annotations_changed(shapes, tmp_path, capsys, part):
    shutil.copytree(shapes, tmp_path / "data")
    parameters = make_parameters({"method": "baseline", "student": "r18", "out": tmp_path, "data": tmp_path / "data"})
    write_run(parameters, hashes=annotation_hashes(parameters))
    assert find_run(parameters) is not None
    file = tmp_path / "data" / f"instances_{part}.json"
    file.write_text(file.read_text() + "\n")
    assert find_run(parameters) is None
    assert find_run(parameters.model_copy(update={"rerun": "never"})) is not None
    assert folder_to_train(parameters) == tmp_path / f"{parameters.run_name}-2"
    assert "trained on other annotations, which changed since; training" in capsys.readouterr().out


def test_a_run_whose_data_is_not_there_any_more_is_found(tmp_path):
    parameters = make_parameters({"method": "baseline", "out": tmp_path, "data": tmp_path / "data"})
    write_run(parameters, hashes={"training_sha256": "0", "validation_sha256": "0"})
    assert annotation_hashes(parameters) == {} and find_run(parameters) is not None


def test_the_name_of_a_data_folder_may_have_brackets(tmp_path):
    parameters = finished_run(tmp_path, data=str(tmp_path / "photos[1]"))
    assert find_run(parameters) is not None and latest_run(parameters) is not None


def test_a_baseline_is_alone(tmp_path):
    run = find_run(finished_run(tmp_path))
    assert networks_of(run) == {"student": run}


def test_a_student_comes_with_its_teachers_run_if_that_is_there(tmp_path):
    run = find_run(finished_run(tmp_path, method="lad", teacher="r34"))
    assert networks_of(run) == {"student": run}
    teacher = find_run(write_run(run.parameters.of_teacher()))
    assert networks_of(run) == {"student": run, "teacher": teacher}
    assert teacher.backbone == "r34" and run.partner == "r34"


def test_in_co_learning_the_second_network_is_the_teacher(tmp_path):
    run = find_run(finished_run(tmp_path, method="colad", teacher="r34"))
    second = networks_of(run)["teacher"]
    assert second == run.teacher_network() and second.folder == run.folder
    assert (second.backbone, second.partner) == ("r34", "r18") == (run.partner, run.backbone)
    assert second.weights_file().name == "teacher.safetensors" != run.weights_file().name
    assert second.weights_file(3) != run.weights_file(3)


def test_a_run_of_other_code_is_not_reused_but_shown_if_there_is_no_other(tmp_path):
    parameters = make_parameters({"method": "baseline", "out": tmp_path})
    write_run(parameters, code=OTHER_CODE)
    assert find_run(parameters) is None
    assert latest_run(parameters).code == OTHER_CODE
    never = parameters.model_copy(update={"rerun": "never"})
    assert find_run(never).code == OTHER_CODE
    write_run(parameters, name=f"{parameters.run_name}-2")
    assert find_run(parameters).name == latest_run(parameters).name == f"{parameters.run_name}-2"


def test_a_run_of_other_code_keeps_its_name_and_the_next_is_trained_beside_it(tmp_path, capsys):
    parameters = make_parameters({"method": "baseline", "out": tmp_path})
    assert folder_to_train(parameters).name == parameters.run_name
    write_run(parameters, code=OTHER_CODE)
    assert folder_to_train(parameters).name == f"{parameters.run_name}-2"
    printed = capsys.readouterr().out
    assert (
        printed.startswith(f"{parameters.run_name}: trained by other code (differing in lad.")
        and "beside it" in printed
    )


def test_an_unfinished_run_is_resumed_by_the_code_that_started_it_only(tmp_path, capsys):
    parameters = make_parameters({"method": "baseline", "out": tmp_path})
    for code, expected in ((None, parameters.run_name), (OTHER_CODE, f"{parameters.run_name}-2")):
        write_run(parameters, code=code)
        folder = tmp_path / parameters.run_name
        (folder / "results.json").unlink()
        assert folder_to_train(parameters).name == expected
        assert folder_to_train(parameters.model_copy(update={"rerun": "never"})) == folder
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    assert "started by other code" in capsys.readouterr().out


def test_a_folder_of_other_parameters_under_the_same_name_is_no_run_of_these(tmp_path):
    """The stored parameters are compared, not their hash alone."""
    parameters = finished_run(tmp_path)
    file = tmp_path / parameters.run_name / "params.json"
    file.write_text(json.dumps({**parameters.model_dump(), "flip": 0.25}))
    assert find_run(parameters) is None


def test_runs_of_different_code_are_named_when_they_stand_in_one_table(tmp_path):
    finished_run(tmp_path, seed=1)
    write_run(make_parameters({"method": "baseline", "seed": 2, "out": tmp_path}), code=OTHER_CODE)
    runs = finished_runs(tmp_path)
    assert describe_code(runs[:1]) == "" and describe_code(runs).startswith("made by different code: ")
    assert f"{OTHER_CODE.digest} (1)" in describe_code(runs)


def test_a_run_with_another_head_or_assigner_is_a_new_run_without_a_notice(tmp_path, capsys):
    """Its modules differ, but no code that both use does."""
    finished_run(tmp_path)
    for changes in ({"head": "cop"}, {"assigner": "tal"}, {"lr": 0.001}):
        folder_to_train(make_parameters({"method": "baseline", "student": "r18", "out": tmp_path, **changes}))
    assert capsys.readouterr().out == ""
