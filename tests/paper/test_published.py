"""What was published is typed once, and every row of every table has its parameters under every profile."""

from pathlib import Path

import pytest
import yaml

from lad.config.experiment import Parameters, make_parameters
from lad.config.profiles import PROFILES
from lad.paper.published import PUBLISHED, TABLES, Table
from lad.paper.tables import open_table

PROJECT = Path(__file__).parents[2]
FILES = sorted((PROJECT / "params").glob("*/*/*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: "-".join(path.with_suffix("").parts[-3:]))
def test_every_file_of_a_row_is_valid_and_says_what_it_is(path):
    parameters = make_parameters(yaml.safe_load(path.read_text()))
    assert parameters.profile == path.parent.name
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_a_table_has_a_file_for_each_row_and_no_other(table, profile):
    files = {path.stem for path in (PROJECT / "params" / table.name / profile).iterdir()}
    assert files == {row.file for row in table.rows}
    assert all(row.against is None or row.against in {other.title for other in table.rows} for row in table.rows)
    assert len({row.title for row in table.rows}) == len(table.rows)
    assert (PROJECT / "notebooks" / f"{table.name}.ipynb").is_file()


def parameters_of(table: Table, profile: str) -> dict[str, Parameters]:
    return {row.title: each[0] for row, each in open_table(table.name, profile).parameters.items()}


@pytest.mark.parametrize("profile", PROFILES)
def test_table_2_is_an_r50_taught_by_an_r101_each_way(profile):
    rows = parameters_of(TABLES["table2_soft_label_vs_lad"], profile)
    assert [rows[title].method for title in ("baseline", "soft label", "LAD", "SoLAD")] == [
        "baseline", "soft_label", "lad", "solad",
    ]  # fmt: skip
    for title in ("soft label", "LAD", "SoLAD"):
        assert rows[title].student == "r50" and rows[title].of_teacher() == rows["teacher"]
    assert rows["teacher"].student == "r101" and rows["baseline"] == rows["LAD"].plain()


@pytest.mark.parametrize("profile", PROFILES)
def test_table_3_exchanges_teacher_and_student_and_gives_the_baseline_the_teachers_time(profile):
    rows = parameters_of(TABLES["table3_small_teacher"], profile)
    assert rows["LAD"].student == "r101" and rows["LAD"].of_teacher() == rows["teacher"]
    assert rows["baseline, twice as long"].epochs == 2 * rows["baseline"].epochs


def test_co_learning_has_every_criterion_and_each_network_alone():
    rows = parameters_of(TABLES["co_learning"], "toy")
    assert {one.cost_selection for one in rows.values() if one.method == "colad"} == {
        "std_mean", "fisher", "student", "teacher",
    }  # fmt: skip
    assert {one.student for one in rows.values() if one.method == "baseline"} == {"r50", "r101"}


def test_the_strongest_rows_begin_with_a_trained_teacher_and_the_cop_head():
    rows = parameters_of(TABLES["sota_r101_x101"], "coco_2x_ms")
    for title, backbone in (("CoLAD R101", "r101"), ("CoLAD X101", "x101_64x4d")):
        one = rows[title]
        assert (one.student, one.head, one.teacher, one.of_teacher().head) == (backbone, "cop", "r50", "paa")
        assert one.teacher_epochs is not None and len(one.short_sides) > 1


@pytest.mark.parametrize("profile", PROFILES)
def test_the_auxiliary_heads_are_the_five_of_the_appendix_for_both_networks(profile):
    rows = parameters_of(TABLES["auxiliary_heads"], profile)
    heads = [(one.student, one.head, one.iou_branch) for one in rows.values()]
    five = [("paa", True), ("iop", True), ("cop", True), ("iop", False), ("cop", False)]
    assert heads == [(backbone, *head) for backbone in ("r18", "r50") for head in five]


def test_a_swin_has_its_own_recipe_and_its_student_keeps_its():
    rows = parameters_of(TABLES["swin_teacher"], "coco_1x")
    taught = rows["R50 taught by Swin-B"]
    assert taught.of_teacher() == rows["Swin-B, the teacher"]
    assert (taught.optimizer, taught.of_teacher().optimizer, taught.of_teacher().lr) == ("sgd", "adamw", 1e-4)


@pytest.mark.parametrize("key", [key for table in TABLES.values() for row in table.rows for key in row.published])
def test_every_published_number_of_a_row_is_known(key):
    assert PUBLISHED[key].source and 0 < PUBLISHED[key].ap < 100


def test_checkpoints_expect_the_published_ap():
    """params/published/ has the same number as the tables, from the one place where it is typed."""
    for path in (PROJECT / "params" / "published").glob("*.yaml"):
        assert yaml.safe_load(path.read_text())["expected_ap"] == PUBLISHED[path.stem].ap, path.name


def test_the_numbers_that_the_papers_claims_rest_on():
    ap = {key: one.ap for key, one in PUBLISHED.items()}
    assert (ap["paa_r50_1x"], ap["paa_r101_1x"], ap["paa_r101_2x"]) == (40.4, 42.6, 43.5)
    assert (ap["paper_lad_r50_from_r101_1x"], ap["lad_r50_from_r101_1x"]) == (41.6, 41.4)
    assert (ap["paper_lad_r101_from_r50_1x"], ap["lad_r101_from_r50_1x"]) == (43.3, 43.2)
    assert ap["paper_solad_r50_from_r101_1x"] == 42.4
    assert (ap["colad_r101"], ap["colad_x101"], ap["lad_r101_from_swin_b"]) == (46.0, 47.5, 47.9)
    assert all(PUBLISHED[key].split == "test-dev" for key in ("colad_r101", "colad_x101", "OTA", "ATSS"))
