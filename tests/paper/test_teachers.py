"""The AP of teachers, from the results of their students."""

import json

import pytest
from finished_tables import finish

from lad.paper.output import to_json
from lad.paper.summary import summary
from lad.paper.tables import Experiments, open_table
from lad.paper.teachers import teacher_ap, teacher_quality


@pytest.fixture
def experiments(tmp_path) -> Experiments:
    """Finished students of two seeds whose teachers have AP 40 and 50, and a second teacher of AP 20 and 30."""
    experiments = open_table("teacher_quality", seeds=2, changes={"out": str(tmp_path)})
    titles = ("R50 alone", "R101", "mean of R101 and R50", "R101 until 50 %")
    results = finish(experiments, {title: [0.30, 0.32] for title in titles})
    for title in titles[1:]:
        for seed, ap in enumerate((0.4, 0.5)):
            run = results.run(title, seed)
            others = [{"AP": ap - 0.2}] if run.parameters.other_teachers else []
            content = {**run.results, "teacher": {"AP": ap}, "other_teachers": others}
            (run.folder / "results.json").write_text(json.dumps(content))
    return experiments


def test_points_are_the_mean_ap_of_the_teachers_and_the_aps_of_their_students(experiments):
    points = teacher_quality(experiments.finished())
    assert list(points) == ["R101", "mean of R101 and R50"]  # not the one that listens for half of the time
    teacher, students = points["R101"]
    assert teacher == pytest.approx(45) and students == pytest.approx([30, 32])
    assert points["mean of R101 and R50"][0] == pytest.approx((40 + 20 + 50 + 30) / 4)


def test_a_run_without_a_teacher_or_with_one_without_ap_has_no_teacher_ap(experiments):
    results = experiments.finished()
    assert teacher_ap(results.run("R50 alone")) is None
    run = results.run("mean of R101 and R50")
    run.results["other_teachers"] = [{"AP": None}]  # no gt in the validation set
    assert teacher_ap(run) is None and teacher_ap(results.run("R101")) == pytest.approx(40)


def test_the_summary_has_the_mean_ap_of_each_rows_teachers(experiments):
    column = summary(experiments.finished())["teacher's AP"]
    assert (column["R50 alone"], column["R101"], column["R101 until 50 %"]) == ("–", "45.0", "45.0")
    assert (column["mean of R101 and R50"], column["a wider teacher"]) == ("35.0", "–")


def test_the_json_has_the_ap_of_each_runs_teacher(experiments):
    rows = {row["title"]: row for row in to_json(experiments.finished())["rows"]}
    assert [run["teacher_AP"] for run in rows["R101"]["runs"]] == [pytest.approx(40), pytest.approx(50)]
    assert [run["teacher_AP"] for run in rows["R50 alone"]["runs"]] == [None, None]


def test_a_table_without_runs_has_no_points(tmp_path):
    assert teacher_quality(open_table("teacher_quality", changes={"out": str(tmp_path)}).finished()) == {}
