"""What parameters take from checkpoints: architecture, hash, and the defaults of fine-tuning."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from lad.config.checkpoints import checkpoint_title, read_facts
from lad.config.experiment import Parameters, make_parameters
from lad.config.reading import read_parameters
from lad.models.detector import Detector, build_detector
from lad.models.serialization import save_detector, save_openmmlab, weights_digest

CLASSES = ("circle", "square", "ring")


def make_detector(backbone: str = "r34", **options) -> Detector:
    torch.manual_seed(0)
    detector = build_detector(backbone, 3, **{"width": 0.5, "channels": 96, **options})
    detector.configuration = dataclasses.replace(detector.configuration, class_names=CLASSES)
    return detector


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a detector in both formats, and as a run's."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_detector(make_detector(), folder / "mine.safetensors")
    save_openmmlab(make_detector(), folder / "mine.pth")
    (folder / "a-run").mkdir()
    shutil.copy(folder / "mine.safetensors", folder / "a-run" / "model.safetensors")
    return folder


def test_a_teachers_network_comes_from_its_checkpoint(folder):
    parameters = make_parameters({"teacher_checkpoint": str(folder / "mine.safetensors")})
    network = ("r34", 0.5, "paa", True, 96)
    assert network == (
        parameters.teacher, parameters.teacher_width, parameters.teacher_head, parameters.teacher_iou_branch,
        parameters.teacher_channels,
    )  # fmt: skip
    of_teacher = parameters.of_teacher()
    assert network == (
        of_teacher.student, of_teacher.width, of_teacher.head, of_teacher.iou_branch, of_teacher.channels,
    )  # fmt: skip
    assert of_teacher.epochs == 0 and of_teacher.init == str(folder / "mine.safetensors")
    assert (parameters.student, parameters.width, parameters.channels) == ("r50", 0.25, 64)


def test_a_starting_points_network_is_the_default_of_the_run(folder):
    parameters = make_parameters({"method": "baseline", "init": str(folder / "mine.pth")})
    assert (parameters.student, parameters.width, parameters.channels) == ("r34", 0.5, 96)
    partly = {"method": "baseline", "init": str(folder / "mine.pth"), "init_partial": True, "width": 0.25}
    slimmer = make_parameters(partly)
    assert (slimmer.student, slimmer.width, slimmer.channels) == ("r34", 0.25, 96)


@pytest.mark.parametrize("name", ["init", "teacher_checkpoint"])
def test_a_detector_is_known_by_its_weights_and_not_by_its_place_or_format(name, folder):
    files = [folder / "mine.safetensors", folder / "mine.pth", folder / "a-run", folder / "a-run" / "model.safetensors"]
    method = {"method": "baseline"} if name == "init" else {}
    runs = [make_parameters({**method, name: str(file)}) for file in files]
    assert len({run.run_name for run in runs}) == 1 and len({run.hash for run in runs}) == 1
    assert runs[0].hash != make_parameters(method).hash
    if name == "teacher_checkpoint":
        assert len({run.of_teacher().hash for run in runs}) == 1


def test_the_hash_depends_on_weights_architecture_and_class_names_but_not_on_test_sizes():
    detector = make_detector()
    same, renamed, retrained = make_detector(), make_detector(), make_detector()
    same.configuration = dataclasses.replace(same.configuration, short_side=100)
    renamed.configuration = dataclasses.replace(renamed.configuration, class_names=CLASSES[::-1])
    with torch.no_grad():
        next(retrained.parameters()).flatten()[0] += 1e-3
    assert weights_digest(detector) == weights_digest(same)
    assert len({weights_digest(other) for other in (detector, renamed, retrained)}) == 3


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "model.safetensors"
    save_detector(make_detector(), path)
    before = read_facts(str(path))
    save_detector(make_detector("r18"), path)
    assert read_facts(str(path)).configuration.backbone == "r18" and read_facts(str(path)).digest != before.digest


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"teacher_checkpoint": "{}", "teacher": "r50"}, "'{}' has teacher r34, not 'r50'; leave out teacher"),
        ({"teacher_checkpoint": "{}", "teacher_width": 1}, "has teacher_width 0.5, not 1; leave out teacher_width"),
        ({"init": "{}", "width": 1, "channels": 64}, "has width 0.5, not 1, channels 96, not 64; leave out width and"),
        ({"init": "{}", "width": 1}, "leave out width, or give init_partial=true to load what fits"),
        ({"epochs": 0, "init": "{}", "method": "baseline", "ema": 0.9}, "epochs=0 trains nothing; leave out ema"),
        ({"teacher_part": "ema"}, "teacher_part and teacher_sha256 are for teacher_checkpoint"),
        ({"init_sha256": "12"}, "init_part, init_partial and init_sha256 are for init"),
        ({"teacher_checkpoint": "{}", "teacher_part": "emma"}, "'teacher_part' = 'emma' is not one of student"),
        ({"init": "{}", "init_part": ["ema"]}, "parameter 'init_part' = ['ema'] is not one of student, teacher, ema"),
        ({"init": ""}, "parameter 'init' is empty; give a file, a run's folder or a published name"),
        ({"teacher_checkpoint": "{}", "teacher_epochs": 3}, "is already trained; leave out teacher_epochs"),
        ({"teacher_checkpoint": "{}", "method": "baseline"}, "has no teacher; leave out teacher_checkpoint"),
        ({"teacher_checkpoint": "{}", "teacher_part": "ema"}, "parameter 'teacher_checkpoint': checkpoint"),
        ({"teacher_checkpoint": "{}", "teacher_sha256": "12"}, "its weights have the hash"),
        ({"teacher_checkpoint": "paa_r50_1"}, "did you mean the published 'paa_r50_1x'?"),
        ({"teacher": "r18", "other_teachers": [["r18"]]}, "'other_teachers': ['r18'] is no backbone or detector"),
        ({"other_teachers": ["{}"], "teacher_part": ["a"]}, "'teacher_part' = ['a'] is not one of student"),
        ({"teacher_checkpoint": 7}, "parameter 'teacher_checkpoint' is the number 7, but must be text"),
        ({"teacher_checkpoint": "tests"}, "is a folder without model.safetensors: no finished run"),
        ({"init": "nowhere.pth"}, "parameter 'init' = 'nowhere.pth': no such file or folder"),
        ({"init_partial": True}, "init_part, init_partial and init_sha256 are for init"),
        ({"epochs": 0, "init": "{}"}, "epochs=0 only evaluates the detector of init, with method 'baseline'"),
        ({"teacher_cost": "box", "method": "soft_label"}, "'box' is for method 'lad'; method 'soft_label' needs"),
        ({"teacher_cost": "box", "method": "solad"}, "method 'solad' needs the teacher's class outputs"),
        ({"teacher_cost": "box", "method": "colad"}, "method 'colad' trains its teacher on the classes of the data"),
        ({"teacher_cost": "box", "method": "baseline"}, "method 'baseline' has no teacher"),
        ({"teacher_cost": "boxes"}, "'teacher_cost' = 'boxes' is not one of full, box; did you mean 'box'?"),
        ({"batch_size": 6, "accumulate": 4}, "batch_size=6 must be a multiple of devices=1 · accumulate=4"),
        ({"ema": 1.0}, "parameter 'ema' = 1.0: input should be less than 1"),
    ],
)  # fmt: skip
def test_wrong_parameters_raise_one_line(given, message, folder):
    file = str(folder / "mine.safetensors")
    given = {name: file if value == "{}" else value for name, value in given.items()}
    with pytest.raises(ValueError) as caught:
        make_parameters(given)
    assert message.replace("{}", file) in str(caught.value) and "\n" not in str(caught.value)


def test_the_evaluation_of_a_teacher_is_the_same_for_all_runs_on_its_data(folder):
    given = {"teacher_checkpoint": str(folder / "mine.pth")}
    first = make_parameters(given).of_teacher()
    for changes in (
        {"seed": 3}, {"epochs": 2}, {"lr": 0.5}, {"student": "r18"}, {"batch_size": 2}, {"method": "solad"},
        {"train_images": 8}, {"flip": 0}, {"augment": ["zoom_out"]}, {"cache_teacher": True}, {"ema": 0.9},
        {"width": 0.5},
    ):  # fmt: skip
        assert make_parameters({**given, **changes}).of_teacher() == first, changes
    for changes in ({"test_short_side": 96}, {"data": "mini"}, {"teacher_cost": "box"}, {"assigner": "tal"}):
        assert make_parameters({**given, **changes}).of_teacher().hash != first.hash, changes


def test_the_plain_student_starts_where_the_taught_one_does(folder):
    parameters = make_parameters({"init": str(folder / "mine.pth"), "teacher": "r18"})
    assert parameters.plain().init_sha256 == parameters.init_sha256 is not None
    teacher, alone = parameters.of_teacher(), make_parameters({"teacher": "r18", "width": 0.5, "channels": 96})
    assert teacher == alone.of_teacher() and teacher.init is None


def test_fine_tuning_in_the_coco_profiles_has_a_lower_learning_rate_and_leaves_the_first_layers(folder, tmp_path):
    given = {"method": "baseline", "profile": "coco_1x", "data": str(tmp_path)}
    tuned = make_parameters({**given, "init": str(folder / "mine.pth")})
    assert (tuned.lr, tuned.weights, tuned.frozen_stages, tuned.norm_eval) == (0.001, "none", 1, True)
    assert tuned.explain_defaults() == [
        "fine-tuning from mine: lr 0.001 (0.1 of the profile's), frozen_stages 1, norm_eval True; give them for others"
    ]
    own = make_parameters({**given, "init": str(folder / "mine.pth"), "lr": 0.5, "norm_eval": False})
    assert (own.lr, own.norm_eval, own.frozen_stages) == (0.5, False, 1) and own.explain_defaults() == []
    half = make_parameters({**given, "init": str(folder / "mine.pth"), "batch_size": 8})
    assert half.lr == 0.0005 and len(half.explain_defaults()) == 2


def test_fine_tuning_in_profiles_from_scratch_keeps_their_values(folder):
    scratch, tuned = make_parameters({"method": "baseline"}), {"method": "baseline", "init": str(folder / "mine.pth")}
    for name in ("lr", "frozen_stages", "norm_eval", "weights"):
        assert getattr(make_parameters(tuned), name) == getattr(scratch, name)
    (line,) = make_parameters(tuned).explain_defaults()
    assert line == "fine-tuning from mine: lr 0.002, frozen_stages -1, norm_eval False; give them for others"
    assert scratch.explain_defaults() == []


@pytest.mark.parametrize("profile", ["coco_1x", "coco_2x_ms"])
def test_the_learning_rate_of_the_coco_profiles_scales_with_the_batch_size(profile, tmp_path):
    given = {"profile": profile, "data": str(tmp_path)}
    default, half = make_parameters(given), make_parameters({**given, "batch_size": 8})
    assert half.lr == default.lr / 2 == half.of_teacher().lr and default.explain_defaults() == []
    assert half.explain_defaults() == [
        "lr 0.005: 0.01, the default for batch_size 16, scaled to batch_size 8; give lr for another"
    ]
    assert make_parameters({**given, "batch_size": 8, "accumulate": 4}).lr == half.lr
    given_lr = make_parameters({**given, "batch_size": 8, "lr": 0.01})
    assert given_lr.lr == 0.01 and given_lr.explain_defaults() == []
    assert make_parameters({**given, "batch_size": 32, "student": "swin_t"}).lr == pytest.approx(2e-4)
    assert make_parameters({**given, "batch_size": "8"}).hash == half.hash
    for wrong in (0, -4, 10**400, "many"):
        with pytest.raises(ValueError, match=r"^parameter 'batch_size' = [^;]*$"):
            make_parameters({**given, "batch_size": wrong})


def test_other_profiles_keep_their_learning_rate():
    assert make_parameters({"batch_size": 4}).lr == make_parameters({}).lr


def test_stored_parameters_are_read_without_the_checkpoint(tmp_path):
    path = tmp_path / "model.safetensors"
    save_detector(make_detector(), path)
    parameters = make_parameters({"teacher_checkpoint": str(path)})
    path.unlink()
    (tmp_path / "params.json").write_text(parameters.model_dump_json())
    assert read_parameters(tmp_path / "params.json") == parameters
    assert Parameters(**parameters.model_dump()) == parameters


def test_a_slim_student_of_the_coco_profiles_has_a_teacher_from_scratch(folder, tmp_path):
    """ImageNet weights exist for width 1 only."""
    given = {"profile": "coco_1x", "data": str(tmp_path), "init": str(folder / "mine.pth"), "teacher": "r18"}
    teacher = make_parameters(given).of_teacher()
    assert (teacher.weights, teacher.frozen_stages, teacher.norm_eval) == ("none", -1, False)
    wide = make_parameters({**given, "teacher_width": 1}).of_teacher()
    assert (wide.weights, wide.frozen_stages, wide.norm_eval, wide.lr) == ("imagenet", 1, True, 0.01)


def test_numbers_as_text_are_the_same_numbers(folder):
    given = {"teacher_checkpoint": str(folder / "mine.pth"), "teacher_width": "0.5", "teacher_channels": "96"}
    assert make_parameters(given).teacher_width == 0.5


def test_titles_are_published_names_runs_or_file_names(tmp_path):
    titles = {
        "paa_r50_1x": "paa_r50_1x",
        "/runs/toy-lad-1/model.safetensors": "toy-lad-1",
        "/files/best.v2.pth": "best.v2",
        "https://example.org/files/net-0a1825a4.pth": "net-0a1825a4",
    }
    assert {checkpoint: checkpoint_title(checkpoint) for checkpoint in titles} == titles
    (tmp_path / "a-run" / "epochs").mkdir(parents=True)
    (tmp_path / "a-run" / "params.json").touch()
    assert checkpoint_title(str(tmp_path / "a-run" / "model_best.safetensors")) == "a-run/model_best"
    assert checkpoint_title(str(tmp_path / "a-run" / "epochs" / "0005.safetensors")) == "a-run/0005"


def test_a_list_of_checkpoints_is_a_teacher_and_others_known_by_their_weights(folder, tmp_path):
    first, second = folder / "mine.safetensors", tmp_path / "copy.safetensors"
    second.write_bytes(first.read_bytes())
    alone = make_parameters({"teacher_checkpoint": [str(first)]})
    assert alone.other_teachers == [] and alone == make_parameters({"teacher_checkpoint": str(first)})
    both, moved = (make_parameters({"teacher_checkpoint": [str(first), str(other)]}) for other in (first, second))
    assert both.hash == moved.hash != alone.hash
    assert both.other_teachers_sha256 == [both.teacher_sha256]
    evaluations = both.of_teachers()
    assert len(evaluations) == 2 and evaluations[0].hash == evaluations[1].hash
    assert make_parameters({**both.model_dump()}) == both
    with pytest.raises(ValueError, match="its weights have the hash"):
        make_parameters({**both.model_dump(), "other_teachers_sha256": ["0" * 16]})
