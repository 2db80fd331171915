"""The experiments of a table and their results: which runs, which seeds are missing, and what is refused."""

import pytest
from finished_tables import APS, TABLE_2, finish

from lad.paper.definitions import TABLES
from lad.paper.tables import notebook_table, notebook_tables, open_table


def test_a_table_says_which_seeds_it_lacks(results, tmp_path):
    assert results.missing_seeds() == {"SoLAD": [1, 2]}
    assert results.notes() == "seeds missing of 3: SoLAD (1 and 2)"
    more = open_table(TABLE_2, seeds=5, changes={"out": str(tmp_path)}).finished()
    assert more.notes() == (
        "seeds missing of 5: teacher (3 and 4), baseline (3 and 4), soft label (3 and 4), LAD (3 and 4), SoLAD (1–4)"
    )


def test_a_row_without_any_run_lacks_all_seeds(tmp_path):
    aps = {**APS, "SoLAD": []}
    results = finish(open_table(TABLE_2, seeds=3, changes={"out": str(tmp_path)}), aps)
    assert results.notes() == "seeds missing of 3: SoLAD (all)"


def test_a_notebooks_parameters_select_the_runs(tmp_path):
    given = {"profile": "toy", "seeds": 2, "epochs": 1, "data": None, "out": str(tmp_path)}
    experiments = notebook_table(TABLE_2, given)
    assert str(experiments) == f"{TABLE_2}, toy: 10 runs, 0 already finished"
    for of_row in experiments.parameters.values():
        assert [parameters.seed for parameters in of_row] == [0, 1]
        assert all(parameters.epochs == 1 for parameters in of_row)
        assert all(parameters.teacher is None or parameters.of_teacher().epochs == 1 for parameters in of_row)


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
        (
            {"changes": {"seed": 3}},
            "parameter 'seed' cannot be set for a table, which runs seeds 0, 1, …; set their",
        ),
        ({"changes": {"profile": "mini"}}, "parameter 'profile' is that of the whole table; choose it with --profile"),
        ({"changes": {"lr": -1}}, "row 'teacher' (teacher.yaml): parameter 'lr' = -1: input should be greater than 0"),
    ],
)
def test_invalid_arguments_raise_one_line(given, message):
    with pytest.raises(ValueError) as caught:
        open_table(**{"name": TABLE_2, **given})
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("epochs: 1\nepochs: 2\n", "teacher.yaml: line 2: duplicate key 'epochs'"),
        ("- epochs\n", "teacher.yaml: must be a mapping of parameter names to values"),
        ("epoch: 1\n", "(teacher.yaml): parameter 'epoch' is unknown; did you mean 'epochs'?"),
        ("method: baseline\n", "'is_teacher_network' is for a method that trains two networks, not baseline"),
        ("method: ladd\n", "(teacher.yaml): parameter 'method' = 'ladd'"),
        ("method: [lad]\n", "(teacher.yaml): parameter 'method' = ['lad']"),
        ("seed: 3\n", "row 'teacher' (teacher.yaml): parameter 'seed' is that of the whole table"),
        ("profile: toy\n", "row 'teacher' (teacher.yaml): parameter 'profile' is that of the whole table"),
        ("epochs: 1000000000\n", "(teacher.yaml): parameter 'epochs' = 1000000000: input should be less than or equal"),
    ],
)
def test_an_invalid_file_of_a_row_raises_one_line_that_names_it(tmp_path, monkeypatch, text, line):
    folder = tmp_path / "params" / TABLE_2
    folder.mkdir(parents=True)
    (folder / "table.yaml").write_text(
        "question: Why?\nrows: [{title: teacher, file: teacher.yaml, is_teacher_network: true}]"
    )
    (folder / "teacher.yaml").write_text(text)
    monkeypatch.setattr("lad.paper.definitions.project_files", lambda name: tmp_path / name)
    with pytest.raises(ValueError) as caught:
        open_table(TABLE_2)
    assert line in str(caught.value) and "\n" not in str(caught.value)
