"""Any damage to a table's file leaves a valid table or raises one line that names the file."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import FUZZ
from test_parameters import TRICKS, is_one_line

from lad.paper.definitions import Row, Table, read_table

PARAMS = Path(__file__).parents[2] / "params"
OWN = """
question: Why?
rows:
  - title: plain
    parameters: {method: baseline}
    published: [paa_r50_1x]
  - title: LAD
    file: lad.yaml
    against: plain
    is_teacher_network: false
    claim: open
    published: [mine]
  - title: SoLAD
    parameters: {method: solad}
    against: plain
    also_against: [LAD]
published:
  mine: {ap: 41.5, source: my notes, schedule: 1x, split: val, ap50: 60}
not_trained: [OTA, mine]
"""
FIELDS = st.sampled_from([*Row.__dataclass_fields__, *Table.__dataclass_fields__, "ap", "source", "split", "alone"])
VALUES = st.one_of(
    TRICKS,
    st.text(max_size=9),
    st.sampled_from(["null", "[]", "{}", "[[]]", "[1]", "{a: 1}", "[{}]", "true", "-1", "'..'", "/dev/zero", "'a\0b'"]),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    (folder / "lad.yaml").write_text("method: lad")
    return folder


def damaged(draw: st.DataObject) -> str:
    """Return the file with lines left out, repeated, replaced, or with another value."""
    lines = OWN.splitlines()
    for _ in range(draw.draw(st.integers(1, 3))):
        place = draw.draw(st.integers(0, len(lines) - 1))
        kind = draw.draw(st.sampled_from(["leave out", "repeat", "field", "value", "cut", "swap"]))
        line = lines[place]
        if kind == "leave out" and len(lines) > 1:
            del lines[place]
        elif kind == "repeat":
            lines.insert(place, line)
        elif kind == "field":
            indent = line[: len(line) - len(line.lstrip(" -"))]
            lines[place] = f"{indent}{draw.draw(FIELDS)}: {draw.draw(VALUES)}"
        elif kind == "value":
            lines[place] = f"{line.split(':')[0]}: {draw.draw(VALUES)}"
        elif kind == "cut":
            lines[place] = line[: draw.draw(st.integers(0, len(line)))]
        else:
            random.Random(place).shuffle(lines)
    return "\n".join(lines)


@FUZZ
@given(st.data())
def test_any_damaged_table_is_valid_or_raises_one_line_that_names_it(folder, draw):
    path = folder / "mine.yaml"
    path.write_bytes(damaged(draw).encode(errors="surrogatepass"))
    try:
        table = read_table(path)
    except ValueError as error:
        assert is_one_line(error) and str(error).startswith(f"{path}: ")
        return
    titles = {row.title for row in table.rows}
    assert len(titles) == len(table.rows) > 0
    for row in table.rows:
        assert set(row.compared_with) <= titles - {row.title} and table.file_of(row).is_file()
        assert all(0 < table.published_result(name).ap < 100 for name in row.published)
