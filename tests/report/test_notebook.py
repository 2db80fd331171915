"""One call sets up a notebook: checked parameters, recorded versions, retina figures, a printed summary."""

import base64

import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from lad.config.experiment import make_parameters
from lad.report.notebook import setup_notebook
from lad.report.provenance import RECORDED_PACKAGES, versions_of


def namespace_of(cell: str) -> dict:
    """Return a notebook's variables after one cell was run."""
    variables = {"In": ["", cell]}
    exec(cell, variables)
    return variables


def test_the_parameters_cells_are_checked_and_the_configuration_is_returned_and_printed(capsys):
    parameters = setup_notebook(namespace_of("student: str = 'r18'\nepochs: int = 2"), make_parameters)
    assert (parameters.student, parameters.epochs) == ("r18", 2)
    assert parameters.summary() in capsys.readouterr().out


def test_a_configuration_without_a_summary_is_printed_as_text(capsys):
    assert setup_notebook(namespace_of("epochs: int = 2"), lambda values: values) == {"epochs": 2}
    assert "{'epochs': 2}" in capsys.readouterr().out


def test_a_wrong_parameter_is_an_error_before_anything_is_printed(capsys):
    with pytest.raises(ValueError, match="epoch"):
        setup_notebook(namespace_of("epoch: int = 2"), make_parameters)
    assert capsys.readouterr().out == ""


def test_switches_of_the_notebook_itself_are_not_passed_on_and_must_be_booleans():
    namespace = namespace_of("epochs: int = 2\ntrain: bool = False")
    assert setup_notebook(namespace, lambda values: values, switches=["train"]) == {"epochs": 2}
    with pytest.raises(ValueError, match="parameter 'train' = 'false' must be True or False"):
        setup_notebook(namespace_of("train: bool = 'false'"), make_parameters, switches=["train"])


@pytest.mark.notebook
def test_in_a_kernel_versions_are_recorded_and_figures_have_retina_resolution(tmp_path):
    notebook = new_notebook(
        cells=[
            new_code_cell("student: str = 'r18'"),
            new_code_cell(
                "from lad.config.experiment import make_parameters\n"
                "from lad.report.notebook import setup_notebook\n"
                "parameters = setup_notebook(globals(), make_parameters)"
            ),
            new_code_cell(
                "import matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1), dpi=100).add_axes([0, 0, 1, 1]);"
            ),
            new_code_cell("print(parameters.student)"),
        ]
    )
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    _, setup, figure, last = notebook.cells
    recorded = {version.name for version in versions_of(notebook) if version.is_recorded}
    assert recorded >= {"python", *RECORDED_PACKAGES}
    assert any("r18" in output.get("text", "") for output in setup.outputs)
    (image,) = [output for output in figure.outputs if "image/png" in output.get("data", {})]
    width = int.from_bytes(base64.b64decode(image["data"]["image/png"])[16:20], "big")
    assert width > 1.5 * image["metadata"]["image/png"]["width"]  # retina: twice the pixels that it is shown with
    assert last.outputs[0].text == "r18\n"
