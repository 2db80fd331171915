"""Consistency of the project's files: environment, version, notebooks, parameters and GPU-hours."""

import json
import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from lad.config.evaluation import EvaluationConfig
from lad.config.experiment import Parameters
from lad.explorer.config import ExplorerConfig

PROJECT = Path(__file__).parents[1]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))


def pyproject() -> dict:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())


def test_environment_yml_installs_this_package_with_its_extras():
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text())
    assert environment["name"] == "lad"
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    constraint, install = pip
    assert constraint == "--constraint constraints.txt"
    extras = re.fullmatch(r"--editable \.\[(.+)\]", install).group(1).split(",")
    assert set(extras) == set(pyproject()["project"]["optional-dependencies"])
    (python,) = (entry for entry in environment["dependencies"] if str(entry).startswith("python"))
    assert python == f"python{pyproject()['project']['requires-python']}"


def test_the_versions_of_the_package_and_of_the_project_are_equal():
    import lad

    assert lad.__version__ == pyproject()["project"]["version"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_have_no_outputs_short_cells_and_the_default_kernel(path):
    notebook = json.loads(path.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert all(cell["id"] for cell in notebook["cells"])
    parameters, *rest = code
    assert parameters["metadata"]["tags"] == ["parameters"]
    assert all(len(cell["source"]) <= 12 for cell in rest)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_parameter_exists_and_has_a_type_and_a_comment(path):
    source = path.read_text()
    model = (
        EvaluationConfig
        if "lad.experiments.evaluate" in source
        else ExplorerConfig
        if "lad.explorer.config" in source
        else Parameters
    )
    own = {"settings", *re.findall(r'switches=\[\\"(\w+)\\"\]', source)} | (
        {"seeds", "table"} if "lad.paper.tables" in source else set()
    )
    first = next(cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code")
    lines = [line.rstrip("\n") for line in first["source"]]
    for line in lines:
        name, _type, _default, comment = re.fullmatch(r"(\w+): (\w+) = (.+?)  # (.+)", line).groups()
        assert name in own or name in model.model_fields
        assert "|" not in line and comment


def test_the_gpu_hours_in_the_readme_are_those_that_the_script_prints(monkeypatch, capsys):
    script = PROJECT / "benchmarks" / "gpu_hours.py"
    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setattr(sys, "argv", [str(script)])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.strip() in (PROJECT / "params" / "README.md").read_text()


def test_the_hours_on_a_cluster_in_its_docs_are_those_that_the_script_prints(monkeypatch, capsys):
    script = PROJECT / "benchmarks" / "cluster_hours.py"
    monkeypatch.syspath_prepend(script.parent)
    monkeypatch.setattr(sys, "argv", [str(script), "table2_soft_label_vs_lad"])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out.strip() in (PROJECT / "docs" / "clusters.md").read_text()
