"""`lad doctor` on tiny runs: sound or unfinished, damaged, without their data; and folders that are no runs."""

import json
import shutil

import pytest
from commands import error_line, run
from tiny_runs import tiny

from lad.analysis.doctor.report import diagnose
from lad.experiments.run_store import PARAMETERS_FILE, RESULTS_FILE
from lad.models.zoo import WEIGHTS_FILE
from lad.training.metrics_file import METRICS_FILE


@pytest.fixture
def run_folder(trained_runs, tmp_path):
    """A copy of the tiny LAD run with its teacher beside it."""
    for name in ("lad", "teacher"):
        shutil.copytree(trained_runs[name].folder, tmp_path / trained_runs[name].name)
    return tmp_path / trained_runs["lad"].name


def test_a_run_of_a_few_steps_is_told_that_these_are_few(run_folder, capsys):
    run("doctor", run_folder)
    header, *findings = capsys.readouterr().out.splitlines()
    assert header.startswith(f"{run_folder.name}: lad, 2 of 2 epochs, AP 0.0")
    assert any("the run has 6 optimizer steps in all, 3 an epoch" in line for line in findings)
    assert any("3 of 6 steps (warmup=50)" in line for line in findings)
    assert all(line.startswith(("error: ", "warning: ", "note: ")) for line in findings)


def test_json_has_each_finding_with_its_parts(run_folder, capsys):
    run("doctor", run_folder, "--json")
    content = json.loads(capsys.readouterr().out)
    assert content["run"] == run_folder.name and content["is_finished"] and content["left_out"] == []
    assert content["train_AP"] is not None
    few = next(finding for finding in content["findings"] if finding["check"] == "steps_are_few")
    assert few.keys() == {"check", "severity", "seen", "why", "remedy"}


def test_nothing_is_written_to_the_folder(run_folder):
    before = {path: path.stat().st_mtime_ns for path in run_folder.parent.rglob("*")}
    diagnose(run_folder, 2)
    assert {path: path.stat().st_mtime_ns for path in run_folder.parent.rglob("*")} == before


def test_the_plain_student_is_the_run_of_the_same_network_beside_it(run_folder, trained_runs):
    shutil.rmtree(run_folder.parent / trained_runs["teacher"].name)  # the same network: it is the plain student, too
    assert diagnose(run_folder, 0).evidence.plain is None
    plain = tiny(trained_runs["lad"].parameters.data, run_folder.parent, seed=3, lr=1e-3)
    folder = run_folder.parent / plain.run_name
    shutil.copytree(trained_runs["plain"].folder, folder)
    (folder / PARAMETERS_FILE).write_text(plain.model_dump_json())
    assert diagnose(run_folder, 0).evidence.plain[0] == plain.run_name


def test_the_sizes_of_the_objects_are_those_after_the_resize(trained_runs, tmp_path):
    plain = trained_runs["plain"]
    folder = tmp_path / plain.name
    shutil.copytree(plain.folder, folder)
    small = plain.parameters.model_copy(update={"short_sides": [32], "long_side": 32, "test_short_side": 32})
    sides = diagnose(folder, 0).evidence.sizes.side
    (folder / PARAMETERS_FILE).write_text(small.model_dump_json())
    diagnosis = diagnose(folder, 0)
    assert (diagnosis.evidence.sizes.candidates == 0).any(), "objects whose only anchors a neighbor has"
    assert diagnosis.evidence.sizes.side.tolist() == pytest.approx((sides / 4).tolist())
    assert "cut the images into tiles" in str(diagnosis) or "short_sides=" in str(diagnosis)
    assert "objects_match_no_anchor" in diagnosis.findings


def test_an_unfinished_run_is_diagnosed_by_what_it_has(run_folder):
    for name in (RESULTS_FILE, WEIGHTS_FILE):
        (run_folder / name).unlink()
    (run_folder / METRICS_FILE).write_text((run_folder / METRICS_FILE).read_text().splitlines()[0] + "\n")
    lines = str(diagnose(run_folder)).splitlines()
    assert "not finished, 1 of 2 epochs; diagnosed by what there is" in lines[0]
    assert any("optimizer steps" in line for line in lines)


def test_a_run_that_has_only_started_is_diagnosed(run_folder):
    for path in run_folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != PARAMETERS_FILE:
            path.unlink()
    lines = str(diagnose(run_folder)).splitlines()
    assert "not finished, 0 of 2 epochs" in lines[0] and "no AP yet" in lines[0]
    assert any(line.startswith("left out: there are no weights") for line in lines)


@pytest.mark.parametrize("name", [RESULTS_FILE, METRICS_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize(
    "content",
    [
        "",
        "not JSON\n",
        "[]\n",
        '{"metrics": 3, "teacher": [], "class_names": 5, "loss": "x", "training_images": NaN}\n',
    ],
)
def test_a_damaged_file_is_left_out(run_folder, name, content):
    (run_folder / name).write_text(content)
    diagnosis = diagnose(run_folder, 2)
    assert "steps_are_few" in diagnosis.findings
    assert all("\n" not in line for line in diagnosis.notes)


@pytest.mark.parametrize("content", ["{}", "[1]", '{"metrics": null, "class_names": 7, "finished": 3, "code": 1}'])
def test_a_damaged_run_beside_it_does_not_matter(run_folder, trained_runs, content):
    (run_folder.parent / trained_runs["teacher"].name / RESULTS_FILE).write_text(content)
    assert "steps_are_few" in diagnose(run_folder, 0).findings


def test_missing_data_are_a_line(run_folder):
    parameters = json.loads((run_folder / PARAMETERS_FILE).read_text())
    (run_folder / PARAMETERS_FILE).write_text(json.dumps({**parameters, "data": str(run_folder / "nowhere")}))
    diagnosis = diagnose(run_folder)
    (note,) = diagnosis.notes
    assert note.startswith("the data cannot be read") and "no such folder" in note
    assert "steps_are_few" in diagnosis.findings, "the number of images is also in the results"


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "broken parameters", "other parameters"])
def test_an_unusable_folder_is_one_line(tmp_path, kind, capsys):
    folder = tmp_path / "run"
    if kind == "file":
        folder.write_text("")
    elif kind != "missing":
        folder.mkdir()
    if kind.endswith("parameters"):
        (folder / PARAMETERS_FILE).write_text("{" if kind.startswith("broken") else '{"epochs": "many"}')
    assert str(folder) in error_line(capsys, "doctor", folder)


def test_the_number_of_images_is_checked(tmp_path, capsys):
    assert "'--images'" in error_line(capsys, "doctor", tmp_path, "--images", "-1", status=2)
