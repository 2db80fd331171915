"""Parameters of a notebook: the values that its parameters cells assign."""

import ast
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pytest

from lad.config.experiment import Parameters, make_parameters
from lad.config.notebook import notebook_values

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "cell",
    ["%matplotlib inline", "epochs = 1\0", "-" * 10**6 + "1", "(" * 1000, "x = '\ud800'"],
    ids=["magic", "null byte", "deep", "brackets", "lone surrogate"],
)
def test_a_cell_that_cannot_be_parsed_assigns_no_parameters(cell):
    assert notebook_values({"In": [cell, "epochs: int = 3"], "epochs": 3}) == {"epochs": 3}


def from_cells(namespace: Mapping) -> Parameters:
    return make_parameters(notebook_values(namespace))


def test_the_variables_of_parameters_cells_are_parameters_and_a_typo_raises():
    own = 'epochs: int = 2  # over the images\nstudent: str = "r18"\nsettings: dict = None'
    names = {"epochs": 2, "student": "r18", "settings": None}
    assert from_cells({"In": ["", own], **names}).student == "r18"
    injected = "# Parameters\nstudent = \"r34\"\nlr = float('nan')\n"
    with pytest.raises(ValueError, match="'lr' = nan"):
        from_cells({"In": ["", own, injected], **names, "student": "r34", "lr": float("nan")})
    with pytest.raises(ValueError, match="'teachr' is unknown; did you mean 'teacher'"):
        from_cells({"In": ["", own, '# Parameters\nteachr = "r50"\n'], **names, "teachr": "r50"})
    assert from_cells({"In": ["", own], **names, "settings": {"flip": 0.25}}).flip == 0.25
    with pytest.raises(ValueError, match="'flipp' is unknown"):
        from_cells({"In": ["", own], **names, "settings": {"flipp": 0.25}})


@pytest.mark.parametrize("line", ['out: str = "a" + "b"', "out: str = Path('a') / 'b'", "import os", "print(1)"])
def test_a_parameters_cell_may_compute_values(line):
    """So that no parameter is lost silently."""
    cell = f"epochs: int = 3\n{line}\nseed = 2 * 3"
    assert notebook_values({"In": [cell], "epochs": 3, "seed": 6}) == {"epochs": 3, "seed": 6}
    with pytest.raises(ValueError, match="'base' is unknown"):
        from_cells({"In": ["base = 'runs'\nepochs: int = 3"], "base": "runs", "epochs": 3})


@pytest.mark.parametrize("path", sorted((PROJECT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_only_the_parameters_cell_of_a_notebook_gives_types(path):
    cells = nbformat.read(path, as_version=4).cells
    typed = [
        "parameters" in cell.metadata.get("tags", [])
        for cell in cells
        if cell.cell_type == "code" and any(isinstance(line, ast.AnnAssign) for line in ast.parse(cell.source).body)
    ]
    assert typed == [True]


def test_without_types_every_cell_of_literals_is_a_parameters_cell():
    cells = ["epochs = 2", "student = 'r18'", "x = [name for name in ()]", "# Parameters\nseed = 1"]
    assert notebook_values({"In": cells, "epochs": 2, "student": "r18", "x": [], "seed": 1}) == {
        "epochs": 2, "student": "r18", "seed": 1,
    }  # fmt: skip


def test_variables_of_other_cells_are_not_parameters():
    """Cells can therefore run again in any order."""
    own = "epochs: int = 2"
    later = [
        "%matplotlib inline",
        "gt = clearest(analyses)\nshow(gt)",
        "for name in runs:\n    print(name)",
        "import os",
        "k = 3",
    ]
    namespace = {"In": [own, *later, own], "epochs": 2, "gt": 3, "name": "teacher", "scratch": 1, "k": 3}
    assert from_cells(namespace).epochs == 2
