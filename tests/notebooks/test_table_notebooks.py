"""The notebook of each table, run by papermill on tiny runs, and the notebook that shows all tables."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_runs import fabricate

from lad.paper.definitions import TABLES
from lad.paper.published import PUBLISHED
from lad.paper.tables import Experiments, open_table

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TINY = {
    "epochs": 1, "train_images": 8, "accelerator": "cpu",
    "settings": {
        "batch_size": 4, "width": 0.125, "channels": 64, "short_sides": [96], "test_short_side": 96, "long_side": 96,
    },
}  # fmt: skip
TRAINED = "table2_soft_label_vs_lad"
FIGURES = {"sota_r101_x101": 3, "swin_teacher": 3, "distillation_methods": 3, "teacher_quality": 3}


def executed(name: str, given: dict) -> list[dict]:
    """Run a notebook with these parameters and return its outputs."""
    command = [sys.executable, "-m", "papermill", "--log-level", "ERROR", "--no-progress-bar"]
    command += [str(NOTEBOOKS / f"{name}.ipynb"), "-", "-y", yaml.safe_dump(given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return [output for cell in json.loads(done.stdout)["cells"] for output in cell.get("outputs", [])]


def tables_in(outputs: list[dict]) -> list[str]:
    return ["".join(output["data"]["text/html"]) for output in outputs if "text/html" in output.get("data", {})]


def figures_in(outputs: list[dict]) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs)


def text_in(outputs: list[dict]) -> str:
    """Return what is printed, and displayed as Markdown."""
    texts = (output.get("text") or output.get("data", {}).get("text/markdown", "") for output in outputs)
    return "\n".join(map("".join, texts))


@pytest.fixture(scope="module")
def given(shapes, tmp_path_factory) -> dict:
    """The parameters of every notebook."""
    return {**TINY, "data": str(shapes), "out": str(tmp_path_factory.mktemp("tables") / "runs")}


def experiments_of(name: str, given: dict) -> Experiments:
    """Return the runs that a table's notebook makes with these parameters."""
    changes = {parameter: value for parameter, value in given.items() if parameter != "settings"}
    return open_table(name, changes=changes | given["settings"])


def names_of_runs(name: str, given: dict) -> dict[str, str]:
    """Return the names of a table's runs by the titles of their rows."""
    return {row.title: of_row[0].run_name for row, of_row in experiments_of(name, given).parameters.items()}


@pytest.fixture(scope="module")
def notebooks(given) -> dict[str, list[dict]]:
    """The outputs of every table's notebook: one trains its rows, the others load finished runs."""
    outputs = {TRAINED: executed(TRAINED, given)}
    for name in TABLES.keys() - {TRAINED}:
        for (parameters,) in experiments_of(name, given).parameters.values():
            fabricate(parameters)
        outputs[name] = executed(name, given)
    return outputs


@pytest.mark.parametrize("name", TABLES)
def test_the_notebook_of_a_table_shows_its_table_and_figures(notebooks, name):
    outputs, table = notebooks[name], TABLES[name]
    summary, *costs, published, claims = tables_in(outputs)
    assert all(f"<th>{row.title}</th>" in summary for row in table.rows)
    assert summary.count("<td>1</td>") == len(table.rows)  # one seed of each
    assert all(str(PUBLISHED[key].ap) in published for row in table.rows for key in row.published)
    assert figures_in(outputs) == FIGURES.get(name, 2)
    assert all(PUBLISHED[key].source in published for key in table.not_trained)
    comparisons = sum(len(row.compared_with) for row in table.rows)
    assert text_in(outputs).count(": one seed, ") == claims.count("<td>one seed</td>") == comparisons
    assert len(costs) == (name == "distillation_methods")


def test_the_notebook_of_a_table_trains_missing_runs(notebooks):
    assert text_in(notebooks[TRAINED]).count("epoch 1/1 · loss") == len(TABLES[TRAINED].rows)


def test_the_notebook_of_any_table_trains_and_shows_the_table_of_a_file(given, tmp_path):
    text = """
        question: Is a student of r18 better?
        rows:
          - {title: alone, parameters: {method: baseline, student: r18}}
          - {title: taught, parameters: {method: lad, student: r18, teacher: r18}, against: alone}
        """
    (tmp_path / "mine.yaml").write_text(text)
    outputs = executed("my_table", {**given, "table": str(tmp_path / "mine.yaml"), "out": str(tmp_path / "runs")})
    summary, *_published = tables_in(outputs)
    assert "<th>alone</th>" in summary and "<td>r18 ← r18</td>" in summary and figures_in(outputs) == 2
    text = text_in(outputs)
    assert "Is a student of r18 better?" in text and text.count("epoch 1/1 · loss") == 2
    assert "taught is better than alone: one seed, " in text


def test_paper_tables_shows_complete_tables_if_all_runs_are_finished(notebooks, given):
    outputs = executed("paper_tables", given)
    assert len(tables_in(outputs)) == 3 * len(TABLES)  # rows, comparisons and published results of each
    assert figures_in(outputs) == 1
    text = text_in(outputs)
    assert all(f"{len(table.rows)} of {len(table.rows)} rows were run" in text for table in TABLES.values())
    assert "No runs to compare yet." not in text


def test_paper_tables_shows_only_the_finished_runs(notebooks, given, tmp_path):
    """Two rows of Table 2, the baseline and LAD, which other tables have, too."""
    of_table = {name: names_of_runs(name, given) for name in TABLES}
    finished = {of_table[TRAINED]["baseline"], of_table[TRAINED]["LAD"]}
    for name in finished:
        shutil.copytree(Path(given["out"]) / name, tmp_path / "runs" / name)
    text = text_in(executed("paper_tables", {**given, "out": str(tmp_path / "runs")}))
    assert "table2_soft_label_vs_lad, toy: 2 of 5 rows were run" in text
    assert "swin_teacher, toy: 1 of 5 rows were run" in text  # its plain R50 is the same run
    compared = {
        name: sum(
            {of_table[name][row.title], of_table[name][against]} <= finished
            for row in table.rows
            for against in row.compared_with
        )
        for name, table in TABLES.items()
    }
    assert compared[TRAINED] == compared["distillation_methods"] == compared["assigners"] == 1
    assert text.count(": one seed, ") == sum(compared.values())
    assert text.count("No runs to compare yet.") == list(compared.values()).count(0)


def test_paper_tables_shows_empty_tables_without_runs(given, tmp_path):
    outputs = executed("paper_tables", {**given, "out": str(tmp_path / "none")})
    text = text_in(outputs)
    assert text.count("No runs to compare yet.") == len(TABLES)
    assert all(f"0 of {len(table.rows)} rows were run" in text for table in TABLES.values())
    assert figures_in(outputs) == 1 and not (tmp_path / "none").exists()
