"""Parameters are checked before any work, and what is wrong is one clear line."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lad.config.experiment import make_parameters, read_parameters
from lad.config.notebook import notebook_values
from lad.config.profiles import PROFILES
from lad.distillation.methods import METHODS

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("method", METHODS)
def test_every_profile_is_complete(profile, method):
    parameters = make_parameters({"profile": profile, "method": method})
    assert parameters.profile == profile and parameters.method == method


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"eopchs": 3}, "parameter 'eopchs' is unknown; did you mean 'epochs'?"),
        ({"qqqq": 3}, "parameter 'qqqq' is unknown; known are profile, data,"),
        ({"epochs": "three"}, "parameter 'epochs' = 'three': input should be a valid integer"),
        ({"epochs": 0}, "parameter 'epochs' = 0: input should be greater than or equal to 1"),
        ({"lr": float("nan")}, "parameter 'lr' = nan: input should be a finite number"),
        ({"norm_eval": "true"}, "parameter 'norm_eval' = 'true': input should be a valid boolean"),
        ({"profile": "toi"}, "'profile' = 'toi' is not one of toy, mini, coco_1x, coco_2x_ms; did you mean 'toy'?"),
        ({"method": "ladd"}, "'method' = 'ladd' is not one of baseline, lad, soft_label, solad, colad; did you mean"),
        ({"teacher": "r1001"}, "parameter 'teacher' = 'r1001' is not one of r18, r34, r50, r101, x101_64x4d"),
        ({"optimizer": "adam"}, "parameter 'optimizer' = 'adam' is not one of sgd, adamw; did you mean 'adamw'?"),
        ({"method": "baseline", "teacher": "r50"}, "method 'baseline' has no teacher"),
        ({"method": "baseline", "teacher_width": 0.5}, "method 'baseline' has no teacher; leave out teacher_width"),
        ({"teacher_head": "copp"}, "'teacher_head' = 'copp' is not one of paa, cop, iop; did you mean 'cop'?"),
        ({"method": "colad", "cost_selection": "std"}, "'cost_selection' = 'std' is not one of std_mean, fisher, student,"),
        ({"cost_selection": "fisher"}, "cost_selection is for method 'colad'; leave it out with method 'lad'"),
        ({"frozen_stages": 1}, "would keep a random backbone"),
        ({"weights": "imagenet"}, "weights 'imagenet' exist for width=1 only"),
        ({"batch_size": 9, "devices": 2}, "batch_size=9 does not divide over devices=2"),
        ({"short_sides": [900]}, "must lie between 32 and long_side=128"),
        ({"test_short_side": 900}, "test_short_side=900 is more than long_side=128"),
        ({"evaluator": "pycoco"}, "'evaluator' = 'pycoco' is not one of pycocotools, faster_coco_eval; did you mean"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_the_nearest_right_value(given, message):
    with pytest.raises(ValueError) as caught:
        make_parameters(given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["data", "out", "weights"])
@pytest.mark.parametrize(
    "value",
    ["", "~nobody-of-this-name/x", "a\0b", "\ud800", "x" * 300, ["toy"], {}],
    ids=["empty", "unknown home", "null byte", "half a character", "too long", "list", "mapping"],
)
def test_what_cannot_be_a_path_is_said_before_any_work(name, value):
    with pytest.raises(ValueError, match=rf"^parameter '{name}' = .* is not a path") as caught:
        make_parameters({name: value})
    assert type(caught.value) is ValueError and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["profile", "method", "student"])
@pytest.mark.parametrize("value", [["toy"], {"a": 1}, 3, np.zeros(3)], ids=["list", "mapping", "number", "array"])
def test_what_chooses_other_defaults_must_be_text(name, value):
    with pytest.raises(ValueError, match=rf"^parameter '{name}' = .*: input should be a valid string$"):
        make_parameters({name: value})


def test_many_sizes_are_told_by_their_ends():
    with pytest.raises(ValueError, match=r"^short_sides=\[0, 1, … 9999\] must lie between 32 and long_side=128$"):
        make_parameters({"short_sides": list(range(10_000))})


def test_a_teacher_that_cannot_be_trained_is_missed_before_its_student_is():
    with pytest.raises(ValueError, match=r"^its teacher: weights 'imagenet' exist for width=1 only, not 0\.5"):
        make_parameters({"profile": "coco_1x", "teacher_width": 0.5})


def test_an_evaluator_that_is_not_installed_is_missed_before_any_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ValueError, match="evaluator 'faster_coco_eval' is not installed"):
        make_parameters({"evaluator": "faster_coco_eval"})


def test_several_mistakes_are_told_at_once():
    with pytest.raises(ValueError, match=r"'epochs'.*; .*'lr'"):
        make_parameters({"epochs": -1, "lr": -1})


def test_numbers_may_come_as_text():
    """As they do from a YAML file (1e-4) and from papermill's command line."""
    parameters = make_parameters({"lr": "1e-4", "epochs": "3", "seed": "7"})
    assert (parameters.lr, parameters.epochs, parameters.seed) == (1e-4, 3, 7)


@pytest.mark.parametrize("name", ["seed", "epochs", "lr", "teacher_epochs", "train_images", "student", "short_sides"])
def test_true_is_no_number_and_no_name(name):
    with pytest.raises(ValueError, match=f"parameter '{name}' = True: ") as error:
        make_parameters({name: True})
    assert "\n" not in str(error.value)


def test_none_is_the_profiles_value():
    assert make_parameters({"epochs": None}).epochs == PROFILES["toy"]["epochs"]


def test_the_hash_knows_what_matters_and_ignores_where_it_runs(tmp_path):
    one = make_parameters({})
    assert one.hash == make_parameters({"out": str(tmp_path), "workers": 3, "devices": 2}).hash
    assert one.hash == make_parameters({"evaluator": "faster_coco_eval"}).hash  # its numbers are the same
    assert one.hash != make_parameters({"seed": 1}).hash
    assert make_parameters({"lr": "0.002"}).hash == make_parameters({"lr": 2e-3}).hash


def test_a_parameter_at_its_default_leaves_no_trace_in_the_name():
    """So that one that a later version adds leaves the names of earlier runs as they are."""
    one = make_parameters({"method": "baseline"})
    assert one.hash == make_parameters({"method": "baseline", "flip": 0.5, "iou_branch": True}).hash
    assert one.hash != make_parameters({"method": "baseline", "iou_branch": False}).hash


def test_a_teacher_may_differ_in_width_and_head():
    taught = make_parameters({"teacher": "r50", "teacher_width": 0.5, "teacher_head": "cop", "head": "iop"})
    teacher = taught.of_teacher()
    assert (teacher.student, teacher.width, teacher.head, teacher.iou_branch) == ("r50", 0.5, "cop", True)
    assert (taught.width, taught.head) == (0.25, "iop")
    assert make_parameters({"head": "cop", "iou_branch": False}).of_teacher().head == "cop"
    assert not make_parameters({"head": "cop", "iou_branch": False}).of_teacher().iou_branch


def test_a_teacher_is_a_plain_run_and_does_not_depend_on_its_student():
    taught = make_parameters({"student": "r18", "teacher": "r50", "teacher_epochs": 5, "epochs": 3})
    teacher = taught.of_teacher()
    assert (teacher.method, teacher.student, teacher.teacher, teacher.epochs) == ("baseline", "r50", None, 5)
    assert teacher.hash == make_parameters({"student": "r34", "teacher": "r50", "epochs": 5}).of_teacher().hash
    assert teacher.hash == make_parameters({"method": "baseline", "student": "r50", "epochs": 5}).hash


def test_a_profiles_teacher_trains_longer_unless_the_epochs_are_the_users():
    assert make_parameters({}).of_teacher().epochs == PROFILES["toy"]["teacher_epochs"] > PROFILES["toy"]["epochs"]
    assert make_parameters({"epochs": 1}).of_teacher().epochs == 1
    assert make_parameters({"epochs": 1, "teacher_epochs": 2}).of_teacher().epochs == 2
    assert make_parameters({"method": "baseline"}).epochs == PROFILES["toy"]["epochs"]


def test_data_folders_are_the_callers_and_out_is_the_projects(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    parameters = make_parameters({"data": "mine"})
    assert parameters.data == str(tmp_path / "mine")
    assert parameters.out == str(PROJECT / "runs")
    assert make_parameters({"out": "here"}).out == str(tmp_path / "here")
    assert parameters.long_side == 320  # a photograph is not shrunk to the shapes' 128 pixels
    assert make_parameters({"data": "mine", "long_side": 500}).long_side == 500


def from_cells(namespace):
    return make_parameters(notebook_values(namespace))


def test_a_notebooks_variables_are_its_parameters_and_a_typo_stops_it():
    own = 'epochs: int = 2  # over the images\nstudent: str = "r18"\nsettings: dict = None'
    names = {"epochs": 2, "student": "r18", "settings": None}
    assert from_cells({"In": ["", own], **names}).student == "r18"
    injected = "# Parameters\nstudent = \"r34\"\nlr = float('nan')\n"
    with pytest.raises(ValueError, match="'lr' = nan"):
        from_cells({"In": ["", own, injected], **names, "student": "r34", "lr": float("nan")})
    with pytest.raises(ValueError, match="'teachr' is unknown; did you mean 'teacher'"):
        from_cells({"In": ["", own, '# Parameters\nteachr = "r50"\n'], **names, "teachr": "r50"})
    assert from_cells({"In": ["", own], **names, "settings": {"flip": 0.25}}).flip == 0.25
    with pytest.raises(ValueError, match="'flipp' is unknown"):
        from_cells({"In": ["", own], **names, "settings": {"flipp": 0.25}})


def test_what_later_cells_define_is_no_parameter():
    """So that the cells can be run again in any order."""
    own = "epochs: int = 2"
    later = [
        "%matplotlib inline",
        "gt = clearest(analyses)\nshow(gt)",
        "for name in runs:\n    print(name)",
        "import os",
    ]
    namespace = {"In": [own, *later, own], "epochs": 2, "gt": 3, "name": "teacher", "scratch": 1}
    assert from_cells(namespace).epochs == 2


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"method": "baseline"}, "method 'baseline' has no teacher"),
        ({"method": "soft_label"}, "method 'soft_label' needs the teacher's outputs"),
        ({"method": "solad"}, "method 'solad' needs the teacher's outputs"),
        ({"method": "colad"}, "method 'colad' trains its teacher"),
        ({"profile": "coco_2x_ms"}, "needs images of a fixed size, but short_sides holds 161 to draw from"),
        ({"assigner": "atss"}, "asks no network"),
    ],
)
def test_a_teacher_is_remembered_only_where_its_assignments_stay_the_same(given, reason):
    with pytest.raises(ValueError, match=reason):
        make_parameters({"cache_teacher": True, **given})


def test_a_remembered_teacher_is_a_run_of_its_own_with_the_same_teacher_and_student():
    asking, remembering = make_parameters({}), make_parameters({"cache_teacher": True})
    assert asking.hash != remembering.hash
    assert asking.of_teacher() == remembering.of_teacher() and asking.plain() == remembering.plain()


def test_parameters_are_read_from_a_runs_file_and_from_what_people_write(tmp_path):
    parameters = make_parameters({"epochs": 3, "out": str(tmp_path)})
    (tmp_path / "params.json").write_text(json.dumps(parameters.model_dump()))
    (tmp_path / "mine.yaml").write_text(f"epochs: 3\nout: {tmp_path}\n")
    assert read_parameters(tmp_path / "params.json") == read_parameters(tmp_path / "mine.yaml") == parameters


def test_values_given_beside_a_file_take_precedence_but_a_runs_file_is_complete(tmp_path):
    (tmp_path / "row.yaml").write_text("epochs: 3\n")
    (tmp_path / "params.json").write_text("{}")
    assert read_parameters(tmp_path / "row.yaml", {"epochs": 5, "profile": "mini"}).epochs == 5
    with pytest.raises(ValueError, match=r"params\.json: holds all parameters of a run, which cannot be changed"):
        read_parameters(tmp_path / "params.json", {"epochs": 5})


def test_a_file_serves_every_profile_with_exceptions_that_given_values_override():
    row = {"method": "baseline", "student": "r101", "profiles": {"toy": {"epochs": 14}, "mini": {"epochs": 48}}}
    assert make_parameters(row).epochs == 14
    assert make_parameters({**row, "profile": "mini"}).epochs == 48
    assert make_parameters({**row, "profile": "coco_1x"}).epochs == 12  # the profile's own
    assert make_parameters({**row, "profile": "mini", "epochs": 3}).epochs == 3
    assert make_parameters({**row, "epochs": None}).epochs == 14  # a notebook's None means "not given"


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ({"toi": {"epochs": 1}}, "parameter 'profiles' = 'toi' is not one of toy, mini, coco_1x, coco_2x_ms"),
        ({"coco_1x": {"epoch": 1}}, "profiles, coco_1x: parameter 'epoch' is unknown; did you mean 'epochs'?"),
        ({"toy": 12}, "parameter 'profiles' = {'toy': 12} must map profiles to parameters, as in {toy: {epochs: 12}}"),
        ([], "parameter 'profiles' = [] must map profiles to parameters"),
        ({"toy": {"epochs": 0}}, "parameter 'epochs' = 0: input should be greater than or equal to 1"),
    ],
)
def test_wrong_exceptions_of_profiles_are_one_line(profiles, message):
    with pytest.raises(ValueError) as caught:
        make_parameters({"profiles": profiles})
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("params.json", None, "params.json: cannot be read (No such file or directory)"),
        ("params.json", "{", "params.json: "),
        ("params.json", "[1]", "params.json: "),
        ("params.json", '{"epoch": 3}', "params.json: parameter 'data' is missing; "),
        ("mine.yaml", "epoch: 3", "mine.yaml: parameter 'epoch' is unknown; did you mean 'epochs'?"),
        ("mine.yaml", "epochs: 0", "mine.yaml: parameter 'epochs' = 0: input should be greater than or equal to 1"),
    ],
)
def test_a_file_of_parameters_that_is_wrong_is_one_line_with_its_name(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError) as error:
        read_parameters(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: ") and "\n" not in str(error.value)
    assert message in str(error.value)
