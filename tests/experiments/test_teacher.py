"""Teachers from checkpoints, and starts from detectors: the same numbers as from the run that made them."""

import dataclasses
import hashlib
import io
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from local_server import LocalServer, serve
from tiny_runs import tiny

from lad.config.experiment import Parameters
from lad.data.annotations import read_annotations
from lad.data.coco import find_split
from lad.distillation.assignment_cache import CACHE_FILES
from lad.experiments import run_results, runner
from lad.experiments.leaderboard import results_table, style_table
from lad.experiments.run_store import Run, find_run, finished_runs, networks_of, open_run
from lad.experiments.runner import compare, run_experiment
from lad.experiments.setup import build_networks, initial_detector
from lad.models.detector import Detector, build_detector
from lad.models.openmmlab import to_openmmlab_state
from lad.models.serialization import load_detector, save_detector, save_openmmlab
from lad.models.transfer import with_classes
from lad.models.zoo import CHECKPOINTS
from lad.report.compare_runs import headline

ONE = {"epochs": 1, "teacher_epochs": None, "seed": 3}


@pytest.fixture(scope="session")
def teacher_file(trained_runs) -> Path:
    """The file of a trained teacher."""
    return trained_runs["teacher"].weights_file()


@pytest.fixture
def classes(shapes) -> tuple[str, ...]:
    return read_annotations(find_split(shapes, "train")[1]).class_names


def taught(shapes: Path, out: Path, checkpoint: Path | list[str], **changes) -> Parameters:
    return tiny(shapes, out, **{"method": "lad", "seed": 3, "teacher_checkpoint": checkpoint, **changes})


def renamed(detector: Detector, names: tuple[str, ...]) -> Detector:
    detector.configuration = dataclasses.replace(detector.configuration, class_names=names)
    return detector


def save_foreign(path: Path, names: tuple[str, ...] = ("cat", "dog"), bias: float = 0.0, **options) -> Path:
    """Save an untrained detector of these classes, with a bias of all classes."""
    torch.manual_seed(1)
    build = {"backbone": "r18", "num_classes": len(names), "width": 0.25, "channels": 64, **options}
    detector = renamed(build_detector(**build), names)
    with torch.no_grad():
        detector.head.cls.bias += bias
    save_detector(detector, path)
    return path


def test_lad_from_a_teachers_file_is_lad_from_its_run_in_any_format_and_order_of_classes(
    shapes, trained_runs, teacher_file, classes, tmp_path
):
    expected = trained_runs["lad"].weights_file().read_bytes()
    save_openmmlab(load_detector(teacher_file), tmp_path / "copy.pth")
    save_detector(with_classes(load_detector(teacher_file), classes[::-1]), tmp_path / "reversed.safetensors")
    runs = [
        run_experiment(taught(shapes, tmp_path / "runs", file))
        for file in (teacher_file, tmp_path / "copy.pth", tmp_path / "reversed.safetensors")
    ]
    assert [run.weights_file().read_bytes() == expected for run in runs] == [True] * 3
    assert runs[0].folder == runs[1].folder != runs[2].folder  # the same weights; other weights, the same numbers
    for run in runs:
        assert run.results["teacher"]["AP"] == trained_runs["teacher"].metrics["AP"]
        assert run.results["teacher"]["title"] == run.parameters.teacher_title


def test_co_learning_from_a_teachers_file_is_co_learning_from_its_run(shapes, trained_runs, teacher_file, tmp_path):
    own = tiny(shapes, tmp_path, method="colad", teacher="r18", teacher_epochs=2, epochs=1, seed=3)
    from_run = run_experiment(own)
    from_file = run_experiment(taught(shapes, tmp_path, teacher_file, method="colad", epochs=1))
    assert from_run.parameters.hash != from_file.parameters.hash
    for network in (from_run, from_run.teacher_network()):
        other = from_file if network.network == "student" else from_file.teacher_network()
        assert network.weights_file().read_bytes() == other.weights_file().read_bytes()


@pytest.mark.parametrize("method", ["lad", "soft_label", "solad"])
def test_a_teacher_of_another_architecture_teaches(method, shapes, classes, tmp_path):
    file = save_foreign(tmp_path / "wide.safetensors", classes, backbone="r34", channels=96, width=0.5, head="cop")
    run = run_experiment(taught(shapes, tmp_path, file, method=method, epochs=1))
    assert (run.parameters.teacher, run.parameters.channels) == ("r34", 64)
    assert networks_of(run)["teacher"].load_detector().configuration.channels == 96


def test_a_teacher_is_evaluated_once_for_all_seeds_and_methods_and_shown_in_tables_by_its_name(
    shapes, teacher_file, tmp_path, monkeypatch
):
    evaluated = []
    train = runner.train

    def counted(parameters, *arguments):
        evaluated.append(parameters.epochs)
        return train(parameters, *arguments)

    monkeypatch.setattr(runner, "train", counted)
    for changes in ({"epochs": 1}, {"epochs": 1, "seed": 4}, {"epochs": 1, "method": "solad", "batch_size": 2}):
        runs = compare(taught(shapes, tmp_path, teacher_file, **changes))
    assert evaluated.count(0) == 1
    assert list(runs) == ["plain student", "teacher", "SoLAD student"]
    table = results_table(runs)
    name = teacher_file.parent.name
    assert list(table["network"]) == ["r18", f"r18 ({name})", f"r18 ← {name}"]
    assert table["method"]["teacher"] == "checkpoint" and table["AP"]["teacher"] == runs["teacher"].metrics["AP"]


def test_a_teacher_without_the_datas_classes_is_refused_before_anything_is_trained(shapes, tmp_path):
    file = save_foreign(tmp_path / "animals.safetensors")
    for run in (run_experiment, compare):
        with pytest.raises(
            ValueError, match=r"has no class circle, .*; it has cat, dog; give a .* teacher_cost=box to"
        ):
            run(taught(shapes, tmp_path / "runs", file))
    with pytest.raises(ValueError, match=r"it has cat, dog; give a teacher of the classes of the data$"):
        run_experiment(taught(shapes, tmp_path / "runs", file, method="soft_label"))
    assert finished_runs(tmp_path / "runs") == [] and not list((tmp_path / "runs").glob("*/checkpoint-*"))


def test_with_the_cost_of_boxes_a_teacher_of_other_classes_teaches_and_is_judged_by_its_boxes(
    shapes, trained_runs, teacher_file, classes, tmp_path, capsys
):
    """A trained teacher whose classes are called something else."""
    names = tuple(f"thing {number}" for number in range(len(classes)))
    save_detector(renamed(load_detector(teacher_file), names), tmp_path / "things.safetensors")
    runs = compare(taught(shapes, tmp_path, tmp_path / "things.safetensors", teacher_cost="box"))
    teacher, student = runs["teacher"], runs["LAD student"]
    assert teacher.results["ignores_classes"] and tuple(teacher.results["class_names"]) == names
    assert teacher.metrics["AP"] >= trained_runs["teacher"].metrics["AP"]  # a wrong class is no error now
    assert "of its boxes, whatever their class" in capsys.readouterr().out
    assert student.weights_file().read_bytes() != trained_runs["lad"].weights_file().read_bytes()
    assert teacher.assigner.class_weight == 0 and student.assigner.class_weight == 1
    # The classes do not matter at all: the right ones, under the same parameters, give the same student.
    right = run_experiment(taught(shapes, tmp_path, teacher_file, teacher_cost="box"))
    assert right.weights_file().read_bytes() == student.weights_file().read_bytes()
    assert right.folder != student.folder and not right.results["teacher"]["ignores_classes"]


def test_with_the_cost_of_boxes_a_cached_teacher_gives_the_same_student(shapes, tmp_path):
    file = save_foreign(tmp_path / "animals.safetensors")
    runs = [
        run_experiment(taught(shapes, tmp_path, file, teacher_cost="box", epochs=1, cache_teacher=cached))
        for cached in (False, True)
    ]
    assert runs[0].weights_file().read_bytes() == runs[1].weights_file().read_bytes()


def test_the_cache_belongs_to_the_teachers_weights(shapes, teacher_file, tmp_path, monkeypatch):
    """A run is interrupted after its first epoch; its cache is not used with another teacher."""

    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    parameters = taught(shapes, tmp_path, teacher_file, cache_teacher=True, epochs=1)
    monkeypatch.setattr(run_results, "save_detector", interrupted)
    run_experiment_of_teacher = parameters.of_teacher()
    monkeypatch.undo()
    run_experiment(run_experiment_of_teacher)
    monkeypatch.setattr(run_results, "save_detector", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(parameters)
    (cache,) = (tmp_path / parameters.run_name).glob(CACHE_FILES)
    key = json.loads(cache.open("rb").readline())
    assert key["teacher"] == find_run(parameters.of_teacher()).results["weights_sha256"]


def test_a_poor_teacher_is_announced_in_one_line(shapes, classes, tmp_path, capsys):
    file = save_foreign(tmp_path / "blind.safetensors", classes, bias=-20)
    run_experiment(taught(shapes, tmp_path, file, epochs=1))
    out = capsys.readouterr().out
    assert re.search(r"^teacher blind: AP 0\.000 on the validation set$", out, re.M)
    (warning,) = re.findall(r"^warning: .*$", out, re.M)
    assert "finds almost nothing here; likely causes: its classes" in warning
    assert f"({', '.join(classes[:5])} and {len(classes) - 5} more)" in warning
    assert "images of another size (here short side 128, long side 128)" in warning and "normalization" in warning


def test_a_teacher_worse_than_the_plain_student_is_announced_in_one_line(shapes, teacher_file, tmp_path, capsys):
    parameters = taught(shapes, tmp_path, teacher_file, epochs=1)
    plain = run_experiment(parameters.plain())
    results = {**plain.results, "metrics": {**plain.metrics, "AP": 0.9}}
    (plain.folder / "results.json").write_text(json.dumps(results))
    teacher = run_experiment(parameters.of_teacher())
    better = {**teacher.results, "metrics": {**teacher.metrics, "AP": 0.5}}
    (teacher.folder / "results.json").write_text(json.dumps(better))
    capsys.readouterr()
    run_experiment(parameters)
    name = teacher_file.parent.name
    expected = f"warning: teacher {name} (AP 0.500) is worse than the plain student (AP 0.900), and may make its "
    assert expected in capsys.readouterr().out


def test_a_teachers_file_that_changed_since_is_refused(shapes, classes, tmp_path):
    file = save_foreign(tmp_path / "teacher.safetensors", classes)
    parameters = taught(shapes, tmp_path, file, epochs=1)
    save_foreign(file, classes, head="cop")
    with pytest.raises(ValueError, match=r"teacher\.safetensors': its weights have the hash \w{16}, not \w{16} "):
        run_experiment(parameters)


def start_from(shapes: Path, out: Path, checkpoint: Path, **changes) -> Parameters:
    return tiny(shapes, out, **{"init": str(checkpoint), **changes})


def test_a_run_of_no_epochs_is_the_evaluation_of_a_checkpoint(shapes, trained_runs, teacher_file, tmp_path, capsys):
    run = run_experiment(start_from(shapes, tmp_path, teacher_file, epochs=0))
    assert run.metrics == trained_runs["teacher"].metrics and run.epochs == [] and run.saved_epochs == []
    assert f"evaluated {teacher_file.parent.name} (AP {run.metrics['AP']:.3f})" in capsys.readouterr().out
    assert torch.equal(
        load_detector(teacher_file).state_dict()["head.cls.weight"], run.load_detector().state_dict()["head.cls.weight"]
    )


def test_a_run_starts_from_all_weights_of_a_detector_of_its_classes(shapes, teacher_file, classes, tmp_path):
    detector = initial_detector(start_from(shapes, tmp_path, teacher_file), classes)
    source = load_detector(teacher_file).state_dict()
    assert all(torch.equal(value, source[name]) for name, value in detector.state_dict().items())


def test_another_classifier_is_initialized_and_said(shapes, classes, tmp_path, capsys):
    file = save_foreign(tmp_path / "animals.safetensors")
    parameters = start_from(shapes, tmp_path, file)
    torch.manual_seed(parameters.seed)
    detector = initial_detector(parameters, classes)
    source = load_detector(file).state_dict()
    own = detector.state_dict()
    assert all(torch.equal(own[name], value) for name, value in source.items() if not name.startswith("head.cls."))
    assert own["head.cls.weight"].shape[0] == len(classes) and len(own["head.cls.bias"].unique()) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"init '{file}': not loaded: head.cls.bias, head.cls.weight (classifier of cat, dog)"


def test_a_detector_that_does_not_fit_needs_init_partial(shapes, classes, tmp_path, capsys):
    file = save_foreign(tmp_path / "cop.safetensors", classes, head="cop", channels=96)
    with pytest.raises(ValueError, match=r"has head cop, not 'paa', channels 96, not 64; leave out head and"):
        start_from(shapes, tmp_path, file, head="paa", channels=64)
    parameters = start_from(shapes, tmp_path, file, head="paa", channels=64, init_partial=True)
    detector, source = initial_detector(parameters, classes), load_detector(file)
    for name, value in source.backbone.state_dict().items():
        assert torch.equal(detector.backbone.state_dict()[name], value)
    assert "not loaded: fpn." in capsys.readouterr().out


def save_unnamed(path: Path, num_classes: int) -> Path:
    """Save an OpenMMLab checkpoint without class names."""
    torch.manual_seed(2)
    detector = build_detector("r18", num_classes, 0.25, channels=64)
    torch.save({"meta": {}, "state_dict": to_openmmlab_state(detector)}, path)
    return path


@pytest.mark.parametrize("num_classes", [2, 80])
def test_a_detector_of_another_number_of_unnamed_classes_is_judged_and_teaches_by_its_boxes(
    num_classes, shapes, tmp_path
):
    file = save_unnamed(tmp_path / "unnamed.pth", num_classes)
    with pytest.raises(ValueError, match=f"has {num_classes} classes without names, not 6; .* or teacher_cost=box"):
        run_experiment(taught(shapes, tmp_path, file))
    run = run_experiment(taught(shapes, tmp_path, file, teacher_cost="box", epochs=1))
    assert run.results["teacher"]["ignores_classes"]


def test_unnamed_classes_of_the_right_number_are_taken_for_the_datas_and_said(shapes, classes, tmp_path, capsys):
    run = run_experiment(taught(shapes, tmp_path, save_unnamed(tmp_path / "unnamed.pth", 6), epochs=1))
    assert "unnamed.pth' has no class names: its classes are taken for the 6 of the data" in capsys.readouterr().out
    assert not run.results["teacher"]["ignores_classes"]


def test_a_teacher_is_evaluated_again_when_the_data_changed(shapes, trained_runs, teacher_file, tmp_path):
    """The order of the classes is reversed in the annotations: its classifier is permuted anew."""
    data = tmp_path / "data"
    shutil.copytree(shapes, data)
    first = run_experiment(taught(data, tmp_path, teacher_file, epochs=1))
    for path in data.rglob("instances_*.json"):
        content = json.loads(path.read_text())
        names = [category["name"] for category in content["categories"]][::-1]
        for category, name in zip(content["categories"], names, strict=True):
            category["name"] = name
        last = len(names) + 1
        for gt in content["annotations"]:
            gt["category_id"] = last - gt["category_id"]
        path.write_text(json.dumps(content))
    second = run_experiment(taught(data, tmp_path, teacher_file, epochs=1, seed=4))
    assert second.results["teacher"]["name"] == first.results["teacher"]["name"] + "-2"
    assert second.results["teacher"]["AP"] == pytest.approx(first.results["teacher"]["AP"])
    teacher = networks_of(second)["teacher"]
    assert teacher.class_names == second.class_names == first.class_names[::-1]
    own = tiny(data, tmp_path, method="lad", teacher="r18", seed=9, epochs=1)
    other = run_experiment(own.of_teacher())
    (other.folder / "results.json").write_text(json.dumps({**other.results, "class_names": ["a", "b"]}))
    with pytest.raises(ValueError, match=r"was trained on a, b, but the data set now has ring, .*; move its"):
        run_experiment(own)


def test_a_run_goes_on_without_the_files_that_it_has_read(shapes, classes, tmp_path, monkeypatch):
    """It is interrupted before its end; then the teacher's file and the one that it started from are deleted."""
    teacher = save_foreign(tmp_path / "teacher.safetensors", classes)
    start = save_foreign(tmp_path / "start.safetensors", classes, bias=0.1)
    expected = run_experiment(taught(shapes, tmp_path / "whole", teacher, init=str(start), epochs=1))
    parameters = taught(shapes, tmp_path / "interrupted", teacher, init=str(start), epochs=1)

    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_results, "save_detector", lambda detector, path: save_detector(detector, path))
    run_experiment(parameters.of_teacher())
    monkeypatch.setattr(run_results, "save_detector", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(parameters)
    monkeypatch.undo()
    teacher.unlink()
    start.unlink()
    resumed = run_experiment(parameters)
    assert resumed.weights_file().read_bytes() == expected.weights_file().read_bytes()


def test_an_ap_of_boxes_alone_is_marked_and_never_the_best(shapes, classes, tmp_path):
    run = run_experiment(start_from(shapes, tmp_path, save_foreign(tmp_path / "animals.safetensors"), epochs=0))
    plain = run_experiment(tiny(shapes, tmp_path, epochs=1))
    (run.folder / "results.json").write_text(json.dumps({**run.results, "metrics": {**run.metrics, "AP": 0.9}}))
    runs = {"boxes": open_run(run.folder), "plain": plain}
    table = results_table(runs)
    assert list(table["method"]) == ["checkpoint, boxes only", "baseline"] and math.isnan(table["min"]["boxes"])
    bold = re.findall(r"#\S+row(\d)_col2", style_table(table, mark_best=True).to_html().split("</style>")[0])
    assert bold == ["1"]
    assert "r18 (animals)" not in headline(runs)
    assert run.assigner.class_weight == 0  # its class logits do not belong to the gts' labels


def test_a_taught_student_may_start_from_a_detector_too(shapes, teacher_file, classes, tmp_path):
    parameters = taught(shapes, tmp_path, teacher_file, init=str(teacher_file), epochs=1)
    student, teacher = build_networks(parameters, classes, load_detector(teacher_file), torch.device("cpu"))
    assert torch.equal(student.head.cls.weight, teacher.head.cls.weight)
    assert run_experiment(parameters).parameters.init_sha256 == parameters.teacher_sha256


def test_fine_tuning_says_its_defaults(shapes, teacher_file, tmp_path, capsys):
    run_experiment(start_from(shapes, tmp_path, teacher_file, epochs=1))
    expected = r"^fine-tuning from .*: lr \S+, frozen_stages -1, norm_eval False; give them for others$"
    assert re.search(expected, capsys.readouterr().out, re.M)


def test_runs_from_checkpoints_are_ordinary_runs(shapes, teacher_file, tmp_path):
    run = run_experiment(taught(shapes, tmp_path, teacher_file, epochs=1))
    assert isinstance(find_run(run.parameters), Run) and networks_of(run)["teacher"].results["finished"]
    assert {other.name for other in finished_runs(tmp_path)} == {run.name, run.results["teacher"]["name"]}


@pytest.fixture
def published(tmp_path, monkeypatch) -> Iterator[LocalServer]:
    """A server of paa_r50_1x and paa_r101_2x, two small detectors of COCO's classes as OpenMMLab publishes them."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with serve() as server:
        for name, width in {"paa_r50_1x": 0.25, "paa_r101_2x": 0.125}.items():
            torch.manual_seed(0)
            state = to_openmmlab_state(build_detector("r18", 80, width, channels=64))
            content = io.BytesIO()
            torch.save({"meta": {"mmdet_version": "2.10.0"}, "state_dict": state}, content)
            digits = hashlib.sha256(content.getvalue()).hexdigest()[:8]
            server.files[f"/{name}-{digits}.pth"] = content.getvalue()
            entry = dataclasses.replace(CHECKPOINTS[name], url=f"{server.url}/{name}-{digits}.pth")
            monkeypatch.setitem(CHECKPOINTS, name, entry)
        yield server


def test_published_names_start_a_student_and_teach_it(shapes, published, tmp_path):
    """As in docs/fine_tuning.md: the data's classes are not COCO's."""
    given = {"method": "lad", "student": None, "init": "paa_r50_1x", "teacher_checkpoint": "paa_r101_2x", "epochs": 1}
    with pytest.raises(
        ValueError, match=r"teacher_checkpoint 'paa_r101_2x' has no class circle, .*; it has person, bic"
    ):
        run_experiment(tiny(shapes, tmp_path, **given))
    runs = compare(tiny(shapes, tmp_path, **given, teacher_cost="box"))
    assert [row["network"] for _, row in results_table(runs).iterrows()] == [
        "r18 (paa_r50_1x)", "r18 (paa_r101_2x)", "r18 (paa_r50_1x) ← paa_r101_2x",
    ]  # fmt: skip
    parameters = runs["LAD student"].parameters
    assert (parameters.width, parameters.teacher_width) == (0.25, 0.125)
    assert runs["teacher"].class_names[:2] == ["person", "bicycle"] and len(runs["teacher"].class_names) == 80
    assert len(published.requests) == 2  # each file is downloaded once


def test_a_published_teacher_teaches_the_classes_that_it_knows(real_data, published, tmp_path):
    """coco_ccby320 has COCO's classes: no retraining, no permutation by hand."""
    run = run_experiment(
        tiny(
            real_data("coco_ccby320"), tmp_path, method="lad", teacher_checkpoint="paa_r101_2x", epochs=1, student="r18"
        )
    )
    assert not run.results["teacher"]["ignores_classes"] and run.results["teacher"]["title"] == "paa_r101_2x"


def test_two_teachers_from_files_teach_together_and_are_recorded(shapes, teacher_file, classes, tmp_path):
    second = save_foreign(tmp_path / "second.safetensors", classes)
    runs = compare(taught(shapes, tmp_path / "runs", [str(teacher_file), str(second)], epochs=1))
    assert list(runs) == ["plain student", "teacher", "teacher 2", "LAD student"]
    results = runs["LAD student"].results
    assert results["teacher"]["title"] == teacher_file.parent.name
    assert [other["title"] for other in results["other_teachers"]] == ["second"]
    assert results["other_teachers"][0]["AP"] == runs["teacher 2"].metrics["AP"]


def test_the_same_teacher_twice_teaches_what_it_teaches_once(shapes, trained_runs, teacher_file, tmp_path):
    run = run_experiment(taught(shapes, tmp_path, [str(teacher_file)] * 2))
    assert run.weights_file().read_bytes() == trained_runs["lad"].weights_file().read_bytes()


@pytest.mark.parametrize("term", ["pkd", "crosskd"])
def test_a_term_reaches_a_teacher_of_another_width_through_an_adapter_that_no_export_holds(
    term, shapes, classes, tmp_path
):
    file = save_foreign(tmp_path / "wide.safetensors", classes, channels=96, width=0.5)
    run = run_experiment(
        taught(shapes, tmp_path, file, method="baseline", distill=[term], epochs=1, save_epochs=True, ema=0.9)
    )
    for saved in (run.weights_file(), run.weights_file(1), run.folder / "model_raw.safetensors"):
        assert load_detector(saved).configuration.channels == 64
    assert all(line[name] > 0 for line in run.epochs for name in line if name.startswith(term))


def test_a_teacher_that_is_heard_in_no_epoch_changes_nothing(shapes, trained_runs, teacher_file, tmp_path):
    run = run_experiment(taught(shapes, tmp_path, teacher_file, teach_until=0.0, seed=1))
    assert run.weights_file().read_bytes() == trained_runs["plain"].weights_file().read_bytes()
