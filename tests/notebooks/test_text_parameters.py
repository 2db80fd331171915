"""Text parameters of all notebooks: papermill's -p turns 2024_01_05 into a number, which is refused with the remedy."""

import ast
import json
from functools import partial
from pathlib import Path

import pytest

from lad.config.experiment import make_parameters
from lad.experiments.evaluate import resolve_evaluation_config
from lad.explorer.config import make_explorer_config
from lad.paper.definitions import TABLES
from lad.paper.tables import notebook_own_table, notebook_table, notebook_tables
from lad.report.compare_runs import report_folder

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
MAKERS = {
    "00_label_assignment_in_ten_minutes": make_parameters,
    "run_lad": make_parameters,
    "evaluate": resolve_evaluation_config,
    "test_dev": resolve_evaluation_config,
    "explore_assignments": make_explorer_config,
    "report": report_folder,
    "paper_tables": notebook_tables,
    "my_table": lambda given: notebook_own_table({"table": "co_learning", **given}),
    **{name: partial(notebook_table, name) for name in TABLES},
}
CHOICES = {"profile", "split", "part", "views", "accelerator", "table_of", "table"}  # their message lists the choices


def text_parameters(notebook: Path) -> list[str]:
    """Return the parameters of a notebook that are annotated as text."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    source = next("".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", ()))
    assigned = [node for node in ast.parse(source).body if isinstance(node, ast.AnnAssign)]
    return [ast.unparse(node.target) for node in assigned if ast.unparse(node.annotation) == "str"]


def test_every_notebook_is_checked():
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == set(MAKERS)


@pytest.mark.parametrize("name", MAKERS)
def test_a_text_parameter_that_is_a_number_raises_one_line_with_the_remedy(name):
    for parameter in set(text_parameters(NOTEBOOKS / f"{name}.ipynb")) - CHOICES:
        with pytest.raises(ValueError, match=rf"'{parameter}' is the number 20240105, but must be text") as caught:
            MAKERS[name]({parameter: 20240105})
        assert f"-r {parameter} VALUE" in str(caught.value) and "\n" not in str(caught.value)
