"""The notebooks, run as a user would: by papermill, from a shell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lad.data.shapes import write_shapes
from lad.experiment import finished_runs

PROJECT = Path(__file__).parents[1]
PAPERMILL = [sys.executable, "-m", "papermill"]
TINY = {
    "student": "r18", "teacher": "r18", "epochs": 1, "batch_size": 4, "accelerator": "cpu",
    "settings": {"short_sides": [128], "test_short_side": 128, "long_side": 128},
}  # fmt: skip


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, "toy", {"train": 12, "val": 6})
    return folder


def papermill(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run([*PAPERMILL, *arguments], cwd=cwd, capture_output=True, text=True, timeout=600)


def test_run_lad_makes_its_table_and_figures_from_any_folder(shapes, tmp_path):
    """Started elsewhere, with a parameter file, without an output path: the notebook goes to standard output."""
    parameters = tmp_path / "tiny.yaml"
    parameters.write_text(yaml.safe_dump({**TINY, "data": str(shapes), "out": str(tmp_path / "runs")}))
    done = papermill(str(PROJECT / "notebooks" / "run_lad.ipynb"), "-f", str(parameters), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    notebook = json.loads(done.stdout)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(figures) == 5
    (table,) = (output["data"]["text/html"] for output in outputs if "text/html" in output.get("data", {}))
    html = "".join(table)
    assert all(row in html for row in ("plain student", "teacher", "LAD student", "r18 ← r18"))
    streams = "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")
    assert "r18 lad · epoch 1/1 · loss" in streams and "%|" not in streams  # lines, no frozen bars
    # Teacher and plain student are the same network here, so the same run serves both.
    assert len(finished_runs(tmp_path / "runs")) == 2

    again = papermill(str(PROJECT / "notebooks" / "run_lad.ipynb"), "-f", str(parameters), cwd=tmp_path)
    assert again.returncode == 0 and "finished before" in again.stdout


def test_the_baseline_alone_needs_no_teacher(shapes, tmp_path):
    given = {**TINY, "method": "baseline", "data": str(shapes), "out": str(tmp_path / "runs")}
    del given["teacher"]
    done = papermill(str(PROJECT / "notebooks" / "run_lad.ipynb"), "-y", yaml.safe_dump(given), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(finished_runs(tmp_path / "runs")) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "teachr", "r50"], "ValueError: parameter 'teachr' is unknown; did you mean 'teacher'?"),
        (["-p", "data", "/nowhere/at/all"], "ValueError: data '/nowhere/at/all': no such folder"),
    ],
)
def test_a_mistake_stops_the_notebook_with_one_clear_line(arguments, message, tmp_path):
    done = papermill(str(PROJECT / "notebooks" / "run_lad.ipynb"), *arguments, "-p", "out", "runs", cwd=tmp_path)
    assert done.returncode != 0
    assert message in done.stderr
    assert not (tmp_path / "runs").exists()


def test_the_parameters_have_readable_help():
    done = papermill("--help-notebook", str(PROJECT / "notebooks" / "run_lad.ipynb"), cwd=PROJECT)
    help_text = done.stdout + done.stderr
    assert "teacher: str (default None)" in help_text and "epochs: int (default None)" in help_text
    assert "over the training images" in help_text


def test_the_results_command_prints_the_table(shapes, tmp_path):
    given = {**TINY, "method": "baseline", "data": str(shapes), "out": str(tmp_path / "runs"), **TINY["settings"]}
    del given["teacher"], given["settings"]
    script = f"from lad.experiment import *; from lad.parameters import *; run_experiment(make_parameters({given!r}))"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-m", "lad.results", str(tmp_path / "runs")], capture_output=True, text=True, env=os.environ
    )
    assert "baseline" in done.stdout and "AP50" in done.stdout
