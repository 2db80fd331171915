"""The command `lad report`."""

import functools
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from commands import error_line, run
from nbformat.v4 import new_code_cell, new_notebook, new_output

from lad.experiments.run_store import finished_runs
from lad.report.cli import write_report


def write_executed(path: Path, text: str = "1") -> Path:
    """Write a notebook with one executed cell that printed `text`."""
    output = new_output("stream", name="stdout", text=text)
    nbformat.write(new_notebook(cells=[new_code_cell("print()", execution_count=1, outputs=[output])]), path)
    return path


@pytest.fixture
def error_message(capsys):
    """Return the message with which the command fails."""
    return functools.partial(error_line, capsys, "report")


def test_anything_but_an_executed_notebook_is_one_line(tmp_path, error_message):
    source, words, other = tmp_path / "source.ipynb", tmp_path / "words.ipynb", tmp_path / "other.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), source)
    words.write_text("not JSON")
    other.write_text('{"a": 1}')
    runs = tmp_path / "runs"
    runs.mkdir()
    before = sorted(tmp_path.rglob("*"))
    for path, complaint in {
        tmp_path / "none.ipynb": "no such file or folder; name an executed notebook",
        words: "not a notebook",
        other: "not a notebook",
        source: "not executed; run it first",
        runs: "no finished run in this folder; train one",
    }.items():
        message = error_message(path)
        assert message.startswith(f"lad report: {path}: {complaint}") and "\n" not in message
    assert sorted(tmp_path.rglob("*")) == before


def test_a_page_needs_an_html_name_and_an_existing_folder_and_never_replaces_its_notebook(
    tmp_path, capsys, error_message
):
    notebook = write_executed(tmp_path / "executed.ipynb")
    assert "give -o a name that ends in .html" in error_message(notebook, "-o", notebook)
    assert "does not exist; create it first" in error_message(notebook, "-o", tmp_path / "no" / "page.html")
    run("report", notebook)
    assert {path.name for path in tmp_path.iterdir()} == {"executed.ipynb", "executed.html"}
    assert "executed.html" in capsys.readouterr().out


def test_a_page_that_cannot_be_written_leaves_the_older_one(tmp_path, monkeypatch):
    notebook, page = write_executed(tmp_path / "executed.ipynb"), tmp_path / "page.html"
    older = write_report(notebook, page).read_text()
    write_executed(notebook, "2")
    monkeypatch.setattr("lad.utils.atomic_io.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(notebook, page)
    assert page.read_text() == older
    assert {path.name for path in tmp_path.iterdir()} == {"executed.ipynb", "page.html"}


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch, error_message):
    def refuse(folder: Path, parameter: str) -> None:
        raise ValueError(f"parameter '{parameter}' = '{folder}': cannot be written")

    monkeypatch.setattr("lad.report.cli.ensure_writable", refuse)
    notebook = write_executed(tmp_path / "executed.ipynb")
    assert error_message(notebook) == f"lad report: parameter '-o' = '{tmp_path}': cannot be written"


def test_a_missing_nbconvert_is_one_clear_line(tmp_path, monkeypatch, error_message):
    monkeypatch.delitem(sys.modules, "lad.report.html", raising=False)
    monkeypatch.setitem(sys.modules, "nbconvert", None)
    message = error_message(tmp_path / "any.ipynb")
    assert "nbconvert is not installed; install it with: pip install 'lad-suite[notebooks]'" in message


@pytest.mark.notebook
def test_a_folder_of_runs_becomes_one_page_with_every_run(trained, capsys):
    run("report", trained)
    page = BeautifulSoup((trained / "report.html").read_text(), "html.parser")
    text = page.main.get_text()
    names = [run.parameters.run_name for run in finished_runs(trained)]
    assert len(names) == 4 and all(name in text for name in names)
    assert "4 runs in 3 settings" in text and not page.select(".error")
    assert len(page.select("main figure img")) == 3 and len(page.select("main table")) == 3
    rows = [[cell.get_text() for cell in row.select("td")] for row in page.select("footer tbody tr")]
    assert all("*" not in number for name, number, *_ in rows if name != "out")  # all versions are recorded
    assert [row.td.get_text() for row in page.select("footer .given")] == ["out"]
    assert {path.name for path in trained.iterdir() if path.is_file()} == {"report.html", "report.ipynb"}
    assert len(nbformat.read(trained / "report.ipynb", as_version=4).cells) > 10
