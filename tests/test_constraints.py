"""constraints.txt: the versions of the packages that numbers depend on, as installed and in committed results."""

import importlib.metadata
import json
import re
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PINNED = dict(re.findall(r"^([\w-]+)==(\S+)$", (PROJECT / "constraints.txt").read_text(), re.MULTILINE))
EARLIER_NAMES = {"lightning": "lightning-fabric"}  # in results of lad 0.1


def requirements() -> dict[str, str]:
    """Return the lower bound of each core dependency, and of the other implementation of the metrics."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["fast"]]
    return dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", text).groups() for text in needed)


def test_it_pins_every_core_dependency_and_nothing_else_is_in_it():
    assert PINNED.keys() == requirements().keys()
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        f"{name}=={PINNED[name]}" for name in sorted(PINNED)
    ]


@pytest.mark.parametrize("name", PINNED)
def test_the_installed_version_is_the_pinned_one(name):
    installed = importlib.metadata.version(name).split("+")[0]  # without the build: cpu, cu130
    assert installed == PINNED[name], f"pip install -c constraints.txt {name}, or set {name}=={installed} in it"


@pytest.mark.parametrize("path", sorted(PROJECT.glob("results/**/*.json")), ids=lambda path: path.stem)
def test_committed_results_were_made_with_these_versions(path):
    versions = json.loads(path.read_text()).get("versions", {})
    made_with = {EARLIER_NAMES.get(name, name): version.split("+")[0] for name, version in versions.items()}
    shared = made_with.keys() & PINNED.keys()
    assert {name: made_with[name] for name in shared} == {name: PINNED[name] for name in shared}
