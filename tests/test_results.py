"""The committed tables of results/ are whole, agree with their own runs, and were made by the code of one commit."""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from finished_tables import APS, TABLE_2, finish
from project_scripts import load_script

from lad.paper.definitions import read_table
from lad.paper.output import to_json
from lad.paper.results_files import CHANGED, to_page, write_results
from lad.paper.tables import open_table

PROJECT = Path(__file__).parents[1]
COMMITTED = sorted((PROJECT / "results").glob("*/*.json"))
FINGERPRINTS = """
import json, sys
from lad.experiments.fingerprint import fingerprint
from lad.paper.tables import open_table

for name, profile, seeds in json.loads(sys.argv[1]):
    rows = open_table(f"params/{name}/table.yaml", profile, seeds).parameters.items()
    runs = {row.title: {run.seed: [run.run_name, fingerprint(run).digest] for run in of_row} for row, of_row in rows}
    print(json.dumps(runs))
"""

FINDINGS = (PROJECT / "docs" / "findings.md").read_text(encoding="utf-8")
SECTIONS = {title: text for title, _, text in (part.partition("\n") for part in FINDINGS.split("\n## ")[1:])}
BLOCK = re.compile(r"<!-- \w+: (\w+/\w+) -->.*?<!-- end -->", re.DOTALL)
IN_SHORT = re.compile(r"^\| [^|]+ \| ([a-z ]+) \| \[[^|]+ <!-- (\w+/\w+): (.+) > (.+) --> \|$", re.MULTILINE)
NUMBER = re.compile(r"(?<![\w.])[+−]?\d+\.\d(?!\d)")

by_table = pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}/{path.stem}")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("make_results")


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def numbers(content: Any, name: str = "") -> dict[str, Any]:
    """Return all values of a JSON file by their place in it, without the code of the runs."""
    if isinstance(content, dict | list):
        entries = content.items() if isinstance(content, dict) else enumerate(content)
        parts = [numbers(value, f"{name}/{key}") for key, value in entries if key != "code"]
        return {place: value for part in parts for place, value in part.items()} or {name: content}
    return {name: pytest.approx(content, abs=1e-6) if isinstance(content, float) else content}


def check_numbers(path: Path, script: ModuleType) -> None:
    """Compare means, claims and the page of a table with those made again from the metrics of its runs."""
    content, results = read(path), script.read_results(path)
    again = to_json(results)
    assert numbers(again["rows"]) == numbers(content["rows"])
    assert again["missing_seeds"] == content["missing_seeds"]
    assert to_page(results, content["command"]) == path.with_suffix(".md").read_text(encoding="utf-8")


@by_table
def test_a_table_is_whole(path):
    content = read(path)
    assert (content["table"], content["profile"]) == (path.stem, path.parent.name)
    table = read_table(PROJECT / "params" / path.stem / "table.yaml")
    assert content["question"] == table.question and path.stem in content["command"]
    assert [row["title"] for row in content["rows"]] == [row.title for row in table.rows]
    for row in content["rows"]:
        seeds = [run["seed"] for run in row["runs"]]
        assert seeds == [
            seed for seed in content["seeds"] if seed not in content["missing_seeds"].get(row["title"], [])
        ]
    for suffix in (".md", ".csv", ".tex", ".png"):
        assert path.with_suffix(suffix).stat().st_size > 0


@by_table
def test_its_numbers_are_those_of_its_runs(path, script):
    check_numbers(path, script)


@by_table
def test_it_records_where_it_was_made(path):
    content = read(path)
    assert re.fullmatch(rf"[0-9a-f]{{40}}({re.escape(CHANGED)})?", content["commit"])
    assert content["versions"]["lad"] and content["hardware"]
    assert len(content["code"]) == 1, "runs of different code: run the table again"


@by_table
def test_its_runs_were_made_by_the_code_of_the_recorded_commit(path, tmp_path_factory):
    """Its fingerprint is that of the sources there, and each run's parameters have its name there."""
    content = read(path)
    commit = content["commit"].removesuffix(CHANGED)
    for row in content["rows"]:
        expected = runs_at(commit, tmp_path_factory.getbasetemp())[path.stem, path.parent.name][row["title"]]
        for run in row["runs"]:
            name, digest = expected[str(run["seed"])]
            assert run["code"] == digest
            if not content["changes"]:  # data and detectors of other places
                assert re.fullmatch(rf"{name}(-\d+)?", run["name"])


@cache
def runs_at(commit: str, folder: Path) -> dict[tuple[str, str], dict[str, dict[str, list[str]]]]:
    """Return name and fingerprint of each run of the tables of a commit, by the sources of that commit."""
    if git("cat-file", "-e", f"{commit}^{{commit}}").returncode:
        pytest.skip(f"commit {commit} is not in this history: a shallow clone, or no git")
    checkout = folder / commit
    checkout.mkdir(exist_ok=True)
    archive = git("archive", commit, "lad", "notebooks", "params", "pyproject.toml")
    subprocess.run(["tar", "-x", "-C", checkout], input=archive.stdout, check=True)
    files = [path for path in COMMITTED if str(read(path)["commit"]).removesuffix(CHANGED) == commit]
    tables = [(path.stem, path.parent.name, len(read(path)["seeds"])) for path in files]
    done = subprocess.run(
        [sys.executable, "-c", FINGERPRINTS, json.dumps(tables)],
        cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    shutil.rmtree(checkout)
    lines = map(json.loads, done.stdout.splitlines())
    return {(name, profile): runs for (name, profile, _), runs in zip(tables, lines, strict=True)}


@pytest.mark.parametrize("section", SECTIONS)
def test_the_numbers_of_the_findings_are_those_of_their_tables(section):
    """A number with a sign is a difference or an end of its interval, measured or published; another also an AP."""
    paths = {PROJECT / "results" / f"{name}.json" for name in BLOCK.findall(SECTIONS[section])}
    missing = [path.stem for path in paths if not path.is_file()]
    if missing:
        pytest.skip(f"not run yet: {', '.join(missing)}")
    allowed = {number for path in paths for number in numbers_of_table(read(path))}
    used = set(NUMBER.findall(BLOCK.sub("", SECTIONS[section])))
    assert used <= allowed, f"not in the results: {sorted(used - allowed)}"


def test_the_numbers_below_measured_in_the_readme_are_those_of_the_results():
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    prose = BLOCK.sub("", text.partition("\n## Measured\n")[2].partition("\n## ")[0])
    tables = [
        read(PROJECT / "results" / "toy" / f"{name}.json") for name in (TABLE_2, "controls", "photographs_fine_tuned")
    ]
    assert {*NUMBER.findall(prose)} <= {number for content in tables for number in numbers_of_table(content)}


def test_the_verdicts_in_short_are_those_of_the_results():
    lines = IN_SHORT.findall(SECTIONS["In short"])
    assert len(lines) == SECTIONS["In short"].count("\n| ") - 2  # all but the heading
    for verdict, table, row, against in lines:
        content = read(PROJECT / "results" / f"{table}.json")
        (claims,) = [entry["claims"] for entry in content["rows"] if entry["title"] == row]
        (claim,) = [claim for claim in claims if claim["against"] == against]
        assert verdict == claim["verdict"], (table, row, against)


def numbers_of_table(content: dict[str, Any]) -> set[str]:
    """Return all differences of a table with and without sign, its APs and those of teachers, with one decimal."""
    claims = [claim for row in content["rows"] for claim in row["claims"]]
    published = [result["ap"] for row in content["rows"] for result in row["published"].values()]
    differences = [claim[name] for claim in claims for name in ("mean", "low", "high")]
    differences += [one - other for one in published for other in published]
    aps = [
        *published,
        *(row["AP_mean"] for row in content["rows"]),
        *filter(None, map(mean_teacher_ap, content["rows"])),
    ]
    return {
        *(f"{number:+.1f}".replace("-", "−") for number in differences),
        *(f"{abs(number):.1f}" for number in [*differences, *aps]),
    }


def mean_teacher_ap(row: dict[str, Any]) -> float | None:
    values = [run["teacher_AP"] for run in row["runs"] if run["teacher_AP"] is not None]
    return sum(values) / len(values) if values else None


def git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", "-C", PROJECT, *words], capture_output=True, check=False)


@pytest.mark.parametrize(
    ("old", "new", "is_accepted"),
    [
        ("", "", True),
        ('"AP": 0.65', '"AP": 0.66', False),
        ('"AP_mean": 66.0', '"AP_mean": 66.1', False),
        ('"verdict": "supported"', '"verdict": "contradicted"', False),
        ('"against": "baseline"', '"against": "teacher"', False),
    ],
)
def test_a_changed_number_is_found(script, tmp_path, old, new, is_accepted):
    results = finish(open_table(TABLE_2, seeds=3, changes={"out": str(tmp_path)}), APS)
    path = write_results(results, tmp_path / "results", f"lad table {TABLE_2} --seeds 3")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    if is_accepted:
        check_numbers(path, script)
    else:
        with pytest.raises(AssertionError):
            check_numbers(path, script)
