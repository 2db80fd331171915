"""A report in a real browser: one self-contained file with all code folded."""

import subprocess
import sys
from pathlib import Path

import pytest

from lad.report.cli import report_runs, write_report

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "explore_assignments.ipynb"


@pytest.fixture(scope="module")
def executed(run, tmp_path_factory) -> Path:
    """The explorer's notebook, executed by papermill."""
    path = tmp_path_factory.mktemp("executed") / "explore.ipynb"
    command = [sys.executable, "-m", "papermill", str(NOTEBOOK), str(path), "-p", "out", str(run.folder.parent)]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.mark.parametrize("width", [1280, 800])
def test_the_page_of_a_notebook_opens_without_errors_or_requests(executed, tab, shoot, width):
    page = write_report(executed, executed.with_suffix(".html"))
    check(tab, page, width, images=3)
    shoot(tab.page, f"report-notebook-{width}", full_page=True)


@pytest.mark.parametrize("width", [1280, 800])
def test_the_page_of_a_folder_of_runs_opens_without_errors_or_requests(run, tab, shoot, width):
    page = run.folder.parent / "report.html"
    if not page.exists():
        report_runs(run.folder.parent)
    check(tab, page, width, images=3)
    shoot(tab.page, f"report-folder-{width}", full_page=True)


def check(tab, path: Path, width: int, images: int) -> None:
    page = tab.page
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(path.as_uri())
    assert requested(tab) == [path.as_uri()] and not tab.errors
    assert page.locator("main img").count() >= images
    assert all(page.locator("main img").evaluate_all("all => all.map(e => e.complete && e.naturalWidth > 0)"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    code = page.locator("details.code pre")
    assert code.count() and not code.first.is_visible()
    page.get_by_role("button", name="show all code").click()
    assert code.first.is_visible()
    target = page.locator(".contents a").last.get_attribute("href")
    page.evaluate("target => { location.hash = target }", target)
    assert page.locator(f"[id='{target.removeprefix('#')}']").is_visible()
    assert requested(tab) == [path.as_uri()] and not tab.errors
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert not tab.barriers()


def requested(tab) -> list[str]:
    return [url for url in tab.requests if not url.startswith("data:")]
