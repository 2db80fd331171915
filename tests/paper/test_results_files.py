"""A table's files record where its numbers come from."""

import json
import subprocess
from pathlib import Path

import pytest

from lad.paper.results_files import code_commit, to_page, write_results


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout with one commit of a folder of code and one of documents."""
    folder = tmp_path / "checkout"
    for name in ("lad/losses.py", "docs/page.md"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("1")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "one")
    return folder


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True).stdout.strip()


def test_a_checkout_has_its_commit_until_its_code_changes(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    assert code_commit(checkout) == head
    (checkout / "docs" / "page.md").write_text("2")  # such as a table that is written again
    (checkout / "lad" / "new.py").write_text("not tracked")
    assert code_commit(checkout) == head
    (checkout / "lad" / "losses.py").write_text("2")
    assert code_commit(checkout) == f"{head}+changes"


def test_outside_a_checkout_or_without_git_there_is_no_commit(checkout, tmp_path, monkeypatch):
    assert code_commit(None) is None
    (checkout / "unpacked").mkdir()  # within the repository of something else
    assert code_commit(checkout / "unpacked") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_commit(checkout) is None


def test_a_repository_without_a_commit_has_none(tmp_path):
    git(tmp_path, "init", "--quiet")
    assert code_commit(tmp_path) is None


def test_equal_runs_give_equal_files(results, tmp_path):
    files = [write_results(results, tmp_path / name, "lad table") for name in "ab"]
    for suffix in (".json", ".md", ".csv", ".tex"):
        first, second = (path.with_suffix(suffix).read_bytes() for path in files)
        assert first == second
    content = json.loads(files[0].read_text())
    assert content["command"] == "lad table" and {"commit", "versions", "hardware"} <= content.keys()


def test_the_page_has_rows_claims_answer_and_the_seeds_that_are_missing(results):
    page = to_page(results, "lad table table2")
    assert page.startswith("# Soft labels") and "\n    lad table table2\n" in page
    assert "seeds missing of 3: SoLAD (1 and 2)" in page and "| LAD | better than baseline | supported |" in page
    assert "\n* 6 comparisons: 2 supported" in page
