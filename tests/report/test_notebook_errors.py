"""In notebooks, an error of this package is one line; other errors keep their traceback."""

import sys

import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

from lad.config.experiment import make_parameters
from lad.experiments.failure import ERROR_FILE, ProcessFailedError, keep_traceback
from lad.report.notebook_errors import brief_lines


def lines_of(action) -> list[str]:
    try:
        action()
    except Exception as error:
        return brief_lines(error, sys.exc_info()[2])
    raise AssertionError("no error")


def fail() -> None:
    raise ZeroDivisionError("a bug")


def test_a_message_of_this_package_is_one_line():
    (line,) = lines_of(lambda: make_parameters({"epoch": 3}))
    assert line.startswith("ValueError: parameter 'epoch' is unknown; did you mean 'epochs'?")


def test_other_errors_keep_their_traceback():
    assert lines_of(fail) == []
    assert lines_of(lambda: int("user's own mistake")) == []


def test_a_failed_run_has_its_traceback_in_a_file_and_the_error_names_it(tmp_path):
    def run() -> None:
        with keep_traceback(tmp_path):
            fail()

    assert lines_of(run) == ["ZeroDivisionError: a bug", f"log: {tmp_path / ERROR_FILE}"]


def test_a_process_that_failed_is_one_line_and_the_logs_of_its_runs(tmp_path):
    failed, killed = tmp_path / "failed", tmp_path / "killed"
    failed.mkdir()
    (failed / ERROR_FILE).touch()

    error = ProcessFailedError("training failed", [failed, killed])
    assert brief_lines(error, None) == ["ProcessFailedError: training failed", f"log: {failed / ERROR_FILE}"]


SETUP = """\
from lad.config.experiment import make_parameters
from lad.report.notebook import setup_notebook
parameters = setup_notebook(globals(), make_parameters)"""


@pytest.mark.notebook
@pytest.mark.parametrize(
    ("cells", "is_brief"),
    [(["epoch = 2", SETUP], True), (["epochs = 2", SETUP, "1 / 0"], False)],
    ids=["wrong parameter", "user's own error"],
)
def test_in_a_kernel_the_cell_fails_with_one_line_or_a_traceback(cells, is_brief, tmp_path):
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    with pytest.raises(CellExecutionError):
        client.execute()
    (error,) = [output for output in notebook.cells[-1].outputs if output.output_type == "error"]
    traceback = "\n".join(error.traceback)
    assert (len(traceback.splitlines()) == 1) == is_brief, traceback
    assert not [output for output in notebook.cells[-1].outputs if output.output_type == "display_data"]
    assert ("did you mean 'epochs'" in traceback) == is_brief


FAIL = """\
from lad.experiments import runner
def train(*_, **__):
    raise ZeroDivisionError("a bug")
runner.train = train
runner.run_experiment(parameters)"""


@pytest.mark.notebook
def test_a_failed_run_is_one_line_and_where_a_person_watches_a_link_to_its_log(shapes, tmp_path, monkeypatch):
    monkeypatch.setenv("VOILA_REQUEST_URL", "http://127.0.0.1/")  # set in notebooks that a person watches
    given = f"method = 'baseline'\nstudent = 'r18'\nepochs = 1\ndata = '{shapes}'\nout = '{tmp_path}'"
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in (given, SETUP, FAIL)])
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    with pytest.raises(CellExecutionError):
        client.execute()
    (log,) = tmp_path.glob(f"*/{ERROR_FILE}")
    outputs = notebook.cells[-1].outputs
    (error,) = [output for output in outputs if output.output_type == "error"]
    assert error.traceback == ["ZeroDivisionError: a bug"]
    (link,) = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert f"href='{log.relative_to(tmp_path)}'" in link
