"""Parameters of an experiment: validation before any work, identity, options and the teacher's own run."""

import dataclasses
import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic.dataclasses import dataclass

from lad.assigners import ASSIGNERS, PAA
from lad.config.evaluation import EvaluationConfig
from lad.config.experiment import Parameters, make_parameters
from lad.config.identity import ADDED_OPTIONS, hashed_values
from lad.config.profiles import PROFILES
from lad.config.reading import read_changes, read_parameters
from lad.distillation.methods import METHODS
from lad.utils.messages import is_text_field
from lad.utils.options import OPTIONS

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"eopchs": 3}, "parameter 'eopchs' is unknown; did you mean 'epochs'?"),
        ({"qqqq": 3}, "parameter 'qqqq' is unknown; known are student, head,"),
        ({"epochs": "three"}, "parameter 'epochs' = 'three': input should be a valid integer"),
        ({"epochs": 0}, "epochs=0 only evaluates the detector of init, with method 'baseline'; give 1 or more"),
        ({"lr": float("nan")}, "parameter 'lr' = nan: input should be a finite number"),
        ({"norm_eval": "true"}, "parameter 'norm_eval' = 'true': input should be a valid boolean"),
        ({"profile": "toi"}, "'profile' = 'toi' is not one of toy, mini, coco_1x, coco_2x_ms; did you mean 'toy'?"),
        ({"method": "ladd"}, "'method' = 'ladd' is not one of baseline, lad, soft_label, solad, colad; did you mean"),
        ({"teacher": "r1001"}, "parameter 'teacher' = 'r1001' is not one of r18, r34, r50, r101, x101_64x4d"),
        ({"optimizer": "adam"}, "parameter 'optimizer' = 'adam' is not one of sgd, adamw; did you mean 'adamw'?"),
        ({"method": "baseline", "teacher": "r50"}, "method 'baseline' has no teacher"),
        ({"method": "baseline", "teacher_width": 0.5}, "method 'baseline' has no teacher; leave out teacher_width"),
        ({"teacher_head": "copp"}, "'teacher_head' = 'copp' is not one of paa, cop, iop; did you mean 'cop'?"),
        ({"method": "colad", "cost_selection": "std"}, "'cost_selection' = 'std' is not one of std_mean, fisher, stu"),
        ({"cost_selection": "fisher"}, "cost_selection is for method 'colad'; leave it out with method 'lad'"),
        ({"frozen_stages": 1}, "would freeze a randomly initialized backbone; give weights or init, or frozen"),
        ({"weights": "imagenet"}, "weights 'imagenet' exist for width=1 only"),
        ({"batch_size": 9, "devices": 2}, "batch_size=9 must be a multiple of devices=2"),
        ({"short_sides": [900]}, "must lie between 32 and long_side=128"),
        ({"test_short_side": 900}, "test_short_side=900 is more than long_side=128"),
        ({"evaluator": "pycoco"}, "'evaluator' = 'pycoco' is not one of pycocotools, faster_coco_eval; did you mean"),
    ],
)  # fmt: skip
def test_an_invalid_value_raises_one_line_with_what_is_allowed(given, message):
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
def test_a_value_that_cannot_be_a_path_raises_one_line(name, value):
    with pytest.raises(ValueError, match=rf"^parameter '{name}' = .* is not a path") as caught:
        make_parameters({name: value})
    assert type(caught.value) is ValueError and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["profile", "method", "student"])
@pytest.mark.parametrize("value", [["toy"], {"a": 1}, np.zeros(3)], ids=["list", "mapping", "array"])
def test_a_parameter_that_selects_defaults_of_others_must_be_text(name, value):
    with pytest.raises(ValueError, match=rf"^parameter '{name}' = .*: input should be a valid string$"):
        make_parameters({name: value})


TEXT_PARAMETERS = [name for name in Parameters.model_fields if is_text_field(Parameters, name)]


@pytest.mark.parametrize("name", TEXT_PARAMETERS)
@pytest.mark.parametrize(
    ("value", "kind"), [(20240105, "number"), (1e5, "number"), (math.nan, "number"), (True, "boolean")]
)
def test_a_text_that_papermill_has_turned_into_another_value_raises_one_line_with_the_remedy(name, value, kind):
    with pytest.raises(ValueError, match=rf"^parameter '{name}' is the {kind} {value}, but must be text") as caught:
        make_parameters({name: value})
    assert f"give it as text by -r {name} VALUE" in str(caught.value) and "\n" not in str(caught.value)


def test_paths_and_names_are_text_parameters():
    assert {"data", "out", "init", "teacher_checkpoint", "weights", "student", "profile"} <= set(TEXT_PARAMETERS)
    assert not {"seed", "flip", "iou_branch", "short_sides", "cache_teacher", "precision"} & set(TEXT_PARAMETERS)


@pytest.mark.parametrize("text", ["2024_01_05", "007", "1e5", "true", "2024-01-05", "1:30", "&a"])
def test_a_text_parameter_of_a_command_line_keeps_its_spelling(text):
    assert read_changes([("data", text)]) == {"data": text}


def test_text_parameters_of_an_evaluation_keep_their_spelling():
    pairs = [("sha256", "12345678"), ("split", "2017"), ("batch_size", "4")]
    assert read_changes(pairs, EvaluationConfig) == {"sha256": "12345678", "split": "2017", "batch_size": 4}


def test_other_values_of_a_command_line_are_yaml():
    pairs = [("seed", "7"), ("lr", "1e-3"), ("compile", "true"), ("data", "'007'"), ("init", "null"), ("levels", "[3]")]
    values = {"seed": 7, "lr": "1e-3", "compile": True, "data": "007", "init": None, "levels": [3]}
    assert read_changes(pairs) == values
    with pytest.raises(ValueError, match=r"^parameter 'seed': "):
        read_changes([("seed", "010")])


def test_max_detections_changes_the_identity_but_its_default_does_not():
    default, more = make_parameters({}), make_parameters({"max_detections": 300})
    assert "max_detections" not in default.identity() and more.identity()["max_detections"] == 300
    assert default.hash != more.hash
    assert default.of_teacher().hash != more.of_teacher().hash


def test_a_message_shortens_a_long_list_of_sizes():
    with pytest.raises(ValueError, match=r"^short_sides=\[0, 1, … 9999\] must lie between 32 and long_side=128$"):
        make_parameters({"short_sides": list(range(10_000))})


def test_a_teacher_that_cannot_be_trained_raises_before_any_work():
    with pytest.raises(ValueError, match=r"^its teacher: weights 'imagenet' exist for width=1 only, not 0\.5"):
        make_parameters({"profile": "coco_1x", "teacher_width": 0.5})


@pytest.mark.parametrize("logger", ["tensorboard", "wandb", "mlflow"])
def test_a_logger_that_is_not_installed_raises_before_any_work_and_names_the_extra(logger, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"logger '{logger}' needs the package {logger}.*lad-suite\[trackers\]"):
        make_parameters({"logger": logger})
    assert make_parameters({"logger": "csv"}).hash == make_parameters({}).hash


def test_an_evaluator_that_is_not_installed_raises_before_any_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ValueError, match="evaluator 'faster_coco_eval' is not installed"):
        make_parameters({"evaluator": "faster_coco_eval"})


def test_several_mistakes_are_listed_in_one_message():
    with pytest.raises(ValueError, match=r"'epochs'.*; .*'lr'"):
        make_parameters({"epochs": -1, "lr": -1})


def test_numbers_may_be_given_as_text():
    """As they do from a YAML file (1e-4) and from papermill's command line."""
    parameters = make_parameters({"lr": "1e-4", "epochs": "3", "seed": "7"})
    assert (parameters.lr, parameters.epochs, parameters.seed) == (1e-4, 3, 7)


@pytest.mark.parametrize("name", ["seed", "epochs", "lr", "teacher_epochs", "train_images", "short_sides"])
def test_true_is_not_a_number(name):
    with pytest.raises(ValueError, match=f"parameter '{name}' = True: ") as error:
        make_parameters({name: True})
    assert "\n" not in str(error.value)


def test_none_means_the_profiles_value():
    assert make_parameters({"epochs": None}).epochs == PROFILES["toy"]["epochs"]


def test_the_hash_depends_on_the_experiment_and_not_on_where_it_runs(tmp_path):
    parameters = make_parameters({})
    assert parameters.hash == make_parameters({"out": str(tmp_path), "workers": 3, "devices": 2}).hash
    assert parameters.hash == make_parameters({"evaluator": "faster_coco_eval"}).hash  # its numbers are the same
    assert parameters.hash == make_parameters({"rerun": "always", "checkpoint_every": 7, "save_epochs": False}).hash
    assert parameters.hash != make_parameters({"seed": 1}).hash
    assert make_parameters({"lr": "0.002"}).hash == make_parameters({"lr": 2e-3}).hash


def test_augmentations_change_the_hash_and_a_run_without_them_has_the_hash_of_earlier_versions():
    plain, augmented = make_parameters({}), make_parameters({"augment": ["zoom_out", "photometric"]})
    assert "augment" not in plain.identity() and plain.hash == make_parameters({"augment": []}).hash
    assert augmented.hash != plain.hash
    assert augmented == make_parameters({"augment": {"photometric": {"hue": 0.05}, "zoom_out": {}}})
    assert augmented.hash != make_parameters({"augment": {"photometric": {"hue": 0.1}, "zoom_out": {}}}).hash


def test_the_teachers_own_run_has_the_students_augmentations_and_an_evaluation_has_none():
    parameters = make_parameters({"augment": {"zoom_out": {"p": 0.3}}})
    assert parameters.of_teacher().augment == parameters.plain().augment == parameters.augment
    with pytest.raises(ValueError, match="epochs=0 trains nothing; leave out ema, accumulate and augment"):
        make_parameters({"augment": ["photometric"], "epochs": 0})


@pytest.mark.parametrize("profile", PROFILES)
def test_a_parameter_given_at_its_default_has_the_same_hash_as_one_not_given(profile):
    given = {"profile": profile, "method": "baseline"}
    parameters = make_parameters(given)
    for name, value in parameters.model_dump().items():
        assert make_parameters({**given, name: value}).hash == parameters.hash, name
    assert make_parameters({**given, "iou_branch": False}).hash != parameters.hash


def test_the_hash_covers_the_defaults_of_profiles_parameters_and_options(monkeypatch):
    """A default that a later version changes is another experiment."""

    class LaterParameters(Parameters):
        flip: float = 0.25

    @dataclass(frozen=True, config=OPTIONS)
    class LaterPAA(PAA):
        topk: int = 10

    changes = (
        lambda patch: patch.setitem(PROFILES["toy"], "lr", 1e-3),
        lambda patch: patch.setattr("lad.config.experiment.Parameters", LaterParameters),
        lambda patch: patch.setitem(ASSIGNERS, "paa", LaterPAA),
    )
    hashes = {make_parameters({}).hash}
    for change in changes:
        with monkeypatch.context() as patch:
            change(patch)
            hashes.add(make_parameters({}).hash)
    assert len(hashes) == 4 and make_parameters({}).hash in hashes


def test_a_renamed_parameter_raises_one_line_with_its_new_name():
    message = r"^parameter 'criterion' is now called 'cost_selection'; give cost_selection='fisher'$"
    with pytest.raises(ValueError, match=message):
        make_parameters({"method": "colad", "criterion": "fisher"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"assigner_options": {"topkk": 13}},
            "parameter 'assigner_options': 'topkk' is unknown for assigner 'paa'; did you mean 'topk'?",
        ),
        (
            {"assigner": "simota", "assigner_options": {"qqqq": 1}},
            "parameter 'assigner_options': 'qqqq' is unknown for assigner 'simota'; it has topk_ious, iou_weight,",
        ),
        (
            {"assigner_options": {"topk": 0}},
            "parameter 'assigner_options': topk = 0 of assigner 'paa': input should be greater than or equal to 1",
        ),
        (
            {"assigner_options": {"topk": True}},
            "parameter 'assigner_options': topk = True of assigner 'paa' cannot be true or false",
        ),
        (
            {"assigner_options": {"separation": "e"}},
            "parameter 'assigner_options': separation = 'e' of assigner 'paa': input should be 'a', 'b', 'c' or 'd'",
        ),
        (
            {"assigner_options": {"normalize_cost": 1}},
            "parameter 'assigner_options': normalize_cost = 1 of assigner 'paa': input should be a valid boolean",
        ),
        (
            {"method_options": {"cls_weight": 5}},
            "parameter 'method_options': 'cls_weight' is unknown for method 'lad'; it has no options",
        ),
        (
            {"method": "solad", "method_options": {"min_iou": 1}},
            "parameter 'method_options': min_iou = 1 of method 'solad': input should be less than 1",
        ),
        ({"assigner_options": [13]}, "parameter 'assigner_options' = [13] must map names to values"),
        ({"assigner_options": []}, "parameter 'assigner_options' = [] must map names to values"),
        ({"assigner_options": False}, "parameter 'assigner_options' = False must map names to values"),
        ({"method_options": "cls_weight"}, "parameter 'method_options' = 'cls_weight' must map names to values"),
    ],
)
def test_an_invalid_option_raises_one_line_that_names_parameter_option_and_owner(given, message):
    with pytest.raises(ValueError) as caught:
        make_parameters(given)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("profile", PROFILES)
def test_the_resolved_options_are_stored_with_the_parameters(profile, method):
    parameters = make_parameters({"profile": profile, "method": method, "assigner_options": {"topk": 13}})
    stored = parameters.model_dump()
    assert stored["assigner_options"] == dataclasses.asdict(PAA(topk=13))
    assert stored["method_options"] == dataclasses.asdict(METHODS[method].options())
    assert Parameters(**json.loads(json.dumps(stored))) == parameters
    assert "'topk': 13" in parameters.summary()


def test_every_assigner_has_its_own_resolved_options():
    for name, assigner in ASSIGNERS.items():
        parameters = make_parameters({"method": "baseline", "assigner": name})
        assert parameters.assigner_options == dataclasses.asdict(assigner())
        assert (
            parameters.hash
            == make_parameters(
                {"method": "baseline", "assigner": name, "assigner_options": parameters.assigner_options}
            ).hash
        )


def test_options_change_the_hash():
    given = {"method": "solad"}
    changes = ({}, {"assigner_options": {"topk": 13}}, {"method_options": {"cls_weight": 5}})
    assert len({make_parameters({**given, **change}).hash for change in changes}) == 3
    same = {"assigner_options": {"topk": "9"}, "method_options": {"cls_weight": 2}}
    assert make_parameters({**given, **same}).hash == make_parameters(given).hash


def test_options_added_later_are_no_part_of_the_identity_at_the_value_of_earlier_runs():
    default = make_parameters({})
    assert default.identity()["assigner_options"] == {"topk": 9, "min_iou": 0.1, "box_weight": 1.3, "class_weight": 1}
    assert default.hash == "377f04d584"  # that of earlier versions
    old = {**default.model_dump(), "assigner_options": default.identity()["assigner_options"]}
    assert Parameters(**old) == default and hashed_values(old) == hashed_values(default.model_dump())
    changes: tuple[dict, ...] = ({"separation": "b"}, {"separation": "d"}, {"normalize_cost": True})
    hashes = {make_parameters({"assigner_options": change}).hash for change in changes}
    assert len(hashes) == 3 and default.hash not in hashes
    assert make_parameters({"assigner_options": {"separation": "c", "normalize_cost": False}}).hash == default.hash


def test_options_added_later_exist_and_default_to_the_value_of_earlier_runs():
    fields = {"assigner_options": ASSIGNERS.values(), "method_options": [method.options for method in METHODS.values()]}
    for parameter, added in ADDED_OPTIONS.items():
        for name, value in added.items():
            owners = [owner() for owner in fields[parameter] if name in owner.__dataclass_fields__]
            assert owners and all(getattr(owner, name) == value for owner in owners)


def test_a_teachers_own_run_has_the_assigner_options_and_no_method_options():
    given = {"method": "solad", "assigner_options": {"topk": 13}, "method_options": {"cls_weight": 5}}
    teacher = make_parameters(given).of_teacher()
    assert (teacher.method, teacher.method_options) == ("baseline", {})
    assert teacher.assigner_options == dataclasses.asdict(PAA(topk=13))
    assert teacher.hash == make_parameters({**given, "method_options": {}}).of_teacher().hash
    assert teacher.hash != make_parameters({**given, "assigner_options": {}}).of_teacher().hash


def test_a_teacher_may_differ_in_width_and_head():
    parameters = make_parameters({"teacher": "r50", "teacher_width": 0.5, "teacher_head": "cop", "head": "iop"})
    teacher = parameters.of_teacher()
    assert (teacher.student, teacher.width, teacher.head, teacher.iou_branch) == ("r50", 0.5, "cop", True)
    assert (parameters.width, parameters.head) == (0.25, "iop")
    assert make_parameters({"head": "cop", "iou_branch": False}).of_teacher().head == "cop"
    assert not make_parameters({"head": "cop", "iou_branch": False}).of_teacher().iou_branch


def test_a_teacher_is_a_plain_run_and_does_not_depend_on_its_student():
    parameters = make_parameters({"student": "r18", "teacher": "r50", "teacher_epochs": 5, "epochs": 3})
    teacher = parameters.of_teacher()
    assert (teacher.method, teacher.student, teacher.teacher, teacher.epochs) == ("baseline", "r50", None, 5)
    assert teacher.hash == make_parameters({"student": "r34", "teacher": "r50", "epochs": 5}).of_teacher().hash
    assert teacher.hash == make_parameters({"method": "baseline", "student": "r50", "epochs": 5}).hash


def test_a_profiles_teacher_epochs_apply_unless_epochs_are_given():
    assert make_parameters({}).of_teacher().epochs == PROFILES["toy"]["teacher_epochs"] > PROFILES["toy"]["epochs"]
    assert make_parameters({"epochs": 1}).of_teacher().epochs == 1
    assert make_parameters({"epochs": 1, "teacher_epochs": 2}).of_teacher().epochs == 2
    assert make_parameters({"method": "baseline"}).epochs == PROFILES["toy"]["epochs"]


def test_data_is_relative_to_the_current_folder_and_out_to_the_project_by_default(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    parameters = make_parameters({"data": "mine"})
    assert parameters.data == str(tmp_path / "mine")
    assert parameters.out == str(PROJECT / "runs")
    assert make_parameters({"out": "here"}).out == str(tmp_path / "here")
    assert parameters.long_side == 320  # a photograph is not shrunk to the shapes' 128 pixels
    assert make_parameters({"data": "mine", "long_side": 500}).long_side == 500


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"method": "baseline"}, "method 'baseline' has no teacher"),
        ({"method": "soft_label"}, "method 'soft_label' needs the teacher's outputs"),
        ({"method": "solad"}, "method 'solad' needs the teacher's outputs"),
        ({"method": "colad"}, "method 'colad' trains its teacher"),
        ({"profile": "coco_2x_ms"}, "needs images of a fixed size, but short_sides holds 161 to draw from"),
        ({"augment": ["vertical_flip"]}, r"cache_teacher needs the same image .* augment changes it \(vertical_flip\)"),
        ({"assigner": "atss"}, "does not use predictions"),
    ],
)
def test_a_teacher_is_cached_only_if_its_assignments_stay_the_same(given, reason):
    with pytest.raises(ValueError, match=reason):
        make_parameters({"cache_teacher": True, **given})


def test_the_cache_changes_the_hash_but_neither_the_teachers_run_nor_the_baseline():
    uncached, cached = make_parameters({}), make_parameters({"cache_teacher": True})
    assert uncached.hash != cached.hash
    assert uncached.of_teacher() == cached.of_teacher() and uncached.plain() == cached.plain()


def test_parameters_are_read_from_a_runs_json_and_from_yaml(tmp_path):
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


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("params.json", None, "params.json: cannot be read (No such file or directory)"),
        ("params.json", "{", "params.json: "),
        ("params.json", "[1]", "params.json: "),
        ("params.json", '{"criterion": "fisher"}', "params.json: parameter 'criterion' is now called 'cost_selection'"),
        ("params.json", '{"epoch": 3}', "params.json: parameter 'width' is missing; "),
        ("mine.yaml", "epoch: 3", "mine.yaml: parameter 'epoch' is unknown; did you mean 'epochs'?"),
        ("mine.yaml", "epochs: 0", "mine.yaml: epochs=0 only evaluates the detector of init"),
    ],
)
def test_an_invalid_file_of_parameters_raises_one_line_that_names_it(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError) as caught:
        read_parameters(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ") and "\n" not in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"distill": ["pdk"]}, "parameter 'distill' = 'pdk' is not one of .*; did you mean 'pkd'"),
        ({"distill": ["pkd", "pkd"]}, "names a term twice"),
        ({"method": "soft_label", "distill": ["pkd"]}, "distill is for method 'baseline' or 'lad'; leave it out with"),
        ({"distill": ["pkd"], "cache_teacher": True}, "with distill=.* needs the teacher's outputs, not only"),
        ({"distill": ["pkd"], "teacher_cost": "box"}, "with distill=.* needs the teacher's class outputs"),
        ({"distill": ["pkd"], "other_teachers": ["r18"]}, "several teachers are for method 'lad' or 'colad' without"),
        ({"method": "solad", "other_teachers": ["r18"]}, "several teachers are for method 'lad' or 'colad'"),
        ({"method": "baseline", "other_teachers": ["r18"]}, "several teachers are for method 'lad' or 'colad'"),
        ({"other_teachers": ["r18"], "other_teachers_sha256": []}, "other_teachers_sha256 follows from other_teachers"),
        ({"other_teachers": ["nowhere.pth"]}, "parameter 'other_teachers'.*nowhere.pth"),
        ({"teacher_checkpoint": []}, "'teacher_checkpoint' is an empty list"),
        ({"method": "solad", "teach_until": 0.5}, "teach_until is for method 'lad'; leave it out with method 'solad'"),
        ({"teach_until": 1.5}, "teach_until.*less than or equal to 1"),
    ],
)
def test_terms_and_teachers_that_do_not_fit_raise_one_line(given, message):
    with pytest.raises(ValueError, match=message) as caught:
        make_parameters(given)
    assert "\n" not in str(caught.value)


def test_terms_name_the_run_and_give_a_baseline_a_teacher():
    pkd = make_parameters({"method": "baseline", "distill": ["pkd"]})
    both = make_parameters({"distill": ["pkd", "crosskd"]})
    assert (pkd.teacher, pkd.needs_teacher, pkd.method_title) == ("r101", True, "plain + PKD")
    assert pkd.run_name.startswith("toy-baseline-pkd-r50-from-r101-s0-")
    assert both.run_name.startswith("toy-lad-pkd-crosskd-r50-from-r101-s0-")
    assert (both.method_title, both.method_name) == ("LAD + PKD + CrossKD", "lad+pkd+crosskd")
    assert both.of_teacher() == make_parameters({}).of_teacher() and not both.of_teacher().needs_teacher
    assert pkd.plain() == make_parameters({"method": "baseline"})


def test_other_teachers_are_runs_like_the_teachers():
    parameters = make_parameters({"teacher_epochs": 5, "teacher_width": 0.5, "other_teachers": ["r50", "r18"]})
    teacher, *others = parameters.of_teachers()
    assert [other.student for other in others] == ["r50", "r18"]
    assert all((other.epochs, other.width, other.method) == (5, 0.5, "baseline") for other in others)
    assert teacher == parameters.of_teacher() and parameters.teacher_title == "r101 + r50 + r18"
    assert "-from-r101-r50-r18-" in parameters.run_name


def test_the_name_of_a_run_is_that_of_one_folder_and_not_too_long():
    teachers = {"teacher": "r101", "other_teachers": [f"{'x' * 50}.safetensors", "runs/a/model_best.safetensors"]}
    many = make_parameters({}).model_copy(update={**teachers, "other_teachers_sha256": ["1", "2"]})
    assert "-from-r101-and-2-more-s0-" in many.run_name
    best = many.model_copy(update={"other_teachers": many.other_teachers[1:], "other_teachers_sha256": ["2"]})
    assert "/" not in best.run_name and "-from-r101-" in best.run_name
