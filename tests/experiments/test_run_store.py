"""Runs on disk are found by what is in their folders; these were never trained."""

import json
from pathlib import Path

import pytest

from lad.config.experiment import make_parameters
from lad.experiments.run_store import find_run, finished_runs, networks_of, open_run


def written(out, finished="2020-01-01", **changes):
    """The parameters of a run that a folder says is finished."""
    return write(make_parameters({"method": "baseline", "student": "r18", "out": out, **changes}), finished)


def write(parameters, finished="2020-01-01"):
    folder = Path(parameters.out) / parameters.run_name
    folder.mkdir()
    (folder / "params.json").write_text(json.dumps(parameters.model_dump()))
    (folder / "results.json").write_text(json.dumps({"finished": finished, "metrics": {"AP": 0.1}}))
    (folder / "model.safetensors").touch()
    return parameters


def test_finished_runs_come_oldest_first_whatever_their_names(tmp_path):
    days = {3: "2020-01-02", 1: "2020-01-03", 2: "2020-01-01"}
    for seed, day in days.items():
        written(tmp_path, day, seed=seed)
    assert [run.parameters.seed for run in finished_runs(tmp_path)] == [2, 3, 1]


@pytest.mark.parametrize("missing", ["results.json", "model.safetensors"])
def test_a_run_without_results_or_weights_is_not_finished(missing, tmp_path):
    parameters = written(tmp_path)
    (tmp_path / parameters.run_name / missing).unlink()
    assert find_run(parameters) is None and finished_runs(tmp_path) == []


def test_a_folder_that_is_not_there_has_no_runs(tmp_path):
    assert finished_runs(tmp_path / "nowhere") == [] and open_run(tmp_path / "nowhere") is None


@pytest.mark.parametrize("content", ["{}", "no json", '{"unknown": 1}'])
def test_a_run_that_cannot_be_read_is_told_and_the_others_are_found(content, tmp_path, capsys):
    good, bad = written(tmp_path, seed=1), written(tmp_path, seed=2)
    file = tmp_path / bad.run_name / "params.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"is not of this version's runs; move the folder away, or train it again$"):
        open_run(file.parent)
    assert [run.parameters for run in finished_runs(tmp_path)] == [good]
    assert capsys.readouterr().out.startswith(f"left out: {file}: is not of this version's runs")


def test_a_baseline_is_alone(tmp_path):
    run = find_run(written(tmp_path))
    assert networks_of(run) == {"student": run}


def test_a_student_comes_with_its_teachers_run_if_that_is_there(tmp_path):
    run = find_run(written(tmp_path, method="lad", teacher="r34"))
    assert networks_of(run) == {"student": run}
    teacher = find_run(write(run.parameters.of_teacher()))
    assert networks_of(run) == {"student": run, "teacher": teacher}
    assert teacher.backbone == "r34" and run.partner == "r34"


def test_in_co_learning_the_second_network_is_the_teacher(tmp_path):
    run = find_run(written(tmp_path, method="colad", teacher="r34"))
    second = networks_of(run)["teacher"]
    assert second == run.teacher_network() and second.folder == run.folder
    assert (second.backbone, second.partner) == ("r34", "r18") == (run.partner, run.backbone)
    assert second.weights_file().name == "teacher.safetensors" != run.weights_file().name
    assert second.weights_file(3) != run.weights_file(3)
