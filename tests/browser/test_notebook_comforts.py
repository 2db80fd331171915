"""A run in a notebook of JupyterLab: a bar with the time left, and one line with a link to the log if it fails."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from lad.experiments.failure import ERROR_FILE

sync_api = pytest.importorskip("playwright.sync_api")

KERNEL_TIMEOUT = 120_000  # milliseconds until a kernel has started and trained an epoch, on a busy machine
PARAMETERS = "method = 'baseline'\nstudent = 'r18'\nepochs = 8\naccelerator = 'cpu'\ndata = {data!r}\nout = {out!r}"
SETUP = """\
from lad.config.experiment import make_parameters
from lad.report.notebook import setup_notebook
parameters = setup_notebook(globals(), make_parameters)"""
RUN = """\
import lad
run = lad.run_experiment(parameters)"""
FAIL = """\
other = make_parameters({**parameters.model_dump(), "seed": 1, "logger": "csv"})
folder = parameters.out + "/" + other.run_name
%mkdir -p $folder
%sx touch $folder/csv
lad.run_experiment(other)"""


@pytest.fixture
def notebook(lab, notebooks, run) -> str:
    """The file name of a notebook whose runs are beside it, apart from those that other tests show."""
    parameters = PARAMETERS.format(data=run.parameters.data, out=str(notebooks.parent / "further-runs"))
    cells = [new_code_cell(cell) for cell in (parameters, SETUP, RUN, FAIL)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), notebooks / "comforts.ipynb")
    return "comforts.ipynb"


def test_a_bar_with_the_time_left_and_then_one_line_with_a_link_to_the_log(notebook, tab, lab, shoot):
    page = tab.page
    page.goto(lab.url(notebook))
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=KERNEL_TIMEOUT)
    bar = page.locator(".jp-OutputArea .widget-hbox", has_text="epochs")
    for _ in range(4):  # a kernel that is still connecting drops requests
        page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
        page.locator(".lm-Menu-itemLabel").get_by_text("Run All Cells", exact=True).click()
        try:
            bar.wait_for(timeout=KERNEL_TIMEOUT / 4)
            break
        except sync_api.TimeoutError:
            continue
    text = re.compile(r"[1-8]\sof\s8\sepochs.*\d\d:\d\d\sleft")  # its spaces are of the width of a digit
    sync_api.expect(bar).to_contain_text(text, timeout=KERNEL_TIMEOUT)
    shoot(page, "notebook-bar")
    link = page.locator(".jp-OutputArea a", has_text=ERROR_FILE)
    link.wait_for(timeout=KERNEL_TIMEOUT)
    shoot(page, "notebook-error")
    assert page.locator(".widget-hprogress:visible").count() == 0
    error = page.locator(".jp-OutputArea pre", has_text="Error").inner_text()
    assert re.fullmatch("ValueError: logger 'csv' cannot be opened: .+", error.strip())
    address = link.get_attribute("href") or ""
    assert Path(address.split("?")[0]).name == ERROR_FILE and "/files/further-runs/" in address
