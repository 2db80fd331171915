"""Execute the notebooks and write the copies in docs/notebooks, for people who read them: `make notebook-copies`.

python scripts/make_notebook_copies.py [--runs FOLDER] [NAME ...]    # all notebooks, or some by name without .ipynb

They show the finished runs of the folder, which `make run` and `lad table` train; nothing is written to it. Only the
first notebook trains its small networks, in a minute. A notebook whose runs are missing is copied without outputs and
says so; the tables show what was run.
"""

import argparse
import base64
import copy
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbformat import NotebookNode
from PIL import Image

from lad.config.experiment import make_parameters
from lad.data.layouts import locate_split
from lad.data.synthetic.folders import data_folder
from lad.experiments.run_store import find_run
from lad.utils.atomic_io import write_text

PROJECT = Path(__file__).parents[1]
NOTEBOOKS = PROJECT / "notebooks"
FOLDER = PROJECT / "docs" / "notebooks"
MAX_BYTES = 1_000_000  # of a copy
COLORS = 255  # of a figure; a palette makes it a third as large
RESULTS = PROJECT / "results" / "toy"
MAX_SEEDS = 5  # of a table without committed results
NEED_MAIN_JOB = ("run_lad", "explore_assignments", "evaluate", "test_dev")


def notebook_parameters(name: str, runs: Path, scratch: Path) -> dict[str, Any] | None:
    """Return the parameters of a notebook's copy, or None if the runs that it shows are missing.

    Args:
        name: Name of the notebook, without .ipynb.
        runs: Folder of the finished runs.
        scratch: Folder for all that the notebook writes.
    """
    keep = {"rerun": "never"}  # finished runs are shown, and the notebook says if other code made them
    shown = {"out": str(runs), "settings": keep}
    if name in NEED_MAIN_JOB:
        parameters = make_parameters({"teacher": "r101", "out": runs, **keep})
        *others, run = map(find_run, (parameters.plain(), parameters.of_teacher(), parameters))
        if run is None or None in others:
            return None
        checkpoint = {"checkpoint": str(run.folder), "out": str(scratch / "evaluations")}
        return {
            "run_lad": {"teacher": "r101", **shown},
            "explore_assignments": {"run": str(run.folder)},
            "evaluate": checkpoint,
            "test_dev": {"data": str(scratch / "test-dev"), **checkpoint},
        }[name]
    if name == "00_label_assignment_in_ten_minutes":
        return {"out": str(scratch / "runs")}
    if name == "report":
        return {"out": str(runs)}
    if name == "paper_tables":
        return {"seeds": MAX_SEEDS, **shown}
    return {"seeds": committed_seeds(name), "train": False, **shown}


def committed_seeds(name: str) -> int:
    """Return the number of seeds of a table's committed results, so that its copy has the same numbers and verdicts."""
    path = RESULTS / f"{name}.json"
    return len(json.loads(path.read_text(encoding="utf-8"))["seeds"]) if path.is_file() else MAX_SEEDS


def write_test_images(folder: Path) -> None:
    """Write the toy validation images as test images: their list without ground truth, and a link to the files."""
    val = locate_split(data_folder("toy"), "val")
    content = json.loads(val.path.read_text())
    content["annotations"] = []
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(content))
    (folder / "test2017").symlink_to(val.image_folders[0])


def execute(path: Path, parameters: dict[str, Any], folder: Path) -> NotebookNode:
    """Execute a notebook by papermill in a folder; return it with its outputs.

    Raises:
        PapermillExecutionError: If a cell failed.
    """
    executed = folder / path.name
    papermill.execute_notebook(path, executed, parameters, cwd=PROJECT, progress_bar=False)
    return nbformat.read(executed, as_version=4)


def make_copy(
    source: NotebookNode, executed: NotebookNode | None, name: str, commit: str, shorten: Callable[[str], str] = str
) -> NotebookNode:
    """Return the copy: the source with the outputs of its execution, small figures, and a stamp below its title.

    Args:
        source: The notebook without outputs.
        executed: The same with outputs, or None if it was not run.
        name: File name of the notebook.
        commit: Commit of the code that made the outputs.
        shorten: Removes folders of this machine from a text.
    """
    made = copy.deepcopy(executed or source)
    made.metadata = {**source.metadata, "lad": {"commit": commit, "executed": executed is not None}}
    for cell in made.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        cell.source = shorten(link_pages(cell.source) if cell.cell_type == "markdown" else cell.source)
        if "outputs" in cell:  # without the libraries' warnings
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.get("outputs", []):
            if "data" in output:
                output.data = {kind: _shrink(kind, value, shorten) for kind, value in output.data.items()}
            elif "text" in output:
                output.text = shorten(output.text)
    stamp = "Executed" if executed else "Not executed"
    text = f"*{stamp} copy of `notebooks/{name}`, made by `make notebook-copies` at {commit}.*"
    made.cells.insert(1, nbformat.v4.new_markdown_cell(text, id="stamp"))
    return made


def link_pages(text: str) -> str:
    """Return the text of a notebook with links to docs/ as they are from docs/notebooks/."""
    return text.replace("](../docs/", "](../")


def shortened_paths(runs: Path, scratch: Path) -> Callable[[str], str]:
    """Return a function that replaces folders of this machine in a text by those of a checkout."""
    known = {
        str(scratch / "runs"): "runs",
        str(scratch / "evaluations"): "runs/evaluations",
        str(scratch / "test-dev"): "data/coco",
        str(runs): "runs",
        str(data_folder("toy")): "toy",
        f"{PROJECT}/": "",
        str(Path.home()): "~",
    }

    def shorten(text: str) -> str:
        for folder, name in known.items():
            text = text.replace(folder, name)
        return text

    return shorten


def current_commit() -> str:
    """Return the short hash of the newest commit of lad/, notebooks/ and params/, with + if they have other changes."""
    made_by = ("lad", "notebooks", "params")
    commit = _git("log", "-1", "--format=%h", "--abbrev=10", "--", *made_by)
    return commit + ("+" if _git("status", "--porcelain", *made_by) else "")


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)  # noqa: S603  a list of words, no shell
    return done.stdout.strip()


def _shrink(kind: str, value: Any, shorten: Callable[[str], str]) -> Any:
    """Reduce the colors of a PNG; remove this machine's folders from texts."""
    if kind == "image/png":
        file = io.BytesIO()
        image = Image.open(io.BytesIO(base64.b64decode(value))).convert("RGB")
        image.quantize(COLORS, kmeans=2).save(file, "PNG", optimize=True)
        return base64.b64encode(file.getvalue()).decode()
    return shorten(value) if isinstance(value, str) else value


def write_copy(name: str, runs: Path, commit: str) -> None:
    """Execute a notebook and write its copy.

    Raises:
        ValueError: If the copy is too large.
    """
    path = NOTEBOOKS / f"{name}.ipynb"
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if name == "test_dev":
            write_test_images(scratch / "test-dev")
        parameters = notebook_parameters(name, runs, scratch)
        executed = execute(path, parameters, scratch) if parameters is not None else None
        source = nbformat.read(path, as_version=4)
        made = make_copy(source, executed, path.name, commit, shortened_paths(runs, scratch))
    text = nbformat.writes(made) + "\n"
    size = len(text.encode())
    if size > MAX_BYTES:
        raise ValueError(f"{path.name}: its copy has {size / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:.0f} MB")
    write_text(FOLDER / path.name, text)
    note = "" if executed else " (not executed: the main job's runs are missing; make run trains them)"
    print(f"{FOLDER / path.name}: {size / 1000:.0f} kB{note}", flush=True)


def main() -> None:
    """Make the copies of all notebooks, or of those that are named; report failures, and continue with the others."""
    known = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebooks without .ipynb; default: all")
    parser.add_argument("--runs", type=Path, default=PROJECT / "runs", help="folder of the runs to show; default: runs")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in known]:
        parser.error(f"no such notebook: {', '.join(unknown)}; choose from {', '.join(known)}")
    FOLDER.mkdir(exist_ok=True)
    commit, failed = current_commit(), []
    for name in given.names or known:
        try:
            write_copy(name, given.runs.resolve(), commit)
        except (papermill.PapermillExecutionError, ValueError) as error:
            failed.append(name)
            print(f"{name}: {getattr(error, 'evalue', error)}", file=sys.stderr)
    if failed:
        sys.exit(f"no new copy: {', '.join(failed)}")


if __name__ == "__main__":
    main()
