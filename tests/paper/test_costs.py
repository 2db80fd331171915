"""The costs of a row: time per step and memory beside the baseline of the same seed, and agreement with the teacher."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from finished_tables import TABLE_2, finish
from tiny_runs import TINY, fabricate

from lad.experiments.run_store import Run
from lad.paper.costs import MIB, costs, extra_memory, relative_time
from lad.paper.tables import Results, open_table

SECONDS = {"baseline": [4.0, 6.0], "LAD": [6.0, 12.0], "soft label": [5.0]}  # per epoch, by seed
MEMORY = {"baseline": [1000, 1100], "LAD": [1300, 1500]}  # MiB


def record(run: Run, seconds: list[float], memory: int | None = None) -> None:
    """Write training times of epochs, and the peak memory in MiB, into a finished run."""
    lines = [json.dumps({"epoch": epoch, "train_seconds": time}) for epoch, time in enumerate(seconds, start=1)]
    (run.folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    content = {**run.results, "peak_memory": None if memory is None else memory * MIB}
    (run.folder / "results.json").write_text(json.dumps(content))


@pytest.fixture
def measured(tmp_path) -> Results:
    """Runs of two seeds, without a teacher."""
    experiments = open_table(TABLE_2, seeds=2, changes={"out": str(tmp_path)})
    results = finish(experiments, {title: [0.5] * len(times) for title, times in SECONDS.items()})
    for title, times in SECONDS.items():
        for seed, time in enumerate(times):
            record(results.run(title, seed), [50 * time, time, time], MEMORY.get(title, [None, None])[seed])
    return experiments.finished()


def test_time_is_the_ratio_of_median_epochs_and_a_slow_first_epoch_does_not_count(measured):
    assert relative_time(measured.run("LAD"), measured.run("baseline")) == 1.5


def test_the_ratios_and_differences_of_each_seed_are_averaged(measured):
    table = costs(measured)
    assert table.loc["LAD"].tolist() == ["1.75", "+350", "–"]  # (6 / 4 + 12 / 6) / 2, (300 + 400) / 2, no teacher
    assert table.loc["baseline"].tolist() == ["1.00", "+0", "–"]
    assert table.loc["soft label"].tolist() == ["1.25", "–", "–"]  # one seed, of unknown memory
    assert table.loc["SoLAD"].tolist() == ["–", "–", "–"]  # not run
    assert "teacher" not in table.index


def test_older_runs_without_times_or_memory_have_no_costs(measured):
    run = measured.run("LAD")
    (run.folder / "metrics.jsonl").write_text('{"epoch": 1, "seconds": 3.0}\n')
    assert relative_time(run, measured.run("baseline")) is None
    older = {name: value for name, value in run.results.items() if name != "peak_memory"}
    assert extra_memory(replace(run, results=older), measured.run("baseline")) is None


def test_a_student_with_the_weights_of_its_teacher_agrees_with_it_fully(shapes, tmp_path):
    sizes = {name: value for name, value in TINY.items() if name not in ("method", "student")}
    changes = {**sizes, "width": 0.125, "epochs": 1, "data": str(shapes), "out": str(tmp_path)}
    experiments = open_table(TABLE_2, changes=changes)
    of_title = {row.title: of_row[0] for row, of_row in experiments.parameters.items()}
    teacher, baseline = fabricate(of_title["teacher"]), fabricate(of_title["baseline"])
    agreement = costs(experiments.finished(), images=2)["agreement with the teacher"]
    assert 0 <= float(agreement["baseline"]) < 1 and agreement["LAD"] == "–"
    Path(baseline.weights_file()).write_bytes(teacher.weights_file().read_bytes())
    assert costs(experiments.finished(), images=2).loc["baseline", "agreement with the teacher"] == "1.00"
