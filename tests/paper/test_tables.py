"""Tables of runs: means, deviations and paired differences are of what was run, and of nothing else."""

import json
from pathlib import Path

import pytest
from scipy.stats import ttest_rel

from lad.evaluation.coco_eval import METRICS
from lad.paper.published import PUBLISHED, TABLES
from lad.paper.statistics import paired_difference
from lad.paper.tables import (
    Experiments,
    Results,
    answer,
    difference,
    gains,
    notebook_table,
    notebook_tables,
    open_table,
    published_table,
    summary,
    to_json,
    to_markdown,
    verdicts,
)

TABLE_2 = "table2_soft_label_vs_lad"
APS = {  # fractions, as in results.json; seeds 0, 1, 2
    "teacher": [0.70, 0.71, 0.72],
    "baseline": [0.60, 0.62, 0.61],
    "soft label": [0.61, 0.60, 0.62],
    "LAD": [0.65, 0.66, 0.67],
    "SoLAD": [0.66],
}


def finish(experiments: Experiments, aps: dict[str, list[float]]) -> Results:
    """The table with finished runs of these APs on disk."""
    for row, each in experiments.parameters.items():
        for parameters, ap in zip(each, aps.get(row.title, []), strict=False):
            folder = Path(parameters.out) / parameters.run_name
            folder.mkdir(parents=True)
            numbers = dict.fromkeys(METRICS, ap) | {"APl": None}  # a set without large objects
            results = {"metrics": numbers, "teacher_metrics": numbers, "weights_sha256": "0" * 64}
            (folder / "params.json").write_text(json.dumps(parameters.model_dump()))
            (folder / "results.json").write_text(json.dumps(results))
            (folder / "model.safetensors").touch()
            (folder / "metrics.jsonl").write_text('{"epoch": 1, "AP": 0.5}\n')
    return experiments.finished()


@pytest.fixture
def some(tmp_path) -> Results:
    return finish(open_table(TABLE_2, seeds=3, changes={"out": str(tmp_path)}), APS)


def test_a_difference_is_paired_by_seed_and_its_interval_is_students():
    ours, reference = {0: 61.0, 1: 66.0, 2: 63.5, 7: 99.0}, {0: 60.0, 1: 62.0, 2: 61.0, 8: 1.0}
    change = paired_difference(ours, reference)
    shared = [seed for seed in ours if seed in reference]
    test = ttest_rel([ours[seed] for seed in shared], [reference[seed] for seed in shared])
    interval = test.confidence_interval(0.95)
    assert change.seeds == 3
    assert (change.mean, change.low, change.high) == pytest.approx((2.5, interval.low, interval.high), abs=1e-9)


def test_one_seed_has_a_difference_without_an_interval_and_none_has_nothing():
    change = paired_difference({0: 61.0}, {0: 60.0, 1: 62.0})
    assert (change.mean, change.low, change.high, change.seeds) == (1.0, None, None, 1)
    assert paired_difference({0: 61.0}, {1: 62.0}) is None
    assert paired_difference({}, {}) is None


def test_seeds_that_agree_exactly_have_an_interval_of_a_point():
    change = paired_difference({0: 61.0, 1: 62.0}, {0: 60.0, 1: 61.0})
    assert (change.mean, change.low, change.high) == (1.0, 1.0, 1.0)


def test_the_table_has_means_deviations_seeds_and_what_was_published(some):
    table = summary(some)
    assert list(table.index) == ["teacher", "baseline", "soft label", "LAD", "SoLAD"]
    assert table.loc["baseline", "AP"] == "61.0 ± 1.0" and table.loc["baseline", "difference [95 %]"] == "–"
    assert table.loc["LAD", "AP"] == "66.0 ± 1.0" and table.loc["LAD", "seeds"] == "3"
    assert table.loc["LAD", "difference [95 %]"] == "+5.0 [+2.5, +7.5]"
    assert table.loc["LAD", "network"] == "r50 ← r101"
    assert table.loc["LAD", "published, COCO"] == "41.6 (val, 1x); 41.4 (val, 1x)"
    assert table.loc["LAD", "L"] == "–"  # no such objects: no number
    assert table.loc["SoLAD", "AP"] == "66.0" and table.loc["SoLAD", "difference [95 %]"] == "+6.0"


def test_what_was_not_run_has_no_number_of_ours(tmp_path):
    none = open_table(TABLE_2, seeds=3, changes={"out": str(tmp_path)}).finished()
    table = summary(none)
    assert set(table.drop(columns=["seeds", "published, COCO"]).to_numpy().flatten()) == {"–"}
    assert set(table["seeds"]) == {"0"}
    assert answer(none) == "Nothing to compare was run yet."
    assert none.run("LAD") is None and none.epochs() == {} and not any(none.averages().values())
    assert all(ours is None for _, ours in gains(none).values())
    assert all(row["AP_mean"] is None and row["runs"] == [] for row in to_json(none)["rows"])


def test_the_answer_says_what_can_be_chance(some):
    sentences = answer(some).splitlines()
    assert sentences[0].startswith("soft label: +0.0 points against baseline over 3 seeds, which can be chance: 95 %")
    assert sentences[1] == (
        "LAD: +5.0 points against baseline over 3 seeds, better beyond chance: 95 % interval +2.5 to +7.5."
    )
    assert sentences[2].endswith("from one seed: a difference of a point or two can be chance.")


def test_a_loss_beyond_chance_is_called_worse(tmp_path):
    worse = {**APS, "LAD": [0.50, 0.52, 0.51]}
    results = finish(open_table(TABLE_2, seeds=3, changes={"out": str(tmp_path)}), worse)
    assert "LAD: -10.0 points against baseline over 3 seeds, worse beyond chance" in answer(results)
    assert verdicts([results]) == f"{TABLE_2}: 1 of 3 gains point as published"


def test_gains_are_of_rows_with_a_baseline_published_and_ours(some):
    found = gains(some)
    assert list(found) == ["soft label", "LAD", "SoLAD"]
    published, ours = found["LAD"]
    assert published == pytest.approx(41.6 - 40.4) and ours == pytest.approx((5.0, 2.516, 7.484), abs=1e-3)
    published, ours = found["SoLAD"]
    assert ours == pytest.approx((6.0, 6.0, 6.0))


def test_gains_over_another_split_are_not_gains(tmp_path):
    """R101 taught by Swin-B was published on test-dev, its baseline on val."""
    results = open_table("swin_teacher", changes={"out": str(tmp_path)}).finished()
    assert gains(results)["R101 taught by Swin-B"][0] is None
    assert gains(results)["R50 taught by Swin-B"][0] == pytest.approx(3.3)


def test_co_learnings_second_network_is_a_row_of_its_own(tmp_path):
    experiments = open_table("co_learning", changes={"out": str(tmp_path)})
    results = finish(experiments, {"R101 alone": [0.7], "R101, CoLAD by Fisher": [0.72]})
    assert results.run("R101, CoLAD by Fisher").backbone == "r101"
    table = summary(results)
    assert table.loc["R101, CoLAD by Fisher", "network"] == "r101 ↔ r50"
    assert table.loc["R50, CoLAD by Fisher", "network"] == "r50 ↔ r101"  # the same run
    row = next(row for row in results.runs if row.title == "R101, CoLAD by Fisher")
    assert difference(results, row).mean == pytest.approx(2.0)


def test_the_file_has_every_run_and_no_times(some):
    content = to_json(some)
    row = content["rows"][3]
    assert (row["title"], row["parameters"]) == ("LAD", f"params/{TABLE_2}/lad.yaml")
    assert [run["seed"] for run in row["runs"]] == [0, 1, 2]
    assert set(row["runs"][0]) == {"seed", "name", "epochs", "metrics", "weights_sha256"}
    assert row["AP_mean"] == pytest.approx(66.0) and row["difference"]["low"] == pytest.approx(2.516, abs=1e-3)
    assert row["published"]["paper_lad_r50_from_r101_1x"]["source"] == "paper, Table 2"
    assert json.loads(json.dumps(content)) == content


def test_the_sources_are_printed_with_what_was_published():
    table = published_table(TABLES["sota_r101_x101"])
    assert table.loc["OTA", ["AP", "COCO"]].tolist() == ["45.3", "test-dev"]
    assert len(table) == sum(len(row.published) for row in TABLES["sota_r101_x101"].rows) + 9
    assert list(published_table(TABLES[TABLE_2])["source"]).count(PUBLISHED["paper_lad_r50_from_r101_1x"].source) == 3


def test_markdown_has_a_line_per_row(some):
    lines = to_markdown(summary(some)).splitlines()
    assert len(lines) == 2 + len(APS) and lines[1].startswith("| --- |")
    assert lines[5].startswith("| LAD | r50 ← r101 | 66.0 ± 1.0 |")


def test_a_notebooks_parameters_select_the_runs(tmp_path):
    given = {"profile": "toy", "seeds": 2, "epochs": 1, "data": None, "out": str(tmp_path)}
    experiments = notebook_table(TABLE_2, given)
    assert str(experiments) == f"{TABLE_2}, toy: 10 runs, 0 of them finished"
    for each in experiments.parameters.values():
        assert [parameters.seed for parameters in each] == [0, 1]
        assert all(parameters.epochs == 1 for parameters in each)
        assert all(parameters.teacher is None or parameters.of_teacher().epochs == 1 for parameters in each)


def test_all_tables_are_opened_at_once_and_printed_one_per_line(tmp_path):
    lines = str(notebook_tables({"seeds": 1, "out": str(tmp_path)})).splitlines()
    assert len(lines) == len(TABLES) and lines[0] == f"{TABLE_2}, toy: 0 of 5 rows were run"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "table2"}, "parameter 'table' = 'table2' is not one of"),
        ({"profile": "toi"}, "parameter 'profile' = 'toi' is not one of toy, mini, coco_1x, coco_2x_ms; did you mean"),
        ({"name": [TABLE_2]}, "parameter 'table' = ['table2_soft_label_vs_lad'] is not one of"),
        ({"profile": ["toy"]}, "parameter 'profile' = ['toy'] is not one of"),
        ({"profile": {}}, "parameter 'profile' = {} is not one of"),
        ({"seeds": 0}, "parameter 'seeds' = 0 must be a whole number from 1 to 1000"),
        ({"seeds": 10**9}, "parameter 'seeds' = 1000000000 must be a whole number from 1 to 1000"),
        ({"seeds": "three"}, "parameter 'seeds' = 'three' must be a whole number"),
        ({"changes": {"epoch": 3}}, "parameter 'epoch' is unknown; did you mean 'epochs'?"),
        ({"changes": {"seed": 3}}, "parameter 'seed': a table runs seeds 0, 1, …; say how many with seeds"),
        ({"changes": {"lr": -1}}, "row 'teacher' (teacher.yaml): parameter 'lr' = -1: input should be greater than 0"),
    ],
)
def test_what_is_wrong_is_one_line(given, message):
    with pytest.raises(ValueError) as caught:
        open_table(**{"name": TABLE_2, **given})
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("epochs: 1\nepochs: 2\n", "teacher.yaml: line 2: 'epochs' is given twice"),
        ("- epochs\n", "teacher.yaml: is no mapping of parameter names to values"),
        ("epoch: 1\n", "(teacher.yaml): parameter 'epoch' is unknown; did you mean 'epochs'?"),
        ("epochs: 1000000000\n", "(teacher.yaml): parameter 'epochs' = 1000000000: input should be less than or equal"),
    ],
)
def test_a_wrong_file_of_a_row_is_one_line_that_names_it(tmp_path, monkeypatch, text, line):
    folder = tmp_path / "params" / TABLE_2
    folder.mkdir(parents=True)
    (folder / "teacher.yaml").write_text(text)
    monkeypatch.setattr("lad.paper.tables.project_folder", lambda: tmp_path)
    with pytest.raises(ValueError) as caught:
        open_table(TABLE_2)
    assert line in str(caught.value) and "\n" not in str(caught.value)
