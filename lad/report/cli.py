"""Pages to read and pass on: an executed notebook, or a whole folder of runs, as one HTML file.

lad report runs/run_lad.ipynb    # beside it: runs/run_lad.html
lad report runs                  # runs/report.ipynb and runs/report.html, of all finished runs in it
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lad.utils.atomic_io import write_text
from lad.utils.paths import project_folder

NOTEBOOK = "report.ipynb"
PAGE_SUFFIXES = (".html", ".htm")


def write_report(notebook: Path, page: Path) -> Path:
    """Make the page of an executed notebook; returns the page's path.

    Raises ValueError with one line for what is not an executed notebook or cannot be the page's name.
    """
    with _notebooks_extra():
        import nbformat

        from lad.report.html import to_html
    if not notebook.exists():
        raise ValueError(f"{notebook}: no such file or folder; name an executed notebook or a folder of runs")
    _check_name(page)
    try:
        content = nbformat.read(notebook, as_version=4)
        nbformat.validate(content)
    except (ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError):
        raise ValueError(f"{notebook}: is not a notebook; name an executed .ipynb file") from None
    code = [cell for cell in content.cells if cell.cell_type == "code"]
    if code and not any(cell.outputs or cell.execution_count for cell in code):
        raise ValueError(
            f"{notebook}: was not executed; run it first, for instance by papermill {notebook} executed.ipynb"
        )
    write_text(page, to_html(content, notebook, page))
    return page


def report_runs(folder: Path, page: Path | None = None) -> Path:
    """Execute notebooks/report.ipynb on a folder of runs, into the folder, and make its page: the folder's report.html,
    or `page`. Returns the page's path.

    Raises ValueError with one line if no run in the folder is finished.
    """
    with _notebooks_extra():
        import nbformat
        import papermill  # type: ignore[import-untyped]  # it has no types
    from lad.experiments.run_store import (
        finished_runs,  # not above: torch takes seconds, and a notebook's page does without
    )

    source = project_folder() / "notebooks" / NOTEBOOK
    if not source.is_file():
        raise ValueError(f"{source}: no such notebook; start this in a checkout of the project")
    if not finished_runs(folder):
        raise ValueError(
            f"{folder}: no finished run in this folder; train one with `make run`, or name the folder that the runs' "
            "own folders are in"
        )
    notebook = folder / NOTEBOOK
    page = page or notebook.with_suffix(PAGE_SUFFIXES[0])
    _check_name(page)
    try:
        executed = papermill.execute_notebook(source, None, {"out": str(folder.resolve())}, progress_bar=False)
    except papermill.PapermillExecutionError as error:
        said = " ".join(str(error.evalue).split())
        raise ValueError(f"{source}: stopped by {error.ename}: {said}") from None
    write_text(notebook, nbformat.writes(executed) + "\n")
    return write_report(notebook, page)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="lad report",
        description="Make one HTML page of an executed notebook or of a folder of runs.",
    )
    parser.add_argument(
        "path", nargs="?", type=Path, default=project_folder() / "runs", metavar="PATH",
        help="an executed notebook, or a folder of runs (default: runs/)",
    )  # fmt: skip
    parser.add_argument(
        "-o", dest="page", type=Path, metavar="FILE.html", help="the page; default: beside the notebook"
    )
    given = parser.parse_args(arguments)
    try:
        if given.path.is_dir():
            page = report_runs(given.path, given.page)
        else:
            page = write_report(given.path, given.page or given.path.with_suffix(PAGE_SUFFIXES[0]))
    except (ValueError, OSError) as error:
        sys.exit(f"lad report: {error}")
    print(f"written to {page}")


def _check_name(page: Path) -> None:
    if page.suffix.lower() not in PAGE_SUFFIXES or page.is_dir():
        raise ValueError(f"{page}: is not a name for a page; give -o a file that ends in .html")
    if not page.parent.is_dir():
        raise ValueError(f"{page}: there is no folder {page.parent}; make it first")


@contextmanager
def _notebooks_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed; pip install 'lad[notebooks]' brings it") from None


if __name__ == "__main__":
    main()
