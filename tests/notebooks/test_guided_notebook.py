"""The introductory notebook, run as a newcomer would run it, with less training."""

import json
import subprocess
import sys
from pathlib import Path

from lad.experiments.run_store import finished_runs

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "00_label_assignment_in_ten_minutes.ipynb"


def test_the_notebook_has_five_steps_with_a_figure_each(tmp_path):
    shorter = {"epochs": 1, "teacher_epochs": 2, "train_images": 16, "out": str(tmp_path / "runs")}
    arguments = [word for name, value in shorter.items() for word in ("-p", name, str(value))]
    done = subprocess.run(
        [sys.executable, "-m", "papermill", str(NOTEBOOK), *arguments, "-p", "accelerator", "cpu"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    cells = json.loads(done.stdout)["cells"]
    outputs_of = {cell["id"]: cell["outputs"] for cell in cells if cell["cell_type"] == "code"}
    with_image = [
        name for name, outputs in outputs_of.items() if any("image/png" in output.get("data", {}) for output in outputs)
    ]
    assert with_image == ["anchors", "rule", "paa", "history", "lad"]
    assert not [output for outputs in outputs_of.values() for output in outputs if output.get("name") == "stderr"]
    printed = "".join("".join(output["text"]) for output in outputs_of["lad"] if output["output_type"] == "stream")
    assert "LAD student:" in printed and "agreement with the teacher" in printed and "teacher: AP 0." in printed
    assert len(finished_runs(tmp_path / "runs")) == 3


def test_the_notebook_explains_each_term_before_a_figure_uses_it():
    """Prose and code alternate; a term is bold where it is explained."""
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    kinds = "".join(cell["cell_type"][0] for cell in cells)
    assert kinds == "mmc" + "mc" * 5 + "m"
    prose = " ".join(" ".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    prose = " ".join(prose.split())
    terms = ["ground truth", "gt", "levels", "stride", "anchor", "IoU", "positive", "label assignment", "candidate"]
    terms += ["cost", "focal loss", "GIoU loss", "cut", "teacher", "student"]
    positions = [prose.index(f"**{term}**") for term in terms]
    assert positions == sorted(positions)
    assert prose.count("**Look at**") == 5 and "$" not in prose
