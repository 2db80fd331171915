"""The notebooks, run as by a user: with papermill, from a shell."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from lad.config.experiment import make_parameters
from lad.data.coco import find_split
from lad.data.synthetic.folders import write_shapes
from lad.experiments.run_store import Run, finished_runs
from lad.experiments.runner import run_experiment
from lad.models.detector import build_detector
from lad.models.serialization import save_detector, save_openmmlab

PROJECT = Path(__file__).parents[2]
PAPERMILL = [sys.executable, "-m", "papermill"]

TINY = {
    "student": "r18", "teacher": "r18", "epochs": 1, "batch_size": 4, "accelerator": "cpu",
    "settings": {"short_sides": [128], "test_short_side": 128, "long_side": 128},
}  # fmt: skip


def papermill(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """Run papermill in a folder."""
    return subprocess.run([*PAPERMILL, *arguments], cwd=cwd, capture_output=True, text=True, timeout=600)


def test_run_lad_runs_in_any_folder_and_has_its_table_and_figures(shapes, tmp_path):
    """Started in another folder, with a parameter file; without an output path, papermill prints the notebook."""
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
    assert "r18 lad · epoch 1/1 · loss" in streams and "%|" not in streams  # lines, no progress bars
    # Teacher and plain student have the same parameters here, so they are the same run.
    assert len(finished_runs(tmp_path / "runs")) == 2

    second = papermill(str(PROJECT / "notebooks" / "run_lad.ipynb"), "-f", str(parameters), cwd=tmp_path)
    assert second.returncode == 0 and "already trained (AP" in second.stdout


def test_a_baseline_run_has_no_teacher(shapes, tmp_path):
    given = {**TINY, "method": "baseline", "data": str(shapes), "out": str(tmp_path / "runs")}
    del given["teacher"]
    done = papermill(str(PROJECT / "notebooks" / "run_lad.ipynb"), "-y", yaml.safe_dump(given), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(finished_runs(tmp_path / "runs")) == 1


def test_a_teacher_from_a_file_is_in_the_table_by_its_name_and_ap(shapes, tmp_path):
    """It has other classes than the data, and teaches by its boxes; the student starts from it, too."""
    detector = build_detector("r18", 9, 0.25, channels=64)
    names = tuple(f"animal {number}" for number in range(9))
    detector.configuration = dataclasses.replace(detector.configuration, class_names=names)
    save_detector(detector, tmp_path / "animals.safetensors")
    settings = {**TINY["settings"], "teacher_cost": "box"}
    given = {
        **TINY, "settings": settings, "data": str(shapes), "out": str(tmp_path / "runs"), "student": None,
        "teacher": None, "teacher_checkpoint": "animals.safetensors", "init": "animals.safetensors",
    }  # fmt: skip
    done = papermill(str(PROJECT / "notebooks" / "run_lad.ipynb"), "-y", yaml.safe_dump(given), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    notebook = json.loads(done.stdout)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) == 5
    (table,) = ("".join(o["data"]["text/html"]) for o in outputs if "text/html" in o.get("data", {}))
    assert all(text in table for text in ("r18 (animals)", "checkpoint, boxes only", "r18 (animals) ← animals"))
    (teacher,) = (run for run in finished_runs(tmp_path / "runs") if run.parameters.epochs == 0)
    assert teacher.results["ignores_classes"] and f"{teacher.metrics['AP']:.3f}" in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "teachr", "r50"], "ValueError: parameter 'teachr' is unknown; did you mean 'teacher'?"),
        (["-p", "data", "/nowhere/at/all"], "ValueError: data '/nowhere/at/all': no such folder"),
    ],
)
def test_an_invalid_parameter_stops_the_notebook_with_an_error_of_one_line(arguments, message, tmp_path):
    done = papermill(str(PROJECT / "notebooks" / "run_lad.ipynb"), *arguments, "-p", "out", "runs", cwd=tmp_path)
    assert done.returncode != 0
    assert message in done.stderr
    assert not (tmp_path / "runs").exists()


def test_papermill_lists_the_parameters_with_their_comments():
    done = papermill("--help-notebook", str(PROJECT / "notebooks" / "run_lad.ipynb"), cwd=PROJECT)
    help_text = done.stdout + done.stderr
    assert "teacher: str (default None)" in help_text and "epochs: int (default None)" in help_text
    assert "over the training images" in help_text


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    """A run trained for long enough to detect objects."""
    folder = tmp_path_factory.mktemp("trained")
    write_shapes(folder / "shapes", "toy", {"train": 320, "val": 24})
    given = {"method": "baseline", "student": "r18", "data": folder / "shapes", "epochs": 3, "accelerator": "cpu"}
    sizes = {"short_sides": [128], "test_short_side": 128, "long_side": 128}
    return run_experiment(make_parameters({**given, **sizes, "warmup": 10, "out": folder / "runs"}))


def evaluated(tmp_path: Path, **given) -> dict:
    """Run the notebook evaluate, check that it has its figures and tables, and return the results of its report."""
    arguments = ["-y", yaml.safe_dump({**given, "accelerator": "cpu", "out": str(tmp_path / "out")})]
    done = papermill(str(PROJECT / "notebooks" / "evaluate.ipynb"), *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    notebook = json.loads(done.stdout)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) == 4
    assert len([output for output in outputs if "text/html" in output.get("data", {})]) == 3
    (results,) = (tmp_path / "out").glob("*/results.json")
    return json.loads(results.read_text())


def test_evaluate_reproduces_the_ap_of_a_run_and_of_its_openmmlab_copy(trained, tmp_path):
    """From the run's folder, its AP; from a copy under OpenMMLab's names, exactly the same metrics."""
    (tmp_path / "ours").mkdir()
    ours = evaluated(tmp_path / "ours", checkpoint=str(trained.folder))
    assert ours["metrics"]["AP"] == pytest.approx(trained.results["metrics"]["AP"], abs=1e-6)
    assert ours["metrics"]["AP"] > 0.01

    (tmp_path / "openmmlab").mkdir()
    save_openmmlab(trained.load_detector(), tmp_path / "copy.pth")
    parameters = {"checkpoint": str(tmp_path / "copy.pth"), "data": trained.parameters.data}
    copy = evaluated(tmp_path / "openmmlab", **parameters, short_side=128, long_side=128)
    assert copy["metrics"] == ours["metrics"]


def test_evaluate_and_test_dev_read_real_coco_images(real_data, tmp_path):
    """An untrained network of 80 classes on coco_ccby320: gaps in the category ids, crowds, images without boxes."""
    data = real_data("coco_ccby320")
    torch.manual_seed(0)
    detector = build_detector("r18", num_classes=80, width=0.25, channels=64)
    with torch.no_grad():
        detector.head.cls.bias.fill_(-2.0)
    save_detector(detector, tmp_path / "coco.safetensors")
    parameters = {
        "checkpoint": str(tmp_path / "coco.safetensors"),
        "data": str(data),
        "short_side": 160,
        "long_side": 320,
    }
    results = evaluated(tmp_path, **parameters, expected_ap=40.4, min_score=0.1)
    assert results["images"] == 47 and results["detections"] > 0 and results["metrics"]["AP"] < 0.01

    content = json.loads(find_split(data, "val")[1].read_text())
    del content["annotations"]
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    (tmp_path / "coco" / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(content))
    (tmp_path / "coco" / "test2017").symlink_to(find_split(data, "val")[0])
    parameters |= {"data": str(tmp_path / "coco"), "out": str(tmp_path / "dev"), "max_images": 5, "min_score": 0.1}
    done = papermill(str(PROJECT / "notebooks" / "test_dev.ipynb"), "-y", yaml.safe_dump(parameters), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "dev").glob("*/detections_test-dev2017_lad_results.zip"))) == 1
