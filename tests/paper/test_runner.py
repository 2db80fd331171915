"""Running a table by one command: finished runs are kept, failures stay local, and an interrupted table resumes."""

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import error_line
from faults import cached_lad, wait_until
from lightning_fabric import Fabric
from tiny_runs import fabricate

from lad.cli import main
from lad.experiments.fingerprint import fingerprint
from lad.paper.engines import options
from lad.paper.engines.engine import Engine, Job, Submitted
from lad.paper.runner import MAX_DEATHS, Task, plan_tasks, run_tasks
from lad.paper.tables import Experiments, open_table
from lad.training.checkpoint import Progress, save_checkpoint
from lad.training.optimizer import build_optimizer

TABLE_2 = "table2_soft_label_vs_lad"
TINY = {
    "epochs": "1", "train_images": "8", "batch_size": "4", "width": "0.125", "channels": "64", "accelerator": "cpu",
    "short_sides": "[96]", "test_short_side": "96", "long_side": "96",
}  # fmt: skip


def arguments(shapes: Path, out: Path, table: str = TABLE_2) -> list[str]:
    changes = {**TINY, "data": str(shapes), "out": str(out)}
    return ["table", table, "--jobs", "2", *(word for change in changes.items() for word in ("-p", *change))]


def experiments(shapes: Path, out: Path) -> Experiments:
    """Return the runs of the command with these arguments."""
    values = {name: json.loads(text) if text[0] in "[0123456789" else text for name, text in TINY.items()}
    return open_table(TABLE_2, changes={**values, "data": str(shapes), "out": str(out)})


def rows_of(out: Path) -> list[dict]:
    return json.loads((out / "results" / "toy" / f"{TABLE_2}.json").read_text())["rows"]


@pytest.fixture
def without_training(monkeypatch) -> None:
    """Runs finish at once, without a notebook, but those of r101, which fail."""

    def submit(job: Job) -> Submitted:
        is_failing = job.parameters.student == "r101"
        if is_failing:
            (job.folder / "log.txt").write_text("what went wrong")
        else:
            fabricate(job.parameters)
        return Submitted(lambda: "failed" if is_failing else "finished", lambda: None)

    monkeypatch.setattr(options, "local_engine", lambda jobs: Engine(submit, jobs))


def refuse(job: Job) -> Submitted:
    pytest.fail(f"started {job.folder.name}")


@pytest.mark.usefixtures("without_training")
def test_a_table_without_its_teacher_has_the_other_rows_and_says_why(shapes, tmp_path, capsys):
    assert main(arguments(shapes, tmp_path)) == 1
    output, error = capsys.readouterr()
    assert error == "lad table: 4 of 5 runs failed; run the same command to retry them\n"
    assert "5 runs, 0 already finished" in output and "failed: what went wrong" in output
    assert output.count(" failed\n") == 3  # its students
    assert [len(row["runs"]) for row in rows_of(tmp_path)] == [0, 1, 0, 0, 0]


def test_finished_runs_of_a_table_are_not_run_again(shapes, tmp_path, capsys, monkeypatch):
    for (parameters,) in experiments(shapes, tmp_path).parameters.values():
        fabricate(parameters)
    monkeypatch.setattr(options, "local_engine", lambda jobs: Engine(refuse, jobs))
    assert main(arguments(shapes, tmp_path)) == 0
    assert "5 runs, 5 already finished" in capsys.readouterr().out
    assert all(len(row["runs"]) == 1 for row in rows_of(tmp_path))
    assert {path.suffix for path in (tmp_path / "results" / "toy").iterdir()} == {
        ".json",
        ".md",
        ".csv",
        ".tex",
        ".png",
    }


def test_a_folder_of_results_that_cannot_be_written_is_refused_before_any_run(shapes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(options, "local_engine", lambda jobs: Engine(refuse, jobs))
    (tmp_path / "file").touch()
    for name, command in {
        "--results": [*arguments(shapes, tmp_path / "runs"), "--results", str(tmp_path / "file")],
        "out": arguments(shapes, tmp_path / "file" / "runs"),
    }.items():
        message = f"lad table: error: parameter '{name}' = '{tmp_path / 'file'}"
        assert error_line(capsys, *command, status=2).startswith(message)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_figure_that_cannot_be_written_leaves_the_tables_json_and_is_one_line(shapes, tmp_path, capsys):
    for (parameters,) in experiments(shapes, tmp_path).parameters.values():
        fabricate(parameters)
    (tmp_path / "results" / "toy" / f"{TABLE_2}.png").mkdir(parents=True)
    assert main(arguments(shapes, tmp_path)) == 1
    output, error = capsys.readouterr()
    assert all(len(row["runs"]) == 1 for row in rows_of(tmp_path)) and "difference" in output
    (line,) = error.splitlines()
    assert f"{TABLE_2}.png: cannot be written" in line and "without training them again" in line


@pytest.mark.notebook
@pytest.mark.slow
def test_a_table_is_run_once_and_gives_the_same_numbers_after_a_kill(shapes, tmp_path, capsys):
    assert main(arguments(shapes, tmp_path / "whole")) == 0
    output = capsys.readouterr().out
    assert "5 runs, 0 already finished" in output and "[5/5]" in output and "soft label" in output
    whole = rows_of(tmp_path / "whole")
    assert [row["title"] for row in whole] == ["teacher", "baseline", "soft label", "LAD", "SoLAD"]
    assert all(len(row["runs"]) == 1 for row in whole)
    (lad_run,) = (tmp_path / "whole").glob("*-lad-*")
    executed = json.loads((lad_run / "run_lad.ipynb").read_text())
    assert any(
        "image/png" in output.get("data", {}) for cell in executed["cells"] for output in cell.get("outputs", [])
    )

    assert main(arguments(shapes, tmp_path / "whole")) == 0  # all runs are finished: none is started
    assert "5 runs, 5 already finished" in capsys.readouterr().out

    command = [sys.executable, "-m", "lad.paper.runner", *arguments(shapes, tmp_path / "killed")[1:]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: list((tmp_path / "killed").glob("*/params.json")), lambda: process.poll() is None)
        process.send_signal(signal.SIGKILL)  # its runs continue without it
    assert process.returncode == -signal.SIGKILL
    assert main(arguments(shapes, tmp_path / "killed")) == 0
    assert rows_of(tmp_path / "killed") == whole


@pytest.mark.notebook
def test_a_failed_run_does_not_stop_the_others_and_is_reported_at_the_end(shapes, tmp_path, capsys):
    """The teacher's folder has a checkpoint of another network, so that the teacher and its students fail; the baseline
    does not."""
    command = arguments(shapes, tmp_path)
    rows = experiments(shapes, tmp_path).parameters.items()
    (teacher,) = (of_row[0] for row, of_row in rows if row.title == "teacher")
    folder = tmp_path / teacher.run_name
    folder.mkdir(parents=True)
    network = torch.nn.Linear(1, 1)
    optimizer = build_optimizer(teacher, list(network.parameters()))
    fabric = Fabric(accelerator="cpu", devices=1)
    save_checkpoint(folder, network, optimizer, fabric, Progress(1), fingerprint(teacher).digest)
    assert main(command) == 1
    output, error = capsys.readouterr()
    assert "4 of 5 runs failed" in error
    assert output.count(f"its teacher {teacher.run_name} failed") == 3
    assert (
        f"failed: {teacher.run_name}: ValueError: {folder}/checkpoint-00001-" in output
        and "is not of this run" in output
    )
    assert [len(row["runs"]) for row in rows_of(tmp_path)] == [0, 1, 0, 0, 0]


def test_every_run_is_one_task_after_its_teacher():
    tasks = plan_tasks(open_table(TABLE_2, seeds=3))
    assert len(tasks) == 15
    names = list(tasks)
    for name, task in tasks.items():
        assert all(names.index(teacher) < names.index(name) for teacher in task.teachers)
    assert sum(len(task.teachers) for task in tasks.values()) == 9


@pytest.mark.parametrize(
    ("table", "rows", "teachers"), [("distillation_methods", 12, 0), ("assigners", 8, 3), ("teacher_quality", 12, 7)]
)
def test_a_comparison_trains_each_row_once_and_the_teachers_that_are_no_rows(table, rows, teachers):
    experiments = open_table(table)
    tasks = plan_tasks(experiments)
    own = {parameters.run_name for (parameters,) in experiments.parameters.values()}
    assert (len(own), len(tasks.keys() - own)) == (rows, teachers) and own <= tasks.keys()
    for task in tasks.values():
        assert bool(task.teachers) == task.parameters.needs_teacher and set(task.teachers) <= tasks.keys()


def test_the_methods_of_a_student_wait_for_one_teacher():
    tasks = plan_tasks(open_table("distillation_methods"))
    (teacher,) = {teacher for task in tasks.values() for teacher in task.teachers}
    assert tasks[teacher].parameters.student == "r101" and tasks[teacher].parameters.epochs == 8


def test_co_learning_depends_on_another_run_only_if_it_starts_from_a_trained_teacher():
    assert not any(task.teachers for task in plan_tasks(open_table("co_learning")).values())
    strongest = plan_tasks(open_table("sota_r101_x101", "coco_2x_ms"))
    students = [task for task in strongest.values() if task.parameters.method == "colad"]
    assert len(students) == 2 and {teacher for task in students for teacher in task.teachers} <= set(strongest)


@pytest.fixture
def tasks(shapes, tmp_path) -> dict[str, Task]:
    """A student and its teacher, which trained for an epoch before its worker died."""
    return plan_tasks(Experiments(None, "toy", {None: [cached_lad(shapes, tmp_path)]}))  # type: ignore[dict-item]


def mortal_engine(deaths: int, progress: bool) -> Engine:
    """Return an engine whose workers die `deaths` times in each run, after a checkpoint or before any."""
    started: Counter[str] = Counter()

    def submit(job: Job) -> Submitted:
        started[job.folder.name] += 1
        if started[job.folder.name] <= deaths:
            if progress:
                (job.folder / f"checkpoint-{started[job.folder.name]:05d}-00000000.pt").touch()
            return Submitted(lambda: "lost", lambda: None)
        for path in job.folder.glob("checkpoint-*"):
            path.unlink()
        fabricate(job.parameters)
        return Submitted(lambda: "finished", lambda: None)

    return Engine(submit)


@pytest.mark.parametrize(("deaths", "progress"), [(MAX_DEATHS - 1, False), (2 * MAX_DEATHS, True)])
def test_the_run_of_a_worker_that_died_is_given_to_another_one(tasks, capsys, deaths, progress):
    assert run_tasks(tasks, mortal_engine(deaths, progress)) == []
    output = capsys.readouterr().out
    assert output.count("its worker died; another one resumes it") == deaths * len(tasks) and "[2/2]" in output


def test_a_run_that_kills_its_workers_before_any_progress_fails(tasks, capsys):
    teacher, student = run_tasks(tasks, mortal_engine(MAX_DEATHS, progress=False))
    assert teacher.error == f"exited without output; see {teacher.folder}/log.txt"
    assert student.error == f"its teacher {teacher.name} failed"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT interrupts, even in a process that was started in the background and ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_cancels_the_jobs_that_are_not_finished(tasks):
    cancelled = []

    def submit(job: Job) -> Submitted:
        return Submitted(lambda: signal.raise_signal(signal.SIGINT), lambda: cancelled.append(job.folder.name))

    with pytest.raises(KeyboardInterrupt):
        run_tasks(tasks, Engine(submit))
    assert cancelled == [next(iter(tasks))]  # the student waited for its teacher
