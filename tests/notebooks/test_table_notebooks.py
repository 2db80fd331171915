"""The notebook of each table, run by papermill at a tiny budget, and the notebook that puts all of them together."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lad.data.synthetic.shapes import write_shapes
from lad.paper.published import PUBLISHED, TABLES
from lad.paper.tables import open_table

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TINY = {
    "epochs": 1, "train_images": 8, "accelerator": "cpu",
    "settings": {
        "batch_size": 4, "width": 0.125, "channels": 64, "short_sides": [96], "test_short_side": 96, "long_side": 96,
    },
}  # fmt: skip
FIGURES = {"sota_r101_x101": 3, "swin_teacher": 3}


def executed(name: str, given: dict) -> list[dict]:
    """The outputs of a notebook."""
    command = [sys.executable, "-m", "papermill", "--log-level", "ERROR", "--no-progress-bar"]
    command += [str(NOTEBOOKS / f"{name}.ipynb"), "-", "-y", yaml.safe_dump(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return [output for cell in json.loads(done.stdout)["cells"] for output in cell.get("outputs", [])]


def tables_in(outputs: list[dict]) -> list[str]:
    return ["".join(one["data"]["text/html"]) for one in outputs if "text/html" in one.get("data", {})]


def figures_in(outputs: list[dict]) -> int:
    return sum("image/png" in one.get("data", {}) for one in outputs)


def text_in(outputs: list[dict]) -> str:
    return "".join("".join(one["text"]) for one in outputs if one["output_type"] == "stream")


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("tables")
    write_shapes(folder / "shapes", "toy", {"train": 8, "val": 4})
    return {**TINY, "data": str(folder / "shapes"), "out": str(folder / "runs")}


@pytest.fixture(scope="module")
def notebooks(given) -> dict[str, list[dict]]:
    """Every table, run."""
    return {name: executed(name, given) for name in TABLES}


@pytest.mark.parametrize("name", TABLES)
def test_a_tables_notebook_trains_its_rows_and_makes_its_table_and_figures(notebooks, name):
    outputs, table = notebooks[name], TABLES[name]
    summary, published = tables_in(outputs)
    assert all(f"<th>{row.title}</th>" in summary for row in table.rows)
    assert summary.count("<td>1</td>") == len(table.rows)  # one seed of each
    assert all(str(PUBLISHED[key].ap) in published for row in table.rows for key in row.published)
    assert figures_in(outputs) == FIGURES.get(name, 2)
    against = [row for row in table.rows if row.against]
    assert text_in(outputs).count(", from one seed: ") == len(against)


def test_the_papers_tables_are_complete_when_everything_was_run(notebooks, given):
    outputs = executed("paper_tables", given)
    assert len(tables_in(outputs)) == len(TABLES) + 1 and figures_in(outputs) == 1
    text = text_in(outputs)
    assert all(f"{len(table.rows)} of {len(table.rows)} rows were run" in text for table in TABLES.values())
    assert "No runs to compare yet." not in text


def test_the_papers_tables_show_what_there_is(notebooks, given, tmp_path):
    """Of table 2 the plain student and LAD."""
    changes = {name: value for name, value in given.items() if name != "settings"} | given["settings"]
    for row, (parameters, *_) in open_table("table2_soft_label_vs_lad", changes=changes).parameters.items():
        if row.title in ("baseline", "LAD"):
            name = parameters.run_name
            shutil.copytree(Path(given["out"]) / name, tmp_path / "runs" / name)
    text = text_in(executed("paper_tables", {**given, "out": str(tmp_path / "runs")}))
    assert "table2_soft_label_vs_lad, toy: 2 of 5 rows were run" in text
    assert "swin_teacher, toy: 1 of 5 rows were run" in text  # the same plain R50
    assert text.count(", from one seed: ") == 1 and text.count("No runs to compare yet.") == len(TABLES) - 1


def test_the_papers_tables_invent_nothing_when_nothing_was_run(given, tmp_path):
    outputs = executed("paper_tables", {**given, "out": str(tmp_path / "none")})
    text = text_in(outputs)
    assert text.count("No runs to compare yet.") == len(TABLES)
    assert all(f"0 of {len(table.rows)} rows were run" in text for table in TABLES.values())
    assert figures_in(outputs) == 1 and not (tmp_path / "none").exists()
