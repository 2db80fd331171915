"""Results of Table 2 without training."""

import pytest
from finished_tables import APS, TABLE_2, finish

from lad.paper.tables import Results, open_table


@pytest.fixture
def results(tmp_path) -> Results:
    return finish(open_table(TABLE_2, seeds=3, changes={"out": str(tmp_path)}), APS)
