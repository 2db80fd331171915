"""Parameters of a notebook: the values that its parameters cells assign."""

from collections.abc import Mapping

import pytest

from lad.config.experiment import Parameters, make_parameters
from lad.config.notebook import notebook_values


@pytest.mark.parametrize(
    "cell",
    ["%matplotlib inline", "epochs = 1\0", "-" * 10**6 + "1", "(" * 1000, "x = '\ud800'"],
    ids=["magic", "null byte", "deep", "brackets", "lone surrogate"],
)
def test_a_cell_that_cannot_be_parsed_assigns_no_parameters(cell):
    assert notebook_values({"In": [cell, "epochs = 3"], "epochs": 3}) == {"epochs": 3}


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


def test_variables_of_other_cells_are_not_parameters():
    """Cells can therefore run again in any order."""
    own = "epochs: int = 2"
    later = [
        "%matplotlib inline",
        "gt = clearest(analyses)\nshow(gt)",
        "for name in runs:\n    print(name)",
        "import os",
    ]
    namespace = {"In": [own, *later, own], "epochs": 2, "gt": 3, "name": "teacher", "scratch": 1}
    assert from_cells(namespace).epochs == 2
