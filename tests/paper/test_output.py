"""A table as JSON and Markdown holds every run, and says if different code made them."""

import json
from dataclasses import replace

import pytest
from finished_tables import APS, TABLE_2, finish

from lad.experiments.fingerprint import Fingerprint
from lad.paper.output import to_json
from lad.paper.summary import summary
from lad.paper.tables import Results, open_table
from lad.utils.tables import to_markdown


def test_json_has_every_run_and_no_times(results):
    content = to_json(results)
    row = content["rows"][3]
    assert (row["title"], row["parameters"]) == ("LAD", f"params/{TABLE_2}/lad.yaml")
    assert [run["seed"] for run in row["runs"]] == [0, 1, 2]
    assert set(row["runs"][0]) == {"seed", "name", "code", "epochs", "metrics", "teacher_AP", "weights_sha256"}
    assert row["AP_mean"] == pytest.approx(66.0) and row["claims"][0]["low"] == pytest.approx(2.516, abs=1e-3)
    assert row["published"]["paper_lad_r50_from_r101_1x"]["source"] == "paper, Table 2"
    assert content["seeds"] == [0, 1, 2] and content["missing_seeds"] == {"SoLAD": [1, 2]}
    assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_json_has_the_parameters_given_for_all_runs_that_decide_the_numbers(tmp_path):
    results = open_table(TABLE_2, changes={"out": str(tmp_path), "train_images": 8, "logger": "none"}).finished()
    assert to_json(results)["changes"] == {"train_images": 8}


def test_json_names_the_detectors_given_for_all_runs_without_their_folders(results):
    changes = {"init": "folder/runs/toy-r18/model.safetensors", "teacher_checkpoint": "folder/r50.pth", "workers": 2}
    table = Results(results.table, results.profile, results.runs, results.seeds, changes)
    assert to_json(table)["changes"] == {"init": "toy-r18", "teacher_checkpoint": "r50"}


def test_json_has_each_machine_of_the_runs_once(results):
    (row, runs), *rest = results.runs.items()
    machines = [{"device": "cpu", "cpu_cores": 2}, {"device": "NVIDIA H100", "cpu_cores": 16}]
    made = {
        seed: replace(run, results={**run.results, "hardware": machines[place]})
        for (seed, run), place in zip(runs.items(), (0, 1, 0), strict=True)
    }
    table = Results(results.table, results.profile, {row: made, **dict(rest)}, results.seeds)
    assert to_json(table)["hardware"] == machines and to_json(results)["hardware"] == []


def test_a_table_of_runs_of_different_code_says_so_in_title_json_and_markdown(results):
    """The same table of runs of one code says nothing."""
    (row, runs), *rest = results.runs.items()
    losses = {"lad.losses": {"detection_loss": "0"}}
    codes = [Fingerprint(losses), Fingerprint({"lad.losses": {"detection_loss": "1"}})]
    for digests, is_mixed in (([0, 0, 0], False), ([0, 0, 1], True)):
        made = {
            seed: replace(run, results={**run.results, "code": codes[place].to_json()})
            for (seed, run), place in zip(runs.items(), digests, strict=True)
        }
        table = Results(results.table, results.profile, {row: made, **{other: {} for other, _ in rest}}, [])
        note = f"made by different code: {codes[0].digest} (2), {codes[1].digest} (1)"
        assert (note in str(table)) == is_mixed == (note == summary(table).attrs["title"])
        assert to_markdown(summary(table)).startswith(note) == is_mixed
        assert len(to_json(table)["code"]) == 1 + is_mixed


def test_markdown_has_a_line_per_row(results):
    note, _, *lines = to_markdown(summary(results)).splitlines()
    assert note == "seeds missing of 3: SoLAD (1 and 2)"
    assert len(lines) == 2 + len(APS) and lines[1].startswith("| --- |")
    assert lines[5].startswith("| LAD | r50 ← r101 | 66.0 ± 1.0 |")


def test_json_has_the_claims_against_further_rows(tmp_path):
    experiments = open_table("distillation_methods", changes={"out": str(tmp_path)})
    content = to_json(finish(experiments, {"baseline": [0.60], "LAD + PKD": [0.65], "PKD": [0.64]}))
    row = next(row for row in content["rows"] if row["title"] == "LAD + PKD")
    assert {claim["against"]: claim["mean"] for claim in row["claims"]} == pytest.approx({"baseline": 5.0, "PKD": 1.0})


def test_json_of_a_table_without_runs_has_no_number(tmp_path):
    content = to_json(open_table(TABLE_2, seeds=3, changes={"out": str(tmp_path)}).finished())
    assert all(row["AP_mean"] is None and row["runs"] == [] for row in content["rows"])
