"""The first notebook, run as a newcomer would, only shorter."""

import json
import subprocess
import sys
from pathlib import Path

from lad.experiments.run_store import finished_runs

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "00_label_assignment_in_ten_minutes.ipynb"


def test_the_guided_notebook_has_five_steps_with_a_picture_each(tmp_path):
    shorter = {"epochs": 1, "teacher_epochs": 2, "train_images": 16, "out": str(tmp_path / "runs")}
    arguments = [word for name, value in shorter.items() for word in ("-p", name, str(value))]
    done = subprocess.run(
        [sys.executable, "-m", "papermill", str(NOTEBOOK), *arguments, "-p", "accelerator", "cpu"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    cells = json.loads(done.stdout)["cells"]
    outputs = {cell["id"]: cell["outputs"] for cell in cells if cell["cell_type"] == "code"}
    pictured = [name for name, made in outputs.items() if any("image/png" in one.get("data", {}) for one in made)]
    assert pictured == ["anchors", "rule", "paa", "history", "lad"]
    assert not [one for made in outputs.values() for one in made if one.get("name") == "stderr"]
    said = "".join("".join(one["text"]) for one in outputs["lad"] if one["output_type"] == "stream")
    assert "LAD student:" in said and "agreement with the teacher" in said and "teacher: AP 0." in said
    assert len(finished_runs(tmp_path / "runs")) == 3


def test_it_explains_each_term_before_a_picture_needs_it():
    """Prose, code, prose, code: what is bold is what is explained."""
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    kinds = "".join(cell["cell_type"][0] for cell in cells)
    assert kinds == "mmc" + "mc" * 5 + "m"
    told = " ".join(" ".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    told = " ".join(told.split())
    terms = ["ground truth", "gt", "levels", "stride", "anchor", "IoU", "positive", "label assignment", "candidate"]
    terms += ["cost", "focal loss", "GIoU loss", "cut", "teacher", "student"]
    places = [told.index(f"**{term}**") for term in terms]
    assert places == sorted(places)
    assert told.count("**Look at**") == 5 and "$" not in told
