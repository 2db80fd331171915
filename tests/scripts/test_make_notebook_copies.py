"""The executed copies of the notebooks in docs/notebooks: current, small, stamped, without paths of a machine."""

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import nbformat
import numpy as np
import pytest
from nbformat import NotebookNode
from PIL import Image
from project_scripts import load_script

from lad.paper.claims import conclusions
from lad.paper.definitions import TABLES

PROJECT = Path(__file__).parents[2]
COPIES = PROJECT / "docs" / "notebooks"
RESULTS = [path for path in sorted((PROJECT / "results" / "toy").glob("*.json")) if path.stem in TABLES]
NAMES = sorted(path.stem for path in (PROJECT / "notebooks").glob("*.ipynb"))
ABSOLUTE = re.compile(r"(?<![\w.:/<~>*%†–-])/[\w.-]+/[\w./-]*")  # a path; neither a fraction nor an address or a tag


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("make_notebook_copies")


def texts(notebook: NotebookNode) -> Iterator[str]:
    """Yield the sources and the outputs, without images."""
    for cell in notebook.cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield from (str(value) for kind, value in output.get("data", {}).items() if not kind.startswith("image/"))


def test_every_notebook_has_a_copy():
    assert sorted(path.stem for path in COPIES.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_is_small_and_stamped_and_has_no_error_and_no_path_of_a_machine(script, name):
    path = COPIES / f"{name}.ipynb"
    copy = nbformat.read(path, as_version=4)
    assert path.stat().st_size <= script.MAX_BYTES
    pattern = rf"\*Executed copy of `notebooks/{name}\.ipynb`, made by `make notebook-copies` at ([0-9a-f]{{10}})\.\*"
    commit = re.fullmatch(pattern, copy.cells[1].source)[1]
    assert copy.metadata.lad == {"commit": commit, "executed": True}
    outputs = [output for cell in copy.cells for output in cell.get("outputs", [])]
    assert not any(output.output_type == "error" for output in outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert [ABSOLUTE.findall(text) for text in texts(copy) if ABSOLUTE.search(text)] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_has_the_cells_of_its_notebook(script, name):
    """`make notebook-copies COPIES_ARGS=<name>` makes a new one after an edit."""
    source = nbformat.read(PROJECT / "notebooks" / f"{name}.ipynb", as_version=4)
    copied = nbformat.read(COPIES / f"{name}.ipynb", as_version=4).cells
    own = [cell for cell in copied if cell.id != "stamp" and "injected-parameters" not in cell.metadata.get("tags", [])]
    expected = [(cell.id, script.link_pages(cell.source)) for cell in source.cells]
    assert [(cell.id, cell.source) for cell in own] == expected


def test_a_copy_has_stdout_figures_of_fewer_colors_and_relative_paths(script, tmp_path):
    noise = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(noise, "PNG")
    image = base64.b64encode(noise.getvalue()).decode()
    source = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A question [docs](../docs/methods.md)")])
    executed = nbformat.from_dict(source)
    runs, scratch = tmp_path / "my runs", tmp_path / "scratch"
    output = nbformat.v4.new_output("display_data", {"image/png": image, "text/plain": f"{runs}/a of {PROJECT}/data"})
    lines = [nbformat.v4.new_output("stream", name=name, text=f"{scratch}/runs/b") for name in ("stdout", "stderr")]
    executed.cells.append(nbformat.v4.new_code_cell(f"out = '{runs}'", outputs=[output, *lines]))
    made = script.make_copy(source, executed, "a.ipynb", "0123456789", script.shortened_paths(runs, scratch))
    nbformat.validate(made)
    assert made.cells[0].source == "# A question [docs](../methods.md)" and made.cells[2].source == "out = 'runs'"
    shown, stdout = made.cells[2].outputs  # without stderr
    assert shown.data["text/plain"] == "runs/a of data" and stdout.text == "runs/b"
    assert len(shown.data["image/png"]) < len(image)


def test_a_notebook_that_was_not_run_says_so(script):
    source = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A question")])
    made = script.make_copy(source, None, "a.ipynb", "0123456789")
    assert made.cells[1].source.startswith("*Not executed copy of `notebooks/a.ipynb`")


@pytest.mark.parametrize("name", NAMES)
def test_no_notebook_trains_in_the_folder_of_the_runs(script, tmp_path, name):
    """Without the main job, notebooks that show it are not executed; tables show what there is."""
    runs = tmp_path / "runs"
    parameters = script.notebook_parameters(name, runs, tmp_path / "scratch")
    if name in script.NEED_MAIN_JOB:
        assert parameters is None
    elif name == "00_label_assignment_in_ten_minutes":
        assert parameters["out"] != str(runs)
    else:
        assert parameters["out"] == str(runs) and parameters.get("train") is not True
    assert not runs.exists()


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_copy_of_a_table_has_the_answer_of_its_committed_results(path):
    """After a new table in results/: `make notebook-copies`, and commit the copies."""
    answer = conclusions(load_script("make_results").read_results(path))
    cells = nbformat.read(COPIES / f"{path.stem}.ipynb", as_version=4).cells
    printed = [output.text for cell in cells for output in cell.get("outputs", []) if output.output_type == "stream"]
    assert f"{answer}\n" in printed


@pytest.mark.parametrize("path", sorted(COPIES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_results_that_the_prose_of_a_copy_announces_are_in_its_outputs(path):
    """After another training: write its numbers where a notebook says "an earlier run" or "an earlier execution"."""
    cells = nbformat.read(path, as_version=4).cells
    prose = [paragraph for cell in cells if cell.cell_type == "markdown" for paragraph in cell.source.split("\n\n")]
    announced = {number for text in prose if "of an earlier" in text for number in re.findall(r"\.\d{3}\b", text)}
    outputs = "".join(str(cell.get("outputs")) for cell in cells)
    assert [number for number in sorted(announced) if number not in outputs] == []


def test_a_copy_has_the_seeds_of_the_committed_results(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "RESULTS", tmp_path)
    (tmp_path / "assigners.json").write_text('{"seeds": [0, 1, 2]}')
    assert (script.committed_seeds("assigners"), script.committed_seeds("my_table")) == (3, script.MAX_SEEDS)
