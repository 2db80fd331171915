"""Published results have one source each, and every row of every table has valid parameters under every profile."""

from pathlib import Path

import pytest
import yaml

from lad.config.experiment import Parameters, make_parameters
from lad.config.profiles import PROFILES
from lad.paper.published import PUBLISHED, TABLES, Table, format_published, published_gain
from lad.paper.tables import open_table

PROJECT = Path(__file__).parents[2]
FILES = [PROJECT / "params" / table.name / f"{row.file}.yaml" for table in TABLES.values() for row in table.rows]


@pytest.mark.parametrize("path", sorted(set(FILES)), ids=lambda path: "-".join(path.with_suffix("").parts[-2:]))
def test_every_file_of_a_row_is_valid_under_every_profile_and_has_a_title(path):
    for profile in PROFILES:
        assert make_parameters({**yaml.safe_load(path.read_text()), "profile": profile}).profile == profile
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_a_table_has_one_file_for_each_row_and_a_notebook(table):
    files = {path.name for path in (PROJECT / "params" / table.name).iterdir()}
    assert files == {f"{row.file}.yaml" for row in table.rows}
    assert all(row.against is None or row.against in {other.title for other in table.rows} for row in table.rows)
    assert len({row.title for row in table.rows}) == len(table.rows)
    assert (PROJECT / "notebooks" / f"{table.name}.ipynb").is_file()


def parameters_of(table: Table, profile: str) -> dict[str, Parameters]:
    return {row.title: of_row[0] for row, of_row in open_table(table.name, profile).parameters.items()}


@pytest.mark.parametrize("profile", PROFILES)
def test_table_2_trains_an_r50_with_an_r101_teacher_by_each_method(profile):
    rows = parameters_of(TABLES["table2_soft_label_vs_lad"], profile)
    assert [rows[title].method for title in ("baseline", "soft label", "LAD", "SoLAD")] == [
        "baseline", "soft_label", "lad", "solad",
    ]  # fmt: skip
    for title in ("soft label", "LAD", "SoLAD"):
        assert rows[title].student == "r50" and rows[title].of_teacher() == rows["teacher"]
    assert rows["teacher"].student == "r101" and rows["baseline"] == rows["LAD"].plain()


@pytest.mark.parametrize("profile", PROFILES)
def test_table_3_swaps_teacher_and_student_and_has_a_baseline_of_twice_the_epochs(profile):
    rows = parameters_of(TABLES["table3_small_teacher"], profile)
    assert rows["LAD"].student == "r101" and rows["LAD"].of_teacher() == rows["teacher"]
    assert rows["baseline, twice as long"].epochs == 2 * rows["baseline"].epochs


def test_co_learning_has_every_cost_selection_and_each_network_alone():
    rows = parameters_of(TABLES["co_learning"], "toy")
    assert {row.cost_selection for row in rows.values() if row.method == "colad"} == {
        "std_mean", "fisher", "student", "teacher",
    }  # fmt: skip
    assert {row.student for row in rows.values() if row.method == "baseline"} == {"r50", "r101"}


def test_the_sota_rows_start_from_a_trained_teacher_and_have_the_cop_head():
    rows = parameters_of(TABLES["sota_r101_x101"], "coco_2x_ms")
    for title, backbone in (("CoLAD R101", "r101"), ("CoLAD X101", "x101_64x4d")):
        row = rows[title]
        assert (row.student, row.head, row.teacher, row.of_teacher().head) == (backbone, "cop", "r50", "paa")
        assert row.teacher_epochs is not None and len(row.short_sides) > 1


@pytest.mark.parametrize("profile", PROFILES)
def test_the_auxiliary_heads_are_the_five_of_the_appendix_for_both_backbones(profile):
    rows = parameters_of(TABLES["auxiliary_heads"], profile)
    heads = [(row.student, row.head, row.iou_branch) for row in rows.values()]
    five = [("paa", True), ("iop", True), ("cop", True), ("iop", False), ("cop", False)]
    assert heads == [(backbone, *head) for backbone in ("r18", "r50") for head in five]


def test_a_swin_teacher_has_its_own_optimizer_and_its_student_keeps_sgd():
    rows = parameters_of(TABLES["swin_teacher"], "coco_1x")
    student = rows["R50 taught by Swin-B"]
    assert student.of_teacher() == rows["Swin-B, the teacher"]
    assert (student.optimizer, student.of_teacher().optimizer, student.of_teacher().lr) == ("sgd", "adamw", 1e-4)


def test_every_published_result_of_a_table_has_a_source_and_a_plausible_ap():
    keys = [key for table in TABLES.values() for row in table.rows for key in (*row.published, *table.not_trained)]
    for key in keys:
        assert PUBLISHED[key].source and 0 < PUBLISHED[key].ap < 100, key


def test_the_results_that_support_the_papers_claims():
    ap = {key: result.ap for key, result in PUBLISHED.items()}
    assert (ap["paa_r50_1x"], ap["paa_r101_1x"], ap["paa_r101_2x"]) == (40.4, 42.6, 43.5)
    assert (ap["paper_lad_r50_from_r101_1x"], ap["lad_r50_from_r101_1x"]) == (41.6, 41.4)
    assert (ap["paper_lad_r101_from_r50_1x"], ap["lad_r101_from_r50_1x"]) == (43.3, 43.2)
    assert ap["paper_solad_r50_from_r101_1x"] == 42.4
    assert (ap["colad_r101"], ap["colad_x101"], ap["lad_r101_from_swin_b"]) == (46.0, 47.5, 47.9)
    assert all(PUBLISHED[key].split == "test-dev" for key in ("colad_r101", "colad_x101", "OTA", "ATSS"))


def test_published_gains_need_both_results_on_one_split():
    gains = {
        row.title: published_gain(table, row)
        for table in TABLES.values()
        for row in table.rows
        if row.against is not None
    }
    assert gains["LAD"] == pytest.approx(43.3 - 42.6)  # Table 3, which comes after Table 2
    assert gains["R101 taught by Swin-B"] is None  # test-dev; its baseline is on val
    assert gains["R50, CoLAD by Fisher"] is None  # not published


def test_published_results_are_formatted_with_split_and_schedule():
    rows = {row.title: row for row in TABLES["swin_teacher"].rows}
    assert format_published(rows["R50"]) == "40.4 (val, 1x)"
    assert format_published(rows["R101 taught by Swin-B"]) == "47.9 (test-dev)"
    assert format_published(rows["Swin-B, the teacher"]) == "–"
