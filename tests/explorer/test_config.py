"""The explorer's configuration: a wrong parameter is one line that names it, its value and what is allowed."""

from pathlib import Path

import pytest

from lad.analysis.positives import ASSIGNMENTS
from lad.explorer.config import LEVELS, ExplorerConfig, make_explorer_config
from lad.report.notebook import setup_notebook


def error_message(given) -> str:
    with pytest.raises(ValueError) as caught:
        make_explorer_config(given)
    assert type(caught.value) is ValueError
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_default_is_the_newest_run_and_all_levels():
    config = make_explorer_config({})
    assert (config.run, config.epoch, config.image, config.gt, config.assignment) == (None, None, 0, None, "each")
    assert config.levels == LEVELS == (3, 4, 5, 6, 7) and config.out.name == "runs" and config.out.is_absolute()


def test_none_means_not_given(tmp_path):
    nothing = dict.fromkeys(ExplorerConfig.model_fields)
    assert make_explorer_config({**nothing, "out": tmp_path}) == make_explorer_config({"out": tmp_path})


def test_every_assignment_is_accepted():
    assert [make_explorer_config({"assignment": name}).assignment for name in ASSIGNMENTS] == list(ASSIGNMENTS)


def test_levels_are_sorted_without_duplicates():
    assert make_explorer_config({"levels": [5, 3, 5]}).levels == (3, 5)
    assert make_explorer_config({"levels": []}).levels == ()


def test_numbers_may_be_given_as_text():
    """Papermill's -p converts numbers; a parameter file may hold them as strings."""
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


def test_the_embedded_data_sets_are_not_taken_for_paths():
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
        ({"run": ["a"]}, "parameter 'run' = ['a']: input should be a valid string"),
        ({"compare_with": ["a"]}, "parameter 'compare_with' = ['a']: input should be a valid string"),
    ],
)
def test_a_wrong_parameter_is_one_line_with_the_remedy(given, expected):
    assert error_message(given) == expected


@pytest.mark.parametrize(
    "given", [{"image": "first"}, {"image": 1.5}, {"epoch": "last"}, {"gt": []}, {"levels": 3}, {"levels": ["P3"]}]
)
def test_a_value_of_the_wrong_type_is_named(given):
    ((name, value),) = given.items()
    value = value[0] if name == "levels" and isinstance(value, list) else value
    assert error_message(given).startswith(f"parameter '{name}")
    assert f" = {value!r}: " in error_message(given)


@pytest.mark.parametrize("name", ["data", "photo"])
@pytest.mark.parametrize("value", ["nowhere", ["nowhere"]])
def test_a_missing_file_is_named(name, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert error_message({name: value}) == f"parameter '{name}' = '{value}': no such file or folder"


def test_a_film_is_written_into_the_home_folder_and_has_an_ending_of_a_film(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make_explorer_config({"film": "~/film.gif"}).film == tmp_path / "film.gif"
    assert error_message({"film": "film.txt"}) == "parameter 'film' = 'film.txt' must end with .gif or .mp4"


def test_several_errors_are_reported_at_once():
    assert error_message({"image": -1, "levels": [9]}) == (
        "parameter 'image' = -1: input should be greater than or equal to 0; "
        "parameter 'levels' = [9] must be some of 3, 4, 5, 6, 7"
    )


def test_a_notebook_gives_the_parameters_that_its_cell_assigns(capsys):
    cell = "image: int = 4\nlevels: list = [3, 4]\nassignment: str = 'student'"
    namespace = {"In": ["", cell], "image": 4, "levels": [3, 4], "assignment": "student", "other": 1}
    config = setup_notebook(namespace, make_explorer_config)
    assert (config.image, config.levels, config.assignment) == (4, (3, 4), "student")
    assert config.summary() in capsys.readouterr().out


def test_a_typo_in_a_notebooks_cell_is_an_error():
    with pytest.raises(ValueError, match="parameter 'imge' is unknown; did you mean 'image'"):
        setup_notebook({"In": ["imge: int = 4"], "imge": 4}, make_explorer_config)


def test_the_summary_names_run_image_and_assignment(tmp_path):
    (tmp_path / "cat.jpg").touch()
    newest = make_explorer_config({"out": tmp_path})
    assert newest.summary() == f"explorer: run the newest in {tmp_path}, validation image 0, assignment 'each'"
    given = make_explorer_config({"run": "a", "photo": tmp_path / "cat.jpg", "assignment": "atss"})
    assert given.summary() == f"explorer: run a, {tmp_path / 'cat.jpg'}, assignment 'atss'"


def test_a_configuration_is_frozen():
    config = make_explorer_config({"out": Path("runs")})
    with pytest.raises(ValueError, match="frozen"):
        config.image = 3
