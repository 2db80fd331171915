"""Every row of every table has valid parameters under every profile, and compares with rows of its table."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lad.config.experiment import Parameters, make_parameters
from lad.config.profiles import PROFILES
from lad.paper.definitions import TABLES, Row, Table, format_published, published_gain
from lad.paper.tables import open_table

PROJECT = Path(__file__).parents[2]
FILES = [table.file_of(row) for table in TABLES.values() for row in table.rows]


@pytest.mark.parametrize("path", sorted(set(FILES)), ids=lambda path: "-".join(path.with_suffix("").parts[-2:]))
def test_every_file_of_a_row_is_valid_under_every_profile_and_has_a_title(path):
    for profile in PROFILES:
        assert make_parameters({**yaml.safe_load(path.read_text()), "profile": profile}).profile == profile
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_a_table_has_one_file_for_each_row_and_a_notebook(table):
    files = {path.name for path in (PROJECT / "params" / table.name).iterdir()}
    assert files == {"table.yaml", *(row.file for row in table.rows)}
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


@pytest.mark.parametrize("profile", PROFILES)
def test_the_distillation_methods_share_teacher_and_student_and_differ_in_method_and_terms(profile):
    rows = parameters_of(TABLES["distillation_methods"], profile)
    taught = {title: row for title, row in rows.items() if title not in ("teacher", "baseline")}
    assert {title: (row.method, row.distill) for title, row in taught.items()} == {
        "soft label": ("soft_label", []), "baseline + soft label": ("baseline", ["soft_label"]),
        "LAD": ("lad", []), "SoLAD": ("solad", []),
        "PKD": ("baseline", ["pkd"]), "CrossKD": ("baseline", ["crosskd"]), "BCKD": ("baseline", ["bckd"]),
        "LAD + PKD": ("lad", ["pkd"]), "LAD + CrossKD": ("lad", ["crosskd"]), "LAD + BCKD": ("lad", ["bckd"]),
    }  # fmt: skip
    assert all(row.of_teacher() == rows["teacher"] and row.plain() == rows["baseline"] for row in taught.values())


@pytest.mark.parametrize("profile", PROFILES)
def test_each_assigner_teaches_by_a_teacher_that_was_trained_with_it(profile):
    rows = parameters_of(TABLES["assigners"], profile)
    for title, name in (("PAA", "paa"), ("TAL", "tal"), ("SimOTA", "simota")):
        taught = rows[f"{title}, LAD"]
        assert (taught.assigner, taught.of_teacher().assigner, taught.of_teacher().student) == (name, name, "r101")
        assert taught.plain() == rows[title]
    assert [rows[title].assigner for title in ("ATSS", "fixed IoU")] == ["atss", "fixed_iou"]


@pytest.mark.parametrize("profile", PROFILES)
def test_teachers_of_different_quality_have_one_student(profile):
    rows = parameters_of(TABLES["teacher_quality"], profile)
    alone = rows.pop("R50 alone")
    assert all(row.method == "lad" and row.plain() == alone for row in rows.values())
    titles = ("R101, 1/8 as long", "R101, 1/4 as long", "R101, half as long", "R101", "R101, 3/2 as long")
    epochs = [rows[title].of_teacher().epochs for title in titles]
    assert [value / epochs[3] for value in epochs] == pytest.approx([1 / 8, 1 / 4, 1 / 2, 1, 3 / 2], abs=0.05)
    usual, wider = rows["R101"].of_teacher(), rows["a wider teacher"].of_teacher()
    assert wider.width == 2 * usual.width or (usual.weights, wider.student) == ("imagenet", "x101_64x4d")
    assert [teacher.student for teacher in rows["mean of R101 and R50"].of_teachers()] == ["r101", "r50"]
    assert [rows[f"R101 until {share} %"].teach_until for share in (0, 50, 80)] == [0, 0.5, 0.8]
    assert all(rows[f"R101 until {share} %"].of_teacher() == usual for share in (0, 50, 80))


def test_published_gains_need_both_results_on_one_split():
    gains = {
        row.title: published_gain(table, row)
        for table in TABLES.values()
        for row in table.rows
        if row.against is not None
    }
    assert gains["CoLAD X101"] == pytest.approx(47.5 - 46.8)
    assert gains["R101 taught by Swin-B"] is None  # on an unknown split
    assert gains["R50, CoLAD by Fisher"] is None  # not published


def test_published_results_are_formatted_with_split_and_schedule():
    table = TABLES["swin_teacher"]
    texts = {row.title: format_published(table, row) for row in table.rows}
    assert texts["R50"] == "40.4 (val, 1x)" and texts["Swin-B, the teacher"] == "–"
    assert texts["R101 taught by Swin-B"] == "47.9 (split unknown)"


def test_a_result_of_another_head_is_never_a_published_gain():
    row = Row("CrossKD", "crosskd.yaml", "baseline", ("GFL-R50, CrossKD",))
    table = replace(TABLES["distillation_methods"], rows=(*TABLES["distillation_methods"].rows[:2], row))
    assert published_gain(table, row) is None
