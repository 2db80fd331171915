"""The subcommands about notebooks and the project's folder: report, lab, init; and the execution of a notebook."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

FIRST_NOTEBOOK = "00_label_assignment_in_ten_minutes.ipynb"


def report(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="PATH", help="Executed notebook, or a folder of runs.", show_default="runs/"),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.html", help="Page to write.", show_default="beside the notebook"),
    ] = None,
) -> None:
    """Make an HTML page of a notebook or of a folder of runs."""
    from lad.report.cli import PAGE_SUFFIXES, report_runs, write_report
    from lad.utils.paths import project_folder

    path = path or project_folder() / "runs"
    if path.is_dir():
        written = report_runs(path, page)
    else:
        written = write_report(path, page or path.with_suffix(PAGE_SUFFIXES[0]))
    print(f"report written to {written}")


def lab(
    notebook: Annotated[str, typer.Argument(metavar="NOTEBOOK", help="Notebook to open.")] = FIRST_NOTEBOOK,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser window.")] = True,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 8888,
) -> int:
    """Start JupyterLab at the notebooks."""
    file = _notebook(notebook)
    _require("jupyterlab")
    command = [sys.executable, "-m", "jupyterlab", f"--notebook-dir={file.parents[1]}", f"--port={port}"]
    command += [f"--LabApp.default_url=/lab/tree/notebooks/{file.name}", *([] if browser else ["--no-browser"])]
    return subprocess.call(command)  # noqa: S603  a list of words, no shell


def init(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="New folder.")]) -> None:
    """Write notebooks and parameter files into a new folder."""
    from lad.suite.init import init_suite

    files = init_suite(folder)
    print(f"{len(files)} files written to {folder}; next: cd {folder} && lad run")


def execute(name: str, output: Path, parameters: dict[str, Any]) -> None:
    """Execute one of the project's notebooks by papermill, and print what it prints.

    Args:
        name: Name of the notebook.
        output: The executed notebook to write; after a failure, up to the cell that failed.
        parameters: Parameters of the notebook.

    Raises:
        ValueError: A package or the notebook is missing, the output cannot be written, or a cell failed.
    """
    from lad.utils.paths import ensure_writable

    source = _notebook(name)
    _require("papermill")
    import papermill  # type: ignore[import-untyped]  # it has no types

    if output.suffix != ".ipynb":
        raise ValueError(f"--output {output}: must end with .ipynb")
    if output.exists() and output.samefile(source):
        raise ValueError(f"--output {output}: is the notebook itself; give another file, such as runs/{source.name}")
    ensure_writable(output.absolute().parent, "--output")
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(
            source, output, parameters, progress_bar=False, stdout_file=sys.stdout, stderr_file=sys.stderr
        )
    except papermill.PapermillExecutionError as error:
        message = " ".join(str(error.evalue).split())
        raise ValueError(f"{output}: failed with {error.ename}: {message}") from None


def _notebook(name: str) -> Path:
    """Return the path of one of the project's notebooks, given with or without folder and ending."""
    from lad.utils.paths import project_files

    folder = project_files("notebooks")
    path = folder / Path(name).with_suffix(".ipynb").name
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.ipynb")))
        raise ValueError(
            f"{path}: no such notebook; {f'there are {known}' if known else 'use a checkout of the project'}"
        )
    return path


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ValueError(f"{package} is not installed; install it with: pip install 'lad-suite[notebooks]'")
