"""The tables in README and docs are those that the script writes from results/."""

from pathlib import Path
from types import ModuleType

import pytest
from finished_tables import APS, TABLE_2, finish
from project_scripts import load_script

from lad.paper.claims import claims_table
from lad.paper.results_files import write_results
from lad.paper.tables import Results, open_table
from lad.utils.tables import to_markdown

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("make_results")


@pytest.fixture
def results(tmp_path) -> Results:
    results = finish(open_table(TABLE_2, seeds=3, changes={"out": str(tmp_path / "runs")}), APS)
    write_results(results, tmp_path / "results", "lad table")
    return results


def block(kind: str, name: str = TABLE_2, content: str = "") -> str:
    return f"Before.\n\n<!-- {kind}: toy/{name} -->\n{content}<!-- end -->\n\nAfter.\n"


def fill(script: ModuleType, folder: Path, text: str) -> str:
    return script.fill(text, folder / "docs" / "page.md", folder / "results")


def test_the_committed_pages_are_the_generated_ones(script):
    """After a new table in results/: `make results`, and commit the pages."""
    for page, text in script.pages().items():
        assert page.read_text(encoding="utf-8") == text, page


def test_the_readme_shows_a_table_and_its_picture(script):
    kinds = [match[1] for match in script.BLOCK.finditer((PROJECT / "README.md").read_text(encoding="utf-8"))]
    assert kinds == ["rows", "figure"]


def test_rows_have_ap_difference_and_verdict(script, results, tmp_path):
    lines = fill(script, tmp_path, block("rows")).splitlines()
    (lad,) = [line for line in lines if line.startswith("| LAD |")]
    assert lad.startswith("| LAD | r50 ← r101 | 66.0 ± 1.0 | 3 | +5.0 [+2.5, +7.5] | supported | 41.6")
    assert "seeds missing of 3: SoLAD (1 and 2)" in lines
    assert f"[All numbers](../results/toy/{TABLE_2}.md)" in lines
    assert (lines[0], lines[-1]) == ("Before.", "After.")


def test_claims_and_figure_are_those_of_the_table(script, results, tmp_path):
    assert f"\n\n{to_markdown(claims_table(results))}\n\n" in fill(script, tmp_path, block("claims"))
    assert f"![AP of each seed](../results/toy/{TABLE_2}.png)" in fill(script, tmp_path, block("figure"))


def test_a_block_is_written_anew_and_all_else_stays(script, results, tmp_path):
    filled = fill(script, tmp_path, block("rows", content="\nold numbers\n\n") + block("claims"))
    assert "old numbers" not in filled and filled.count("Before.") == filled.count("After.") == 2
    assert fill(script, tmp_path, filled) == filled
    assert fill(script, tmp_path, "No block.\n") == "No block.\n"


def test_a_table_that_was_not_run_is_shown_as_its_command(script, tmp_path):
    filled = fill(script, tmp_path, block("claims", "assigners"))
    assert "*Not run yet: no results/toy/assigners.json*" in filled


def test_an_unknown_kind_of_block_is_refused(script, tmp_path):
    with pytest.raises(ValueError, match=r"page\.md: block 'table' is not one of rows, claims, figure"):
        fill(script, tmp_path, block("table"))


def test_results_of_other_rows_are_refused(script, results, tmp_path):
    path = tmp_path / "results" / "toy" / f"{TABLE_2}.json"
    path.write_text(path.read_text().replace('"title": "LAD"', '"title": "LAD of old"'))
    with pytest.raises(ValueError, match="has other rows than the table table2_soft_label_vs_lad; run the table again"):
        script.read_results(path)


def test_the_script_writes_the_pages(script, results, tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text(block("rows", "unknown"))
    monkeypatch.setattr(script, "pages", lambda: {page: script.fill(page.read_text(), page)})
    script.main()
    assert "Not run yet" in page.read_text() and capsys.readouterr().out == f"{page}\n"
    script.main()
    assert capsys.readouterr().out == ""
