"""A table of one's own is checked in all parts, and that of docs/own_tables.md run, judged and drawn as the paper's."""

import json
import re
import shutil
from pathlib import Path

import pytest
from finished_tables import finish
from tiny_runs import fabricate

from lad.cli import main
from lad.paper.definitions import TABLES, find_table, format_published, published_gain, read_table
from lad.paper.summary import gains, published_table
from lad.paper.tables import open_table

PROJECT = Path(__file__).parents[2]
ROWS = ["plain student", "LAD", "LAD + PKD", "LAD + PKD, twice the weight"]
TINY = {
    "epochs": 1, "train_images": 8, "batch_size": 4, "width": 0.125, "channels": 64, "accelerator": "cpu",
    "short_sides": [96], "test_short_side": 96, "long_side": 96,
}  # fmt: skip


@pytest.fixture
def example(tmp_path) -> Path:
    """The table of the page, in a folder with the parameter file that it names."""
    (text,) = re.findall(r"```yaml\n(.*?)```", (PROJECT / "docs" / "own_tables.md").read_text(), re.DOTALL)
    shutil.copy(PROJECT / "params" / "table2_soft_label_vs_lad" / "lad.yaml", tmp_path)
    (tmp_path / "mine.yaml").write_text(text)
    return tmp_path / "mine.yaml"


def test_the_example_has_one_teacher_and_its_gains_and_comparisons(example, tmp_path):
    experiments = open_table(str(example), seeds=2, changes={"out": str(tmp_path / "runs")})
    assert [row.title for row in experiments.parameters] == ROWS
    plain, *taught = (of_row[0] for of_row in experiments.parameters.values())
    assert all(parameters.of_teacher() == taught[0].of_teacher() for parameters in taught)
    assert all(parameters.plain() == plain for parameters in taught)
    assert taught[2].method_options["pkd_weight"] == 2
    results = finish(experiments, {"plain student": [0.5, 0.5], "LAD": [0.52, 0.53]})
    assert gains(results)["LAD"][0] == pytest.approx(41.6 - 40.4)
    assert gains(results)["LAD"][1][0] == pytest.approx(2.5)
    assert published_table(results.table).loc["LAD", "source"] == "paper, Table 2"


def test_the_command_writes_the_files_of_the_example(example, shapes, tmp_path, monkeypatch, capsys):
    changes = {**TINY, "data": str(shapes), "out": str(tmp_path / "runs")}
    for of_row in open_table(str(example), changes=changes).parameters.values():
        fabricate(of_row[0])
    monkeypatch.chdir(tmp_path)
    assert (
        main(["table", "mine.yaml", *(word for name, value in changes.items() for word in ("-p", name, str(value)))])
        == 0
    )
    assert "LAD + PKD, twice the weight is better than LAD: one seed" in capsys.readouterr().out
    folder = tmp_path / "runs" / "results" / "toy"
    assert {path.name for path in folder.iterdir()} == {"mine.json", "mine.md", "mine.csv", "mine.tex", "mine.png"}
    content = json.loads((folder / "mine.json").read_text())
    assert (content["table"], content["question"]) == ("mine", "Does PKD add to LAD, and at which weight?")
    plain, lad, _, twice = content["rows"]
    assert (plain["parameters"], lad["parameters"]) == ({"method": "baseline", "student": "r50"}, "lad.yaml")
    assert [claim["against"] for claim in twice["claims"]] == ["plain student", "LAD", "LAD + PKD"] and len(
        twice["runs"]
    ) == 1
    assert lad["published"] == {
        "LAD in the paper": plain["published"]["paa_r50_1x"] | {"ap": 41.6, "source": "paper, Table 2"}
    }


VALID = """
question: Why?
rows:
  - title: plain
    file: plain.yaml
    published: [paa_r50_1x]
  - title: LAD
    parameters: {method: lad, student: r50}
    against: plain
    published: [mine]
  - title: SoLAD
    parameters: {method: solad}
    against: plain
    also_against: [LAD]
published:
  mine: {ap: 41, source: my notes}
not_trained: [OTA, mine]
"""


@pytest.fixture
def own(tmp_path) -> Path:
    (tmp_path / "plain.yaml").write_text("method: baseline")
    (tmp_path / "mine.yaml").write_text(VALID)
    return tmp_path / "mine.yaml"


def test_a_table_of_ones_own_has_its_rows_and_own_published_results(own):
    table = find_table(str(own))
    assert (table.name, table.question, table.not_trained) == ("mine", "Why?", ("OTA", "mine"))
    plain, lad, solad = table.rows
    assert table.file_of(plain) == own.with_name("plain.yaml") and lad.parameters == {"method": "lad", "student": "r50"}
    assert solad.compared_with == ("plain", "LAD")
    assert published_gain(table, lad) == pytest.approx(41 - 40.4)
    assert format_published(table, lad) == "41.0 (val)" and published_gain(table, solad) is None
    methods = {row.title: of_row[0].method for row, of_row in open_table(str(own)).parameters.items()}
    assert methods == {"plain": "baseline", "LAD": "lad", "SoLAD": "solad"}


def test_a_table_of_the_project_is_found_by_name_and_by_file():
    path = PROJECT / "params" / "co_learning" / "table.yaml"
    assert read_table(path) == find_table(path) == find_table("co_learning") == TABLES["co_learning"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("question: Why?", "", "parameter 'question' is missing"),
        ("question: Why?", "question: ''", "parameter 'question' = '': string should have at least 1 character"),
        ("question: Why?", 'question: "a\\nb"', "must be one line of printable text"),
        ("question:", "questoin:", "parameter 'questoin' is unknown; did you mean 'question'?"),
        ("question:", "question:  [", "line 2: while parsing a flow sequence"),
        ("against: plain\n    pub", "agianst: plain\n    pub", "row 'LAD': parameter 'agianst' is unknown; did you"),
        (
            "against: plain\n    pub",
            "against: plane\n    pub",
            "'against' = 'plane' is not one of plain, SoLAD; did you mean 'plain'?",
        ),
        ("against: plain\n    pub", "against: LAD\n    pub", "row 'LAD': parameter 'against' = 'LAD' is not one of"),
        ("also_against: [LAD]", "also_against: [LAD, LAT]", "'also_against' = 'LAT' is not one of plain, LAD; did you"),
        ("also_against: [LAD]", "also_against: [LAD, LAD]", "row 'SoLAD': parameter 'also_against' names a row twice"),
        ("also_against: [LAD]", "also_against: [plain]", "or the one that 'against' names"),
        ("also_against: [LAD]", "also_against: LAD", "parameter 'also_against' = 'LAD' must be a list, such as"),
        ("against: plain\n    also", "also", "row 'SoLAD': parameter 'also_against' needs 'against', the row's"),
        ("title: SoLAD", "title: LAD", "rows 2 and 3 have the same title, 'LAD'; change one"),
        ("title: SoLAD", "title: 2024", "row 3: parameter 'title' = 2024: input should be a valid string"),
        ("- title: SoLAD\n    p", "- p", "row 3: parameter 'title' is missing"),
        ("file: plain.yaml", "file: plane.yaml", "plane.yaml; did you mean 'plain.yaml'?"),
        ("file: plain.yaml", "file: .", "row 'plain': parameter 'file' = '.': no file"),
        ("file: plain.yaml", "", "row 'plain': give either 'file', the file of its parameters, or 'parameters'"),
        ("file: plain.yaml", "file: plain.yaml\n    parameters: {}", "row 'plain': give either 'file'"),
        ("parameters: {method: solad}", "parameters: solad", "row 'SoLAD': parameter 'parameters' = 'solad'"),
        ("against: plain\n    pub", "claim: equal\n    pub", "row 'LAD': parameter 'claim' = 'equal'"),
        ("against: plain\n    pub", "is_teacher_network: 1\n    pub", "row 'LAD': parameter 'is_teacher_network' = 1"),
        (
            "[paa_r50_1x]",
            "[paa_r50]",
            "'published': there is no result 'paa_r50', here or in lad/paper/published.py; did you mean",
        ),
        (
            "not_trained: [OTA",
            "not_trained: [OTO",
            "'not_trained': there is no result 'OTO', here or in lad/paper/published.py; did you mean 'OTA'?",
        ),
        ("  mine: {ap", "  OTA: {ap", "published 'OTA': lad/paper/published.py has a result of this name"),
        ("ap: 41", "ap: 410", "published 'mine': parameter 'ap' = 410: input should be less than 100"),
        ("ap: 41", "ap: true", "published 'mine': parameter 'ap' = True: input should be a valid number"),
        ("ap: 41", "ap: 41, scedule: 1x", "published 'mine': parameter 'scedule' is unknown; did you mean 'schedule'?"),
        ("ap: 41, ", "", "published 'mine': parameter 'ap' is missing"),
        ("ap: 41", "split: vall, ap: 41", "parameter 'split' = 'vall' is not one of val, test-dev"),
        ("{ap: 41, source: my notes}", "41", "published 'mine' = 41 must map names to values"),
        (VALID, "rows: 3", "parameter 'rows' = 3 must be a list of rows"),
        (VALID, "rows: [LAD]", "row 1 = 'LAD' must map names to values"),
    ],
)
def test_a_mistake_in_a_table_is_one_line_that_names_file_row_and_field(own, old, new, message):
    assert old in VALID
    own.write_text(VALID.replace(old, new, 1))
    with pytest.raises(ValueError) as caught:
        find_table(str(own))
    assert str(caught.value).startswith(f"{own}: ") and message in str(caught.value) and "\n" not in str(caught.value)


def test_wrong_parameters_of_a_row_name_the_row_and_the_tables_file(own):
    own.write_text(VALID.replace("student: r50", "studnet: r50"))
    with pytest.raises(
        ValueError, match=r"^row 'LAD' \(mine.yaml\): parameter 'studnet' is unknown; did you mean 'student'"
    ):
        open_table(str(own))


def test_a_table_that_does_not_exist_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(
        ValueError, match=r"did you mean 'co_learning'\?; for a table of your own, give the path of its"
    ):
        find_table("colearning")
    with pytest.raises(ValueError, match=r"nowhere\.yaml: cannot be read \(No such file"):
        find_table(str(tmp_path / "nowhere.yaml"))
