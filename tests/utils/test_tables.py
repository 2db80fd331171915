"""Tables as text, CSV, LaTeX and Markdown."""

import io

import pandas as pd
import pytest

from lad.utils.tables import FORMATS, to_csv, to_latex, to_markdown, to_text


@pytest.fixture
def table() -> pd.DataFrame:
    rows = {"a_b": ["r50 ← r101", 1 / 3, 12, 1.25], "50 % | x": ["r50", float("nan"), 3, 0.5]}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["network", "AP", "objects", "min"])
    table.attrs["title"] = "two codes"
    return table.astype({"objects": int})


def test_text_rounds_and_has_a_title(table):
    title, heading, first, second = to_text(table).splitlines()
    assert title == "two codes" and heading.split() == ["network", "AP", "objects", "min"]
    assert first.split()[-3:] == ["0.333", "12", "1.2"] and "–" in second


def test_csv_gives_every_digit_back(table):
    read = pd.read_csv(io.StringIO(to_csv(table)), index_col="name")
    pd.testing.assert_frame_equal(read, table, check_names=False)


def test_latex_is_booktabs_with_special_signs_escaped(table):
    assert to_latex(table).splitlines() == [
        "% two codes", r"\begin{tabular}{llrrr}", r"\toprule", r" & network & AP & objects & min \\", r"\midrule",
        r"a\_b & r50 $\leftarrow$ r101 & 0.333 & 12 & 1.2 \\", r"50 \% | x & r50 & -- & 3 & 0.5 \\", r"\bottomrule",
        r"\end{tabular}",
    ]  # fmt: skip


def test_markdown_escapes_its_bars(table):
    lines = to_markdown(table).splitlines()
    assert lines[0] == "two codes" and lines[3] == "| --- | --- | --- | --- | --- |"
    assert lines[5] == r"| 50 % \| x | r50 | – | 3 | 0.5 |"


def test_no_format_changes_the_table(table):
    before = table.copy()
    for form in FORMATS.values():
        form(table)
    pd.testing.assert_frame_equal(table, before)
