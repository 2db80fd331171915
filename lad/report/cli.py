"""The command `lad report`: one self-contained HTML page from an executed notebook or from a folder of runs.

lad report runs/run_lad.ipynb    # writes runs/run_lad.html
lad report runs                  # compares all finished runs in runs/report.ipynb and runs/report.html
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lad.utils.atomic_io import write_text
from lad.utils.old_command import run_command
from lad.utils.paths import ensure_writable, project_files

NOTEBOOK = "report.ipynb"
PAGE_SUFFIXES = (".html", ".htm")


def write_report(notebook: Path, page: Path) -> Path:
    """Write the HTML page of an executed notebook.

    Args:
        notebook: The executed .ipynb file.
        page: The .html file to write.

    Returns:
        The page's path.

    Raises:
        ValueError: The notebook does not exist, is not a notebook or was not executed, or the page's name is wrong.
    """
    with _needs_notebooks_extra():
        import nbformat

        from lad.report.html import notebook_html
    if not notebook.exists():
        raise ValueError(f"{notebook}: no such file or folder; name an executed notebook or a folder of runs")
    _check_name(page)
    try:
        content = nbformat.read(notebook, as_version=4)
        nbformat.validate(content)
    except (ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError):
        raise ValueError(f"{notebook}: not a notebook; name an executed .ipynb file") from None
    code = [cell for cell in content.cells if cell.cell_type == "code"]
    if code and not any(cell.outputs or cell.execution_count for cell in code):
        raise ValueError(f"{notebook}: not executed; run it first, for example: papermill {notebook} executed.ipynb")
    write_text(page, notebook_html(content, notebook, page))
    return page


def report_runs(folder: Path, page: Path | None = None) -> Path:
    """Execute notebooks/report.ipynb on a folder of runs, and write its HTML page.

    Args:
        folder: Folder of the runs; the executed notebook is written into it.
        page: The .html file to write; None is report.html in the folder.

    Returns:
        The page's path.

    Raises:
        ValueError: The folder has no finished run, the page's name is wrong, or the notebook failed.
    """
    with _needs_notebooks_extra():
        import nbformat
        import papermill  # type: ignore[import-untyped]  # it has no types
    from lad.experiments.run_store import finished_runs  # imports torch, which a notebook's page does not need

    source = project_files("notebooks") / NOTEBOOK
    if not source.is_file():
        raise ValueError(f"{source}: no such notebook; `lad init FOLDER` lays out the notebooks again")
    if not finished_runs(folder):
        raise ValueError(
            f"{folder}: no finished run in this folder; train one with `make run`, or name the parent folder of the "
            "runs' folders"
        )
    notebook = folder / NOTEBOOK
    page = page or notebook.with_suffix(PAGE_SUFFIXES[0])
    _check_name(page)
    ensure_writable(folder, "PATH")
    try:
        executed = papermill.execute_notebook(source, None, {"out": str(folder.resolve())}, progress_bar=False)
    except papermill.PapermillExecutionError as error:
        message = " ".join(str(error.evalue).split())
        raise ValueError(f"{source}: failed with {error.ename}: {message}") from None
    write_text(notebook, nbformat.writes(executed) + "\n")
    try:
        return write_report(notebook, page)
    except OSError as error:
        raise ValueError(f"{error.strerror}; the executed notebook is {notebook}") from None


def _check_name(page: Path) -> None:
    if page.suffix.lower() not in PAGE_SUFFIXES or page.is_dir():
        raise ValueError(f"{page}: not a file name for an HTML page; give -o a name that ends in .html")
    if not page.parent.is_dir():
        raise ValueError(f"{page}: the folder {page.parent} does not exist; create it first")
    ensure_writable(page.parent, "-o")


@contextmanager
def _needs_notebooks_extra() -> Iterator[None]:
    """Name the extra to install if an import in the block fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{error.name} is not installed; install it with: pip install 'lad-suite[notebooks]'"
        ) from None


if __name__ == "__main__":
    sys.exit(run_command("report"))
