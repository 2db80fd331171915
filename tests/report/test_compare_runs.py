"""Comparison of the runs in a folder."""

import dataclasses
import re
import shutil

import pytest
from tiny_runs import fabricate

from lad.experiments.leaderboard import runs_of_folder
from lad.experiments.run_store import finished_runs
from lad.report.compare_runs import (
    ap_by_setting,
    differences_table,
    draw_ap,
    draw_newest_assignments,
    environments_table,
    group_by_setting,
    headline,
    report_folder,
    run_titles,
    training_curves,
)
from lad.report.notebook import setup_notebook
from lad.utils.paths import project_folder


def test_runs_that_differ_only_in_their_seed_are_one_setting(trained):
    runs = runs_of_folder(trained)
    settings = group_by_setting(runs)
    titles = {"r18, plain, epochs 1": 2, "r18, plain, epochs 2": 1, "r18 ← r18, LAD": 1}
    assert {title: len(group) for title, group in settings.items()} == titles
    assert [run.parameters.seed for run in settings["r18, plain, epochs 1"]] == [0, 1]
    assert list(ap_by_setting(runs)) == list(training_curves(runs)) == list(settings)
    assert (
        len(ap_by_setting(runs)["r18, plain, epochs 1"]) == 2
        and len(training_curves(runs)["r18, plain, epochs 2"]) == 1
    )
    assert headline(runs).startswith("4 runs in 3 settings, finished 2030-01-02. The highest AP: ")


def test_the_ap_has_the_same_digits_everywhere_on_a_page(trained):
    runs = runs_of_folder(trained)
    (best,) = re.findall(r"The highest AP: (\S+), ", headline(runs))
    mean = max(sum(values) / len(values) for values in ap_by_setting(runs).values())
    assert best == f"{mean:.3f}".removeprefix("0")
    (ax,) = draw_ap(runs).axes
    assert f"{mean:.3f}" in [text.get_text() for text in ax.texts] and ax.get_xlabel() == "AP"


def test_run_titles_are_unique(trained):
    runs = finished_runs(trained)
    for run in runs:
        run.results["metrics"]["AP"] = 0.5
    titles = run_titles(runs)
    assert len(set(titles)) == len(runs) and "r18 ← r18, LAD, AP .500" in titles
    assert all(title.startswith(("r18, plain, AP .500, ", "r18 ← r18, LAD, AP .500")) for title in titles)
    assert [title for title in titles if title.endswith("seed 1")] == ["r18, plain, AP .500, seed 1"]
    moved = dataclasses.replace(runs[0], folder=trained / "elsewhere" / runs[0].folder.name)
    assert len(set(run_titles([runs[0], moved]))) == 2
    assert run_titles(runs[:1]) == ["r18, plain, AP .500"]


def test_the_differences_table_has_only_differing_parameters(trained):
    table = differences_table(runs_of_folder(trained))
    assert list(table.columns) == ["teacher", "teacher_epochs", "method", "seed", "epochs"]
    (lad_student,) = (name for name in table.index if "-lad-" in name)
    assert list(table.loc[lad_student]) == ["r18", "2", "lad", "0", "1"]
    alone = dict(list(runs_of_folder(trained).items())[:1])
    assert {"method", "student", "epochs"} <= set(differences_table(alone).columns)


def test_runs_with_the_same_environment_share_one_column(trained):
    runs = runs_of_folder(trained)
    table = environments_table(runs)
    assert list(table.columns) == ["4 runs"] and table.loc["memory, GB"].item() and table.loc["torch"].item()
    name, run = next(iter(runs.items()))
    run.results["versions"]["torch"] = "1.0"
    table = environments_table(runs)
    assert list(table.columns) == ["1 run", "3 runs"] and table.loc["runs"].iloc[0] == name


def test_assignments_are_drawn_in_a_moved_folder(trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "moved")
    assert draw_newest_assignments(runs_of_folder(tmp_path / "moved")) is not None
    printed = capsys.readouterr().out
    assert "LAD student: " in printed and "plain student: " in printed and "agreement with the teacher" in printed


def test_without_a_teacher_or_images_the_report_prints_the_reason(tiny, copy_run, trained, tmp_path, capsys):
    runs = runs_of_folder(trained)
    assert draw_newest_assignments({name: run for name, run in runs.items() if "-lad-" not in name}) is None
    assert "No assignments to compare: no run in this folder has a teacher" in capsys.readouterr().out
    elsewhere = tiny(tmp_path / "gone", tmp_path, method="lad", teacher="r18")
    for hour, parameters in enumerate((elsewhere.of_teacher(), elsewhere)):
        copy_run(parameters, hour)
    assert draw_newest_assignments(runs_of_folder(tmp_path)) is None
    assert re.search(r"the images of .* cannot be read: data '.*gone': no such folder", capsys.readouterr().out)


def test_a_co_trained_pair_is_two_rows_and_a_comparison(tiny, copy_run, one_run, tmp_path, capsys):
    copy_run(tiny(one_run.parameters.data, tmp_path, method="colad", teacher="r18"), 0)
    runs = runs_of_folder(tmp_path)
    assert len(runs) == 2 and list(group_by_setting(runs)) == ["r18 ↔ r18, CoLAD", "r18 ↔ r18, CoLAD (teacher)"]
    assert len(differences_table(runs)) == len(training_curves(runs)) == 1
    assert "1 run in 2 settings" in headline(runs)
    assert draw_newest_assignments(runs) is not None
    assert "CoLAD student: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "title"),
    [
        ({"method": "baseline", "distill": ["pkd"]}, "r18 ← r18, plain + PKD"),
        ({"method": "lad", "other_teachers": ["r18"]}, "r18 ← r18 + r18, LAD"),
        ({"method": "lad", "teach_until": 0.5, "epochs": 2}, "r18 ← r18, LAD"),
    ],
)
def test_a_run_with_a_teacher_of_any_use_is_compared(given, title, tiny, one_run, tmp_path, capsys):
    run = fabricate(tiny(one_run.parameters.data, tmp_path, teacher="r18", **given))
    runs = runs_of_folder(tmp_path)
    assert title in group_by_setting(runs) and run.name in differences_table(runs).index
    assert draw_newest_assignments(runs) is not None
    assert f"{run.parameters.method_title} student: " in capsys.readouterr().out


def test_the_folder_is_the_reports_only_parameter(trained, tmp_path):
    cell = "# Parameters\nout = 'x'\nfolder = 'x'"
    with pytest.raises(ValueError, match="parameter 'folder' is unknown; known are out"):
        setup_notebook({"In": [cell], "out": "x", "folder": "x"}, report_folder)
    with pytest.raises(ValueError, match=r"no finished run in this folder; train one"):
        runs_of_folder(setup_notebook({"In": ["# Parameters\nout = 'x'"], "out": str(tmp_path)}, report_folder))
    assert (
        len(runs_of_folder(setup_notebook({"In": ["# Parameters\nout = 'x'"], "out": str(trained)}, report_folder)))
        == 4
    )
    assert report_folder({}) == project_folder() / "runs"
