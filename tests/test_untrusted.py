"""Untrusted files: no code in them runs, and an invalid one is an error of one line."""

import hashlib
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
import torch
from bs4 import BeautifulSoup, Tag
from lightning_fabric import Fabric
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from tiny_runs import tiny
from torch import nn

from lad.config.evaluation import make_evaluation_config
from lad.config.reading import read_parameters
from lad.data.annotations import read_annotations
from lad.data.images import load_image
from lad.data.importing.yolo import read_yolo
from lad.data.synthetic.folders import write_shapes
from lad.distillation.assignment_cache import AssignmentCache
from lad.experiments.leaderboard import results_table, style_table
from lad.experiments.run_store import Run, finished_runs, open_run
from lad.experiments.runner import run_experiment
from lad.explorer.config import make_explorer_config
from lad.explorer.session import open_session
from lad.explorer.view import render_view
from lad.models.serialization import load_detector
from lad.report.cli import write_report
from lad.report.compare_runs import differences_table, environments_table
from lad.training.checkpoint import load_checkpoint
from lad.training.failed_step import read_failed_step

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


class Payload:
    """Creates a folder when it is unpickled by plain pickle."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return (Path.mkdir, (self.witness,))


@pytest.fixture
def witness(tmp_path) -> Path:
    """The folder that exists once a payload ran."""
    return tmp_path / "witness"


@pytest.fixture(params=[pickle.dump, torch.save], ids=["pickle", "torch"])
def poison(request, witness) -> Iterator[Callable[[Path], Path]]:
    """Writes a payload as a file; after the test it must not have run."""

    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            request.param({"state_dict": {"weight": Payload(witness)}, "model": Payload(witness)}, file)
        return path

    yield write
    assert not witness.exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    """A run with saved epochs, on data whose folder has markup as its name, which becomes part of the run's name."""
    folder = tmp_path_factory.mktemp("trained")
    data = folder / EVIL.replace("/", "")  # not allowed in a folder's name
    write_shapes(data, "toy", {"train": 4, "val": 2})
    return run_experiment(tiny(data, folder / "runs", epochs=1, width=0.125))


@pytest.fixture
def run(trained, tmp_path) -> Run:
    """A copy of the run that a test may corrupt."""
    copy = open_run(shutil.copytree(trained.folder, tmp_path / "runs" / trained.folder.name))
    assert copy is not None
    return copy


def test_plain_pickle_runs_the_payload(witness):
    pickle.loads(pickle.dumps(Payload(witness)))
    assert witness.is_dir()


def read_checkpoint_of_a_run(path: Path) -> None:
    """Load a run's checkpoint with a valid digest: an attacker can write it, too."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    path.rename(path.with_name(f"checkpoint-00001-0000000-{digest}.pt"))
    network = nn.Linear(1, 1)
    load_checkpoint(path.parent, network, torch.optim.SGD(network.parameters()), Fabric(accelerator="cpu"))


READERS: dict[str, Callable[[Path], object]] = {
    "weights.pth": load_detector,
    "model.safetensors": load_detector,
    "checkpoint-x.pt": read_checkpoint_of_a_run,
    "failed-step-0.pt": read_failed_step,
    "assignments.0.bin": lambda path: AssignmentCache(path.parent, {"teacher": "x"}),
    "instances_val.json": read_annotations,
    "picture.png": load_image,
    "params.json": read_parameters,
    "lad.yaml": read_parameters,
    "data.yaml": lambda path: read_yolo(path.parent),
    "executed.ipynb": lambda path: write_report(path, path.with_suffix(".html")),
}


@pytest.mark.parametrize("name", READERS)
def test_a_payload_in_place_of_any_file_is_one_line_with_the_files_name(name, poison, tmp_path):
    with pytest.raises(ValueError) as caught:
        READERS[name](poison(tmp_path / "files" / name))
    assert name.split("-x")[0] in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["params.json", "results.json"])
def test_a_payload_in_a_runs_folder_is_logged_and_the_run_left_out(name, poison, run, capsys):
    poison(run.folder / name)
    with pytest.raises(ValueError) as caught:
        open_run(run.folder)
    assert str(run.folder / name) in str(caught.value) and "\n" not in str(caught.value)
    assert finished_runs(run.folder.parent) == [] and "left out" in capsys.readouterr().out


def test_a_payload_as_a_runs_metrics_is_one_line(poison, run):
    poison(run.folder / "metrics.jsonl")
    with pytest.raises(ValueError) as caught:
        run.epochs  # noqa: B018
    assert str(run.folder / "metrics.jsonl") in str(caught.value)


@pytest.mark.parametrize("reader", ["run", "explorer"])
def test_a_payload_as_saved_weights_of_an_epoch_is_one_line(reader, poison, run):
    file = poison(run.weights_file(epoch=1))
    config = make_explorer_config({"out": run.folder.parent, "run": run.folder.name, "epoch": 1})
    with pytest.raises(ValueError) as caught:
        run.load_detector(epoch=1) if reader == "run" else render_view(open_session(config), config)
    assert str(file) in str(caught.value)


def test_evaluating_a_payload_is_one_line(poison, tmp_path):
    """The notebook evaluate checks its configuration first, then loads the checkpoint."""
    config = make_evaluation_config({"checkpoint": str(poison(tmp_path / "x.pth")), "data": "toy"})
    with pytest.raises(ValueError, match=r"x\.pth': (refused|truncated)"):
        load_detector(config.checkpoint, config.part)


def is_inert(html: BeautifulSoup | Tag) -> bool:
    """Return whether the HTML has no event handler, script link or script but the page's own."""
    handlers = [tag for tag in html.find_all(True) for name in tag.attrs if name.lower().startswith("on")]
    links = [tag for tag in html.select("[href]") if str(tag["href"]).lower().strip().startswith("javascript:")]
    return not handlers and not links and not html.select("main script, table script")


def page_of(tmp_path: Path, *cells) -> BeautifulSoup:
    notebook = tmp_path / "executed.ipynb"
    nbformat.write(new_notebook(cells=list(cells)), notebook)
    return BeautifulSoup(write_report(notebook, tmp_path / "page.html").read_text(), "html.parser")


def test_markup_in_names_is_text_in_a_page(tmp_path):
    """In a cell's output, a parameter and an error message."""
    parameters = new_code_cell(f"data = {EVIL!r}  # {EVIL}", execution_count=1, metadata={"tags": ["parameters"]})
    outputs = [
        new_output("stream", name="stdout", text=EVIL),
        new_output("stream", name="stderr", text=EVIL),
        new_output("execute_result", {"text/plain": EVIL}),
        new_output("error", ename=EVIL, evalue=EVIL, traceback=[EVIL]),
    ]
    page = page_of(tmp_path, parameters, new_code_cell(f"# {EVIL}", execution_count=1, outputs=outputs))
    assert is_inert(page) and not page.select("main img, footer img")
    assert page.get_text().count(EVIL) >= 8


def test_tables_of_runs_show_markup_in_names_as_text(trained):
    """In the HTML that pandas writes for notebooks."""
    for table in (differences_table({EVIL: trained}), environments_table({EVIL: trained}).rename(columns=str)):
        assert is_inert(BeautifulSoup(table._repr_html_(), "html.parser"))
    assert EVIL in BeautifulSoup(differences_table({EVIL: trained})._repr_html_(), "html.parser").get_text()


def test_the_table_of_results_shows_markup_in_names_as_text(trained):
    html = BeautifulSoup(style_table(results_table({EVIL: trained})).to_html(), "html.parser")
    assert is_inert(html) and EVIL in html.get_text()


@pytest.mark.parametrize(
    "html",
    ["<p onclick='alert(1)'>x</p>", "<svg onload='alert(1)'></svg>", "<a href=' JavaScript:alert(1)'>x</a>"],
    ids=["click", "load", "link"],
)
def test_scripts_of_an_output_are_removed_from_the_page(tmp_path, html):
    """An executed notebook from elsewhere may hold any HTML, such as a Styler's table with unescaped names."""
    shown = new_code_cell("show()", execution_count=1, outputs=[new_output("display_data", {"text/html": html})])
    assert is_inert(page_of(tmp_path, shown, new_markdown_cell(html)))
