"""The benchmarks run, at a small size; their measurements are not checked."""

import importlib
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_runs import tiny

from lad.distillation.terms import TERMS

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def rows(monkeypatch, capsys) -> Callable[..., list[str]]:
    """A function that runs a benchmark as a script and returns the first cells of the table that it prints."""

    def run(script: str, *arguments: str) -> list[str]:
        path = BENCHMARKS / f"{script}.py"
        monkeypatch.syspath_prepend(BENCHMARKS)
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        runpy.run_path(str(path), run_name="__main__")
        return re.findall(r"^\| ([^|]+) \|", capsys.readouterr().out, re.MULTILINE)[1:]

    return run


@pytest.mark.parametrize("precision", ["32-true", pytest.param("bf16-mixed", marks=pytest.mark.slow)])
def test_step_measures_every_method(precision, rows):
    # Not smaller: if P6 is a single location, the CPU's bfloat16 gradient of the layer after it can be NaN.
    size = ("--height", "128", "--width", "128", "--batch", "1")
    small = ("--student", "r18", "--teacher", "r18", *size, "--rounds", "1")
    assert rows("step", *small, "--precision", precision) == [
        "bare network", "assignment and loss", "baseline", "LAD", "LAD, teacher cached", "CoLAD",
    ]  # fmt: skip


def test_step_measures_every_distillation_term(rows):
    small = ("--student", "r18", "--teacher", "r18", "--height", "64", "--width", "64", "--batch", "1", "--rounds", "1")
    measured = rows("step", *small, "--terms")
    assert measured[:4] == ["baseline", "soft label", "LAD", "SoLAD"] and len(measured) == 4 + 2 * len(TERMS)


def test_epoch_measures_epochs_whose_losses_are_equal_with_and_without_the_cache(rows):
    """The benchmark itself compares the losses bit by bit."""
    small = ("--student", "r18", "--teacher", "r18", "--images", "16", "--rounds", "1")
    assert rows("epoch", *small) == ["plain student", "LAD", "LAD, teacher cached"]


def test_command_measures_the_help_of_the_command_line(rows):
    assert rows("command", "--repeats", "1") == ["lad --help", "lad run --help", "lad evaluate --help"]


@pytest.mark.parametrize("script", ["kernels", "postprocess", "teacher"])
def test_benchmarks_of_single_parts_print_their_tables(script, rows):
    small = {"kernels": ("--gts", "2"), "postprocess": ("--rounds", "1")}
    arguments = small.get(script, ("--teacher", "r18", "--height", "64", "--width", "64", "--rounds", "1"))
    assert len(rows(script, *arguments)) >= 2


def test_explorer_measures_response_times(rows):
    assert rows("explorer", "--run", "untrained", "--rounds", "1") == [
        "another assignment", "a level on or off", "another image", "another object",
    ]  # fmt: skip


def test_figures_measures_every_figure_of_one_image(rows):
    assert len(rows("figures", "--gts", "2", "70", "--rounds", "1")) == 10


def test_busy_measures_an_epoch_beside_busy_processes(rows):
    small = ("--student", "r18", "--images", "16", "--rounds", "1", "--threads", "1")
    assert rows("busy", *small) == ["1", "1", "1"]


@pytest.fixture
def module(monkeypatch) -> Callable[[str], object]:
    """A function that imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture
def gpu(tmp_path) -> Callable[..., dict[str, dict]]:
    """A function that runs gpu.py on the CPU at a tiny size and returns what the stages wrote."""

    def run(*arguments: str) -> dict[str, dict]:
        folders = ("--out", str(tmp_path / "results"), "--runs", str(tmp_path / "runs"))
        command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--device", "cpu", "--tiny", *folders, *arguments]
        environment = os.environ | {"PYTHONPATH": str(BENCHMARKS.parent), "OMP_NUM_THREADS": "1"}
        process = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        folder = tmp_path / "results" / "cpu"
        assert (folder / "summary.md").read_text().startswith("# cpu\n")
        return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}

    return run


def test_gpu_compares_the_reference_cases_and_measures_steps_and_inference(gpu):
    stages = gpu("--minutes", "5", "--stages", "checks", "steps", "inference")
    assert {name: stage["status"] for name, stage in stages.items()} == dict.fromkeys(stages, "finished")
    checks, steps, inference = (stages[name]["result"] for name in ("checks", "steps", "inference"))
    assert checks["all_hold"] and len(checks["comparisons"]) > 30 and "skipped" in checks["synchronizations"]
    assert [row["step"] for row in steps["variants"]] == [
        "bare network", "assignment and loss", "baseline", "LAD", "LAD, teacher cached", "CoLAD",
    ]  # fmt: skip
    assert all(row["ms"] > 0 for row in (*steps["variants"], *inference["variants"]))
    assert stages["steps"]["versions"]["torch"] in (torch.__version__, torch.__version__.split("+")[0])


def test_gpu_leaves_valid_files_when_there_is_no_time_and_keeps_earlier_ones(gpu, tmp_path):
    stages = gpu("--minutes", "0")
    assert {name: stage["status"] for name, stage in stages.items()} == dict.fromkeys(
        ("checks", "steps", "inference", "compiled", "mini"), "not started"
    )
    file = tmp_path / "results" / "cpu" / "steps.json"
    file.write_text(json.dumps({**stages["steps"], "status": "finished"}))
    assert gpu("--minutes", "0")["steps"]["status"] == "finished"


@pytest.mark.slow
def test_gpu_trains_the_baseline_and_lad_and_writes_their_table(gpu, tmp_path):
    stage = gpu("--minutes", "10", "--stages", "mini")["mini"]
    runs = stage["result"]["runs"]
    assert [re.sub("-s0.*", "", row["run"]) for row in runs] == [
        "toy-shapes-baseline-r50", "toy-shapes-baseline-r101", "toy-shapes-lad-r50-from-r101",
    ]  # fmt: skip
    assert stage["status"] == "finished" and all(row["AP"] is not None for row in runs)
    assert json.loads((tmp_path / "results" / "cpu" / stage["result"]["table"]).read_text())


@pytest.mark.parametrize(
    ("end", "status", "error"),
    [
        ("raise ValueError('too bad')", "failed", "ValueError: too bad"),
        ("os._exit(3)", "failed", "exit status 3"),
        pytest.param("time.sleep(600)", "unfinished", "stopped after", marks=pytest.mark.slow),
    ],
)
def test_a_stage_of_gpu_that_does_not_end_well_keeps_its_results(module, monkeypatch, tmp_path, end, status, error):
    stage = module("gpu_stage")
    monkeypatch.setattr(stage, "GRACE", 1)
    (tmp_path / "broken.py").write_text(
        f"import os, time\ndef run(settings, save, left):\n    save({{'a': 1}})\n    {end}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = stage.Settings("cpu", True, tmp_path, tmp_path, None, "command", "cpu")
    content = stage.run_stage("broken", "broken", settings, limit=20)
    assert content == json.loads((tmp_path / "broken.json").read_text())
    assert content["status"] == status and error in content["error"] and content["result"] == {"a": 1}


def test_gpu_halves_the_batch_of_a_step_that_does_not_fit_the_memory(module, monkeypatch):
    steps = module("gpu_steps")

    def measure(given, name, effort) -> dict[str, float]:
        if given.batch > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        if name == "CoLAD":
            raise ValueError("another error")
        return {"ms": 10.0}

    monkeypatch.setattr(steps, "measure_batch", measure)
    row = steps.measure_step(steps.step_arguments(batch=8), "LAD")
    assert row == {"batch": 2, "ms": 10.0, "images_per_second": 200, "note": "a batch of 8 does not fit the memory"}
    assert steps.measure_step(steps.step_arguments(batch=2), "CoLAD") == {
        "batch": 2,
        "error": "ValueError: another error",
    }


@pytest.mark.parametrize(
    ("seconds", "epochs", "warmup"), [(100, 1, 21), (60 + 15 + 10 * 250 * 0.3 * 1.25 + 40, 10, 208), (9999, 24, 500)]
)
def test_gpu_trains_as_many_epochs_as_fit_and_the_rows_that_matter_first(
    module, monkeypatch, tmp_path, seconds, epochs, warmup
):
    table = module("gpu_table")
    planned = {}
    monkeypatch.setattr(table, "draw", lambda: None)
    monkeypatch.setattr(table, "measure_step", lambda *_: {"ms": 100.0})
    monkeypatch.setattr(table, "train", lambda tasks, *_: planned.update(tasks) or [])
    settings = module("gpu_stage").Settings("cpu", False, tmp_path, tmp_path, None, "command", "cpu")
    table.run(settings, lambda result: None, lambda: seconds)
    assert {(task.parameters.epochs, task.parameters.warmup) for task in planned.values()} == {(epochs, warmup)}
    assert [re.sub("-[0-9a-f]{10}$", "", name) for name in planned][:6] == [
        "mini-baseline-r50-s0", "mini-baseline-r101-s0", "mini-lad-r50-from-r101-s0",
        "mini-soft_label-r50-from-r101-s0", "mini-solad-r50-from-r101-s0", "mini-baseline-r50-s1",
    ]  # fmt: skip


def test_gpu_notices_numbers_that_differ(module):
    checks = module("gpu_checks")
    assert checks.compared("loss", 1e-5, 1e-4)["holds"] and not checks.compared("loss", 2e-4, 1e-4)["holds"]
    assert not checks.compared("loss", float("nan"), 1e-4)["holds"]
    boxes, labels = torch.tensor([[0.0, 0, 8, 8], [4, 4, 9, 9]]), torch.tensor([0, 1])
    first, second = (checks.Detections(boxes + shift, torch.tensor([0.9, 0.8]), labels) for shift in (0, 0.02))
    assert checks.unmatched(first, first) == 0 and checks.unmatched(first, second) == 4


@pytest.mark.slow
def test_a_run_of_gpu_that_cannot_finish_in_time_is_left_to_be_resumed(module, shapes, tmp_path):
    runs = module("gpu_runs")
    parameters = tiny(shapes, tmp_path, epochs=1000, eval_every=1000)
    tasks = {parameters.run_name: module("lad.paper.runner").Task(parameters)}

    def left() -> float:
        return 0.0 if any(file.stat().st_size for file in tmp_path.rglob("metrics.jsonl")) else 100.0

    (row,) = runs.train(tasks, jobs=1, report=lambda rows: json.dumps(rows), left=left)
    assert row["status"] == "unfinished" and 1 <= row["epochs_done"] < 1000
    assert list(tmp_path.rglob("checkpoint-*.pt"))


def test_more_gpus_than_runs_need_do_not_shorten_a_table_below_its_longest_chain(module):
    hours, gpu_hours = (module(name) for name in ("cluster_hours", "gpu_hours"))
    runner, tables = (module(f"lad.paper.{name}") for name in ("runner", "tables"))
    tasks = runner.plan_tasks(tables.open_table("table2_soft_label_vs_lad", "coco_1x"))
    cost = {name: gpu_hours.gpu_hours(task.parameters) for name, task in tasks.items()}
    chain = max(cost[name] + sum(cost[teacher] for teacher in task.teachers) for name, task in tasks.items())
    assert hours.hours(tasks, gpus=1, devices=1) == pytest.approx(sum(cost.values()))
    assert hours.hours(tasks, gpus=32, devices=1) == pytest.approx(chain)
    assert hours.hours(tasks, gpus=32, devices=8) == pytest.approx(hours.hours(tasks, gpus=4, devices=1) / 8)
