"""Tables as text: every number comes from a finished run or, in the published columns, from a publication."""

import pytest
from finished_tables import APS, TABLE_2, finish

from lad.paper.definitions import TABLES
from lad.paper.published import PUBLISHED
from lad.paper.summary import agreement_summary, difference, gains, published_table, summary
from lad.paper.tables import open_table


def test_summary_has_means_deviations_seeds_and_published_results(results):
    table = summary(results)
    assert list(table.index) == ["teacher", "baseline", "soft label", "LAD", "SoLAD"]
    assert table.loc["baseline", "AP"] == "61.0 ± 1.0" and table.loc["baseline", "difference [95 %]"] == "–"
    assert table.loc["LAD", "AP"] == "66.0 ± 1.0" and table.loc["LAD", "seeds"] == "3"
    assert table.loc["LAD", "difference [95 %]"] == "+5.0 [+2.5, +7.5]"
    assert table.loc["LAD", "network"] == "r50 ← r101"
    assert table.loc["LAD", "published, COCO"] == "41.6 (val, 1x); 41.4 (val, 1x); 41.6 (val, 1x)"
    assert table.loc["LAD", "L"] == "–"  # no large objects
    assert table.attrs["title"] == results.notes() == "seeds missing of 3: SoLAD (1 and 2)"
    assert table.loc["SoLAD", "AP"] == "66.0" and table.loc["SoLAD", "difference [95 %]"] == "+6.0"


def test_rows_without_runs_have_no_reproduced_number(tmp_path):
    results = open_table(TABLE_2, seeds=3, changes={"out": str(tmp_path)}).finished()
    table = summary(results)
    assert set(table.drop(columns=["seeds", "published, COCO"]).to_numpy().flatten()) == {"–"}
    assert set(table["seeds"]) == {"0"}
    assert results.notes() == ""
    assert results.run("LAD") is None and results.epochs() == {} and not any(results.ap_by_row().values())
    assert all(reproduced is None for _, reproduced in gains(results).values())


def test_gains_that_agree_in_sign_are_counted(tmp_path):
    worse = {**APS, "LAD": [0.50, 0.52, 0.51]}
    results = finish(open_table(TABLE_2, seeds=3, changes={"out": str(tmp_path)}), worse)
    assert agreement_summary([results]) == f"{TABLE_2}: 1 of 3 gains have the published sign"


def test_gains_are_published_and_reproduced_for_rows_with_a_baseline(results):
    by_title = gains(results)
    assert list(by_title) == ["soft label", "LAD", "SoLAD"]
    published, reproduced = by_title["LAD"]
    assert published == pytest.approx(41.6 - 40.4) and reproduced == pytest.approx((5.0, 2.516, 7.484), abs=1e-3)
    published, reproduced = by_title["SoLAD"]
    assert reproduced == pytest.approx((6.0, 6.0, 6.0))


def test_gains_over_another_split_are_not_gains(tmp_path):
    """The paper does not state the split of the results of students of Swin-B; that of their baselines is val."""
    results = open_table("swin_teacher", changes={"out": str(tmp_path)}).finished()
    assert gains(results)["R101 taught by Swin-B"][0] is None
    assert gains(results)["R50 taught by Swin-B"][0] is None


def test_the_teacher_network_of_co_learning_is_a_row_of_its_own(tmp_path):
    experiments = open_table("co_learning", changes={"out": str(tmp_path)})
    results = finish(experiments, {"R101 alone": [0.7], "R101, CoLAD by Fisher": [0.72]})
    assert results.run("R101, CoLAD by Fisher").backbone == "r101"
    table = summary(results)
    assert table.loc["R101, CoLAD by Fisher", "network"] == "r101 ↔ r50"
    assert table.loc["R50, CoLAD by Fisher", "network"] == "r50 ↔ r101"  # the same run
    row = next(row for row in results.runs if row.title == "R101, CoLAD by Fisher")
    assert difference(results, row).mean == pytest.approx(2.0)


def test_published_table_names_the_sources():
    table = published_table(TABLES["sota_r101_x101"])
    assert table.loc["OTA", ["AP", "COCO"]].tolist() == ["45.3", "test-dev"]
    assert len(table) == sum(len(row.published) for row in TABLES["sota_r101_x101"].rows) + 9
    assert list(published_table(TABLES[TABLE_2])["source"]).count(PUBLISHED["paper_lad_r50_from_r101_1x"].source) == 3


def test_published_results_of_other_heads_are_marked_and_beside_the_student_alone():
    table = published_table(TABLES["distillation_methods"])
    assert table.loc["GFL-R50, CrossKD", ["AP", "AP alone", "head", "teacher"]].tolist() == [
        "43.7", "40.2", "GFL, not PAA's", "R101, 2x ms",
    ]  # fmt: skip
    assert table.loc["baseline", ["AP", "AP alone", "head", "teacher"]].tolist() == [
        "40.4", "–", "PAA", "as in its row",
    ]  # fmt: skip
    assert "head" not in published_table(TABLES[TABLE_2])
