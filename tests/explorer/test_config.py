"""What to config at: what is wrong with it is one line that names the parameter, its value and what is right."""

from pathlib import Path

import pytest

from lad.analysis.positives import ASSIGNMENTS
from lad.explorer.config import LEVELS, ExplorerConfig, make_explorer_config, notebook_explorer_config


def told(given) -> str:
    with pytest.raises(ValueError) as caught:
        make_explorer_config(given)
    assert type(caught.value) is ValueError
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_nothing_given_is_the_newest_run_and_all_levels():
    config = make_explorer_config({})
    assert (config.run, config.epoch, config.image, config.gt, config.assignment) == (None, None, 0, None, "each")
    assert config.levels == LEVELS == (3, 4, 5, 6, 7) and config.out.name == "runs" and config.out.is_absolute()


def test_none_means_not_given(tmp_path):
    nothing = dict.fromkeys(ExplorerConfig.model_fields)
    assert make_explorer_config({**nothing, "out": tmp_path}) == make_explorer_config({"out": tmp_path})


def test_every_assignment_can_be_looked_at():
    assert [make_explorer_config({"assignment": name}).assignment for name in ASSIGNMENTS] == list(ASSIGNMENTS)


def test_levels_come_as_a_list_in_any_order():
    assert make_explorer_config({"levels": [5, 3, 5]}).levels == (3, 5)
    assert make_explorer_config({"levels": []}).levels == ()


def test_numbers_may_come_as_text():
    """Papermill's -p gives what looks like a number as one; a file may not."""
    assert make_explorer_config({"image": "3", "epoch": "1"}).image == 3


def test_paths_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.jpg").touch()
    (tmp_path / "mine").mkdir()
    config = make_explorer_config({"photo": "cat.jpg", "data": "mine", "out": "kept"})
    assert (
        config.photo == tmp_path / "cat.jpg"
        and config.data == str(tmp_path / "mine")
        and config.out == tmp_path / "kept"
    )


def test_the_embedded_data_sets_are_no_paths():
    assert [make_explorer_config({"data": name}).data for name in ("toy", "mini")] == ["toy", "mini"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"asignment": "each"}, "parameter 'asignment' is unknown; did you mean 'assignment'?"),
        ({"level": [3]}, "parameter 'level' is unknown; did you mean 'levels'?"),
        ({"zzz": 1}, f"parameter 'zzz' is unknown; known are {', '.join(ExplorerConfig.model_fields)}"),
        (
            {"assignment": "techer"},
            f"parameter 'assignment' = 'techer' is not one of {', '.join(ASSIGNMENTS)}; did you mean 'teacher'?",
        ),
        ({"assignment": "!"}, f"parameter 'assignment' = '!' is not one of {', '.join(ASSIGNMENTS)}"),
        ({"levels": [2, 3]}, "parameter 'levels' = [2, 3] must be some of 3, 4, 5, 6, 7"),
        (
            {"table_of": "techer"},
            "parameter 'table_of' = 'techer' is not one of student, teacher; did you mean 'teacher'?",
        ),
        ({"image": -1}, "parameter 'image' = -1: input should be greater than or equal to 0"),
        ({"gt": -1}, "parameter 'gt' = -1: input should be greater than or equal to 0"),
        ({"epoch": -2}, "parameter 'epoch' = -2: input should be greater than or equal to 0"),
        ({"anchor_boxes": "yes"}, "parameter 'anchor_boxes' = 'yes': input should be a valid boolean"),
        ({"predicted_boxes": 1}, "parameter 'predicted_boxes' = 1: input should be a valid boolean"),
        ({"run": 3}, "parameter 'run' = 3: input should be a valid string"),
        ({"compare_with": ["a"]}, "parameter 'compare_with' = ['a']: input should be a valid string"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_remedy(given, expected):
    assert told(given) == expected


@pytest.mark.parametrize(
    "given", [{"image": "first"}, {"image": 1.5}, {"epoch": "last"}, {"gt": []}, {"levels": 3}, {"levels": ["P3"]}]
)
def test_a_value_of_the_wrong_kind_is_named(given):
    ((name, value),) = given.items()
    value = value[0] if name == "levels" and isinstance(value, list) else value
    assert told(given).startswith(f"parameter '{name}")
    assert f" = {value!r}: " in told(given)


@pytest.mark.parametrize("name", ["data", "photo"])
@pytest.mark.parametrize("value", ["nowhere", ["nowhere"]])
def test_a_file_that_is_not_there_is_said(name, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert told({name: value}) == f"parameter '{name}' = '{value}': no such file or folder"


def test_several_mistakes_are_told_at_once():
    assert told({"image": -1, "levels": [9]}) == (
        "parameter 'image' = -1: input should be greater than or equal to 0; "
        "parameter 'levels' = [9] must be some of 3, 4, 5, 6, 7"
    )


def test_a_notebook_gives_what_its_parameters_cell_assigns():
    cell = "image = 4\nlevels = [3, 4]\nassignment = 'student'"
    config = notebook_explorer_config(
        {"In": ["", cell], "image": 4, "levels": [3, 4], "assignment": "student", "other": 1}
    )
    assert (config.image, config.levels, config.assignment) == (4, (3, 4), "student")


def test_a_typo_in_a_notebooks_cell_is_found():
    with pytest.raises(ValueError, match="parameter 'imge' is unknown; did you mean 'image'"):
        notebook_explorer_config({"In": ["imge = 4"], "imge": 4})


def test_a_look_cannot_be_changed_unseen():
    config = make_explorer_config({"out": Path("runs")})
    with pytest.raises(ValueError, match="frozen"):
        config.image = 3
