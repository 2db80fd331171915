"""A whole table by one command: nothing is run twice, a failure stops nobody else, and stopping it loses nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric

from lad.data.synthetic.shapes import write_shapes
from lad.paper import runner as run_table
from lad.paper.runner import main, tasks_of
from lad.paper.tables import open_table
from lad.training.checkpoint import Progress, save_checkpoint
from lad.training.optimizer import build_optimizer

TABLE_2 = "table2_soft_label_vs_lad"
TINY = {
    "epochs": "1", "train_images": "8", "batch_size": "4", "width": "0.125", "channels": "64", "accelerator": "cpu",
    "short_sides": "[96]", "test_short_side": "96", "long_side": "96",
}  # fmt: skip


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, "toy", {"train": 8, "val": 4})
    return folder


def arguments(shapes: Path, out: Path, table: str = TABLE_2) -> list[str]:
    changes = {**TINY, "data": str(shapes), "out": str(out)}
    return [table, "--jobs", "2", *(word for change in changes.items() for word in ("-p", *change))]


def numbers(out: Path) -> list[dict]:
    return json.loads((out / "results" / "toy" / f"{TABLE_2}.json").read_text())["rows"]


def test_a_table_is_made_once_and_the_same_again_after_a_kill_at_a_random_moment(shapes, tmp_path, capsys):
    assert main(arguments(shapes, tmp_path / "whole")) == 0
    told = capsys.readouterr().out
    assert "5 runs, 0 of them finished before" in told and "[5/5]" in told and "soft label" in told
    whole = numbers(tmp_path / "whole")
    assert [row["title"] for row in whole] == ["teacher", "baseline", "soft label", "LAD", "SoLAD"]
    assert all(len(row["runs"]) == 1 for row in whole)
    folder = tmp_path / "whole" / "results" / "toy"
    assert {path.suffix for path in folder.iterdir()} == {".json", ".md", ".png"}
    (lad_run,) = (tmp_path / "whole").glob("*-lad-*")
    executed = json.loads((lad_run / "run_lad.ipynb").read_text())
    assert any(
        "image/png" in output.get("data", {}) for cell in executed["cells"] for output in cell.get("outputs", [])
    )

    assert main(arguments(shapes, tmp_path / "whole")) == 0  # all is there: nothing is started
    assert "5 runs, 5 of them finished before" in capsys.readouterr().out

    command = [sys.executable, "-m", "lad.paper.runner", *arguments(shapes, tmp_path / "killed")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(random.uniform(5, 25))
        process.send_signal(signal.SIGKILL)  # what it started goes on without it
    assert main(arguments(shapes, tmp_path / "killed")) == 0
    assert numbers(tmp_path / "killed") == whole


def test_a_failed_row_stops_nobody_else_and_is_told_at_the_end(shapes, tmp_path, capsys):
    """In the teacher's folder lies another network's checkpoint: its students are lost with it, the plain student is
    not."""
    given = arguments(shapes, tmp_path)
    experiments = open_table(TABLE_2, changes={**as_values(TINY), "data": str(shapes), "out": str(tmp_path)})
    (teacher,) = (each[0] for row, each in experiments.parameters.items() if row.title == "teacher")
    folder = tmp_path / teacher.run_name
    folder.mkdir(parents=True)
    network = torch.nn.Linear(1, 1)
    optimizer = build_optimizer(teacher, list(network.parameters()))
    save_checkpoint(folder, network, optimizer, Fabric(accelerator="cpu", devices=1), Progress(1))
    assert main(given) == 1
    told = capsys.readouterr().out
    assert "4 of the runs failed; the same command tries them again:" in told
    assert told.count(f"its teacher {teacher.run_name} failed") == 3
    assert f"  {teacher.run_name}: ValueError: {folder}/checkpoint-00001-" in told and "is not of this run" in told
    assert [len(row["runs"]) for row in numbers(tmp_path)] == [0, 1, 0, 0, 0]


def as_values(changes: dict[str, str]) -> dict:
    return {name: json.loads(value) if value[0] in "[0123456789" else value for name, value in changes.items()}


def test_every_run_is_a_task_once_and_after_its_teacher():
    tasks = tasks_of(open_table(TABLE_2, seeds=3))
    assert len(tasks) == 15
    names = list(tasks)
    for name, task in tasks.items():
        assert task.teacher is None or names.index(task.teacher) < names.index(name)
    assert sum(task.teacher is not None for task in tasks.values()) == 9


def test_co_learning_from_scratch_waits_for_nobody_and_from_a_trained_teacher_for_that():
    assert all(task.teacher is None for task in tasks_of(open_table("co_learning")).values())
    strongest = tasks_of(open_table("sota_r101_x101", "coco_2x_ms"))
    taught = [task for task in strongest.values() if task.parameters.method == "colad"]
    assert len(taught) == 2 and {task.teacher for task in taught} <= set(strongest)


def test_runs_at_once_share_the_cores_or_the_devices(monkeypatch):
    (parameters, *_) = next(iter(open_table(TABLE_2, changes={"accelerator": "cpu"}).parameters.values()))
    shared = run_table._environment(parameters, slot=0, jobs=2)
    assert int(shared["OMP_NUM_THREADS"]) == max(1, os.cpu_count() // 2)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    (parameters, *_) = next(iter(open_table(TABLE_2, changes={"devices": 2, "batch_size": 8}).parameters.values()))
    visible = [run_table._environment(parameters, slot, jobs=2)["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)]
    assert visible == ["4,5", "6,7"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([TABLE_2, "-p", "epoch", "3"], "parameter 'epoch' is unknown; did you mean 'epochs'?"),
        ([TABLE_2, "-p", "short_sides", "[96"], "parameter 'short_sides': line 1: while parsing a flow sequence"),
        ([TABLE_2, "-p", "lr", ".nan"], "parameter 'lr': line 1: .nan is no plain number"),
        ([TABLE_2, "--jobs", "0"], "--jobs 0: at least 1"),
        ([TABLE_2, "--seeds", "0"], "parameter 'seeds' = 0 must be a whole number from 1 to 1000"),
        (["table_2"], "invalid choice: 'table_2'"),
    ],
)
def test_what_is_wrong_is_told_before_any_work(changes, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(changes)
    assert stopped.value.code == 2 and message in capsys.readouterr().err
