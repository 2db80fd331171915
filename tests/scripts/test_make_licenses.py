"""docs/licenses.md has every package that is needed, with a license that leaves the suite its own."""

import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from project_scripts import load_script

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "licenses.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("make_licenses")


def listed() -> list[tuple[str, str, str]]:
    """Name, license and need in each row of the table; a package of two extras has two rows."""
    rows = [re.fullmatch(r"\| ([\w.-]+) \| (.+) \| (.+) \|", line) for line in PAGE.splitlines()]
    return [(row[1], row[2], row[3]) for row in rows if row and row[1] not in ("package", "---")]


def test_every_package_of_pyproject_is_listed_with_what_needs_it():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    needed = {"always": project["dependencies"]}
    needed |= {f"extra `{name}`": packages for name, packages in project["optional-dependencies"].items()}
    expected = {(re.match(r"[\w.-]+", one)[0], need) for need, packages in needed.items() for one in packages}
    assert {(name, need) for name, _, need in listed()} == expected


def test_every_one_of_them_has_a_license_and_none_is_gpl_or_agpl_alone(script):
    for name, license, _ in listed():
        assert license != script.UNSTATED and not script.is_copyleft(license), name


def test_what_they_need_in_turn_is_there_and_none_is_gpl_or_agpl_alone(script):
    others = dict(re.findall(r"^\* \*\*(.+?)\*\*: ([\w., -]+)$", PAGE, re.MULTILINE))
    names = {name for names in others.values() for name in names.split(", ")}
    assert {"pydantic-core", "jinja2", "jupyter-server", "protobuf"} <= names
    assert not names & {name for name, *_ in listed()} and not any(map(script.is_copyleft, others))


@pytest.mark.parametrize(
    ("license", "expected"),
    [
        ("GPL-3.0-only", True),
        ("AGPL-3.0-or-later", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("GNU Affero General Public License v3", True),
        ("GPL-2.0 OR AGPL-3.0", True),
        ("MIT OR GPL-3.0", False),
        ("LGPL-2.1-or-later", False),
        ("GNU Lesser General Public License v2", False),
        ("MPL-2.0", False),
    ],
)
def test_gpl_without_a_choice_is_told_apart(script, license, expected):
    assert script.is_copyleft(license) is expected


def test_a_package_is_asked_for_its_license_in_every_way_that_packages_say_it(script):
    """An expression, a line, a classifier beside the whole text, and nothing but the text in a file."""
    asked = {name: script.license_of(name) for name in ("ruff", "pyyaml", "jupyterlab", "faster-coco-eval")}
    assert asked == {"ruff": "MIT", "pyyaml": "MIT", "jupyterlab": "BSD", "faster-coco-eval": "Apache-2.0"}


def test_the_page_has_no_versions_and_says_where_numbers_programs_and_pictures_come_from():
    table = PAGE.split("## Other material")[0]
    assert not re.search(r"[=<>]=|\bv?\d+\.\d+\.\d+", table)
    for word in ("OpenMMLab", "Apache-2.0", "tests/golden/", "GPL-3.0-or-later", "lad/data/synthetic/shapes.py"):
        assert word in PAGE
