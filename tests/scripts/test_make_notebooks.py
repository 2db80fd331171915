"""The notebooks of the paper's tables are what their generator writes."""

from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from project_scripts import load_script

from lad.paper.definitions import TABLES

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("make_notebooks")


def test_every_table_has_a_notebook(script):
    assert set(script.TABLE_NOTEBOOKS) == set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_the_committed_notebook_is_the_generated_one(script, name):
    """After a change of the generator or of table_notebooks.py: `make notebooks`, and commit the notebooks."""
    committed = (PROJECT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert committed == nbformat.writes(script.make_notebook(name)) + "\n"


def test_the_committed_notebook_of_any_table_is_the_generated_one(script):
    committed = (PROJECT / "notebooks" / "my_table.ipynb").read_text(encoding="utf-8")
    assert committed == nbformat.writes(script.make_own_notebook()) + "\n"


def test_the_generator_writes_every_notebook(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "NOTEBOOKS", tmp_path)
    script.main()
    assert {path.stem for path in tmp_path.iterdir()} == {*TABLES, "my_table"}


def test_the_first_cell_has_what_the_committed_results_say(script):
    (first, *_) = script.make_notebook("table2_soft_label_vs_lad")["cells"]
    text = " ".join(first["source"].split())
    assert "with 5 seeds on the toy profile. Against *baseline*: *soft label* +0.4, not distinguished;" in text
    assert "*SoLAD* +3.9, supported. [What it means](../docs/findings.md)." in text


def test_a_table_without_results_has_no_answer_yet(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "RESULTS", tmp_path)
    assert script.found_last_time("table2_soft_label_vs_lad") == ""


def test_the_ids_of_the_cells_are_their_names_and_unique(script):
    notebook = script.make_notebook("swin_teacher")
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert ids[:6] == ["question", "how", "parameters", "setup", "runs", "table-text"]
    nbformat.validate(notebook)
