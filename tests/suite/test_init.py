"""`lad init`: what it lays out, and what it leaves as it is."""

import re
from pathlib import Path

import pytest

from lad.cli import main
from lad.suite.init import init_suite
from lad.utils.paths import project_files, project_folder

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def suite(tmp_path) -> Path:
    """A folder that `lad init` made."""
    init_suite(tmp_path / "suite")
    return tmp_path / "suite"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_holds_every_notebook_and_parameter_file_of_the_project(suite):
    expected = {
        str(path.relative_to(PROJECT))
        for pattern in ("notebooks/*.ipynb", "params/*.md", "params/**/*.yaml")
        for path in PROJECT.glob(pattern)
    }
    laid_out = content(suite)
    assert laid_out.keys() == expected | {".lad-suite"} and (suite / "runs").is_dir()
    assert all(laid_out[name] == (PROJECT / name).read_bytes() for name in expected)


def test_it_is_the_project_of_commands_and_notebooks_that_run_in_it(suite, monkeypatch):
    for folder in (suite, suite / "notebooks"):
        monkeypatch.chdir(folder)
        assert project_folder() == suite and project_files("params") == suite / "params"


def test_a_second_time_writes_only_what_is_missing(suite):
    removed = suite / "params" / "assigners" / "paa.yaml"
    before = content(suite)
    removed.unlink()
    (suite / "params" / "mine.yaml").write_text("epochs: 1\n")
    assert init_suite(suite) == [removed]
    assert content(suite) == before | {"params/mine.yaml": b"epochs: 1\n"}


def test_changed_files_are_kept_and_nothing_is_written(suite, capsys):
    (suite / "notebooks" / "run_lad.ipynb").write_text("mine")
    (suite / "params" / "assigners" / "paa.yaml").write_text("mine")
    (suite / "params" / "assigners" / "tal.yaml").unlink()
    before = content(suite)
    assert main(["init", str(suite)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r".*run_lad\.ipynb \(and 1 more\): differs from the file of lad-suite [\d.]+; nothing was written; .*", line
    )
    assert content(suite) == before


@pytest.mark.parametrize("name", ["", "params", "params/assigners"])
def test_a_file_in_the_place_of_a_folder_is_one_line_and_nothing_is_written(tmp_path, name):
    file = tmp_path / "suite" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("")
    with pytest.raises(
        ValueError, match=r"^parameter 'FOLDER' = '.*' ?: cannot be written \(.*\); give another folder$"
    ):
        init_suite(tmp_path / "suite")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_the_command_says_what_to_do_next(tmp_path, capsys):
    assert main(["init", str(tmp_path / "suite")]) == 0
    assert re.search(r"^\d+ files written to \S+; next: cd \S+ && lad run$", capsys.readouterr().out.strip())
