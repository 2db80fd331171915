"""Parameters of a notebook's cells."""

import pytest

from lad.config.notebook import notebook_values


@pytest.mark.parametrize(
    "cell",
    ["%matplotlib inline", "epochs = 1\0", "-" * 10**6 + "1", "(" * 1000, "x = '\ud800'"],
    ids=["magic", "null byte", "deep", "brackets", "lone surrogate"],
)
def test_a_cell_that_cannot_be_parsed_assigns_no_parameters(cell):
    assert notebook_values({"In": [cell, "epochs = 3"], "epochs": 3}) == {"epochs": 3}
