"""The files about the project: citation, changelog, pre-commit hooks, issue templates and the CI workflow."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[1]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
TEMPLATES = sorted((PROJECT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]


def read_yaml(name: str) -> dict:
    return yaml.safe_load((PROJECT / name).read_text())


def test_the_citation_is_of_this_version_and_of_both_papers():
    citation = read_yaml("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # required by version 1.2.0 of the format
    assert citation["cff-version"] == "1.2.0" and citation["version"] == VERSION and citation["license"] == "MIT"
    assert citation["type"] == "software"
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= set(reference)
        assert all({"given-names", "family-names"} <= set(author) for author in reference["authors"])
    assert [reference["url"].rpartition("/")[2] for reference in citation["references"]] == ["2108.10520", "2007.08103"]


def test_the_changelog_begins_with_this_version():
    versions = re.findall(r"^## (.+)$", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions == [VERSION, "0.1.0"]


def test_pre_commit_runs_tools_of_the_test_extra():
    (repository,) = read_yaml(".pre-commit-config.yaml")["repos"]
    needed = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["test"]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in needed}
    assert {hook["entry"].split()[0] for hook in repository["hooks"]} <= names


def test_the_notebooks_hook_removes_outputs_and_keeps_ids_and_everything_else():
    (repository,) = read_yaml(".pre-commit-config.yaml")["repos"]
    (hook,) = (hook for hook in repository["hooks"] if hook["id"] == "nbstripout")
    assert re.match(hook["files"], "notebooks/run_lad.ipynb")
    assert not re.match(hook["files"], "docs/notebooks/run_lad.ipynb")
    pytest.importorskip("nbstripout")
    options = hook["entry"].split()[1:]
    for path in NOTEBOOKS[:3]:
        command = [sys.executable, "-m", "nbstripout", "--textconv", *options, str(path)]
        stripped = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert stripped == path.read_text(), path.name


def test_the_workflow_runs_what_gates_a_change():
    (job,) = read_yaml(".github/workflows/ci.yml")["jobs"].values()
    assert {"run": ".ci/run"} in job["steps"]


@pytest.mark.parametrize("path", [path for path in TEMPLATES if path.stem != "config"], ids=lambda path: path.stem)
def test_an_issue_template_has_what_a_form_needs(path):
    form = yaml.safe_load(path.read_text())
    assert form["name"] and form["description"]
    assert all(element["attributes"]["label"] for element in form["body"])
    identifiers = [element["id"] for element in form["body"]]
    assert len(identifiers) == len(set(identifiers))
