"""An experiment is one folder: trained once, reused, resumed, and reproducible."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from PIL import Image
from tiny_runs import tiny

from lad.config.experiment import Parameters
from lad.config.identity import without_added
from lad.data.augmentation import AUGMENTATIONS
from lad.data.validation.checker import validate_folder
from lad.evaluation.coco_eval import METRICS
from lad.experiments import runner
from lad.experiments.evaluate import evaluate_checkpoint, resolve_evaluation_config
from lad.experiments.leaderboard import results_table
from lad.experiments.run_store import find_run, finished_runs, is_training
from lad.experiments.runner import compare, run_experiment
from lad.experiments.setup import open_data
from lad.explorer.config import make_explorer_config
from lad.explorer.session import open_session
from lad.models.serialization import load_detector
from lad.training import step, trainer
from lad.training.metrics_file import append_metrics

compile_in_place = torch.nn.Module.compile


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_the_weights_before_training_and_after_every_epoch_are_saved(shapes, tmp_path):
    run = run_experiment(tiny(shapes, tmp_path))
    assert run.saved_epochs == [0, 1, 2]
    first, last = (run.load_detector(epoch).state_dict() for epoch in (0, 2))
    trained = run.load_detector().state_dict()
    assert all(torch.equal(last[name], value) for name, value in trained.items())
    assert not torch.equal(first["head.cls.bias"], trained["head.cls.bias"])


def test_both_networks_of_co_learning_are_saved(shapes, tmp_path):
    run = run_experiment(tiny(shapes, tmp_path, method="colad", teacher="r18", epochs=1))
    assert run.saved_epochs == run.teacher_network().saved_epochs == [0, 1]
    saved, trained = (run.teacher_network().load_detector(epoch).state_dict() for epoch in (1, None))
    assert all(torch.equal(saved[name], value) for name, value in trained.items())


def test_epochs_are_saved_only_with_save_epochs_which_does_not_change_the_runs_hash(shapes, tmp_path):
    parameters = tiny(shapes, tmp_path, save_epochs=False, epochs=1)
    run = run_experiment(parameters)
    assert run.saved_epochs == [] and parameters.hash == tiny(shapes, tmp_path, epochs=1).hash


def without_times(run) -> list[dict]:
    return [{key: value for key, value in line.items() if "seconds" not in key} for line in run.epochs]


def test_a_runs_folder_has_its_parameters_metrics_results_and_weights(shapes, tmp_path):
    parameters = tiny(shapes, tmp_path)
    run = run_experiment(parameters)
    assert run.folder == tmp_path / parameters.run_name
    assert {path.name for path in run.folder.iterdir()} - {"lock"} == {
        "code.json", "epochs", "metrics.jsonl", "model.safetensors", "model_best.safetensors", "params.json",
        "results.json",
    }  # fmt: skip
    assert Parameters(**json.loads((run.folder / "params.json").read_text())) == parameters
    assert set(run.results["metrics"]) == set(METRICS)
    assert {"torch", "torchvision", "pycocotools", "python"} <= set(run.results["versions"])
    assert run.results["seed"] == 0 and run.results["training_images"] == 12 and run.results["hardware"]["cpu_cores"]
    assert [line["epoch"] for line in run.epochs] == [1, 2]
    assert {"loss", "cls", "box", "iou", "grad_norm", "positives_per_gt", "lr"} <= set(run.epochs[0])
    detector = run.load_detector()
    assert not detector.training and not any(parameter.requires_grad for parameter in detector.parameters())


def test_the_best_epoch_is_kept_beside_the_last_and_named_in_the_results(shapes, tmp_path):
    run = run_experiment(tiny(shapes, tmp_path, eval_every=1, epochs=3))
    aps = [line["AP"] for line in run.epochs]
    best = 1 + aps.index(max(aps))
    assert run.results["best"] == {"epoch": best, "AP": max(aps)} and run.results["teacher_best"] is None
    kept, of_epoch = load_detector(run.folder / "model_best.safetensors"), run.load_detector(best)
    assert all(torch.equal(of_epoch.state_dict()[name], value) for name, value in kept.state_dict().items())


@pytest.mark.parametrize("method", ["baseline", "colad"])
def test_with_ema_the_average_is_evaluated_and_the_raw_weights_are_saved_beside_it(method, shapes, tmp_path):
    teacher = {"teacher": "r18"} if method == "colad" else {}
    run = run_experiment(tiny(shapes, tmp_path, method=method, ema=0.9, epochs=1, **teacher))
    plain = run_experiment(tiny(shapes, tmp_path, method=method, epochs=1, **teacher))
    names = {"model": run, "teacher": run.teacher_network()} if method == "colad" else {"model": run}
    for name, network in names.items():
        raw = load_detector(run.folder / f"{name}_raw.safetensors").state_dict()
        average = network.load_detector().state_dict()
        trained_without = load_detector(plain.folder / f"{name}.safetensors").state_dict()
        assert all(torch.equal(raw[key], value) for key, value in trained_without.items())
        assert any(not torch.equal(raw[key], value) for key, value in average.items())
    assert run.metrics != plain.metrics and run.epochs[0]["loss"] == plain.epochs[0]["loss"]
    assert not (plain.folder / "model_raw.safetensors").exists()


def test_the_same_parameters_give_the_same_numbers_and_another_seed_different_ones(shapes, tmp_path):
    first = run_experiment(tiny(shapes, tmp_path / "first"))
    second = run_experiment(tiny(shapes, tmp_path / "second"))
    other = run_experiment(tiny(shapes, tmp_path / "first", seed=1))
    assert without_times(first) == without_times(second)
    assert weights(first.folder) == weights(second.folder)
    assert first.results["metrics"] == second.results["metrics"]
    assert weights(first.folder) != weights(other.folder)


def test_a_finished_run_is_reused_and_not_trained_again(shapes, tmp_path, monkeypatch):
    parameters = tiny(shapes, tmp_path)
    run = run_experiment(parameters)
    monkeypatch.setattr(runner, "train", lambda *_: pytest.fail("trained again"))
    again = run_experiment(parameters)
    assert again.results == run.results
    assert [finished.folder for finished in finished_runs(tmp_path)] == [run.folder]


def interrupt(parameters: Parameters, epochs_done: int) -> None:
    """Train a run and interrupt it in the epoch after `epochs_done` epochs."""
    train_epoch = trainer.train_epoch

    def interrupted(run_trainer, batches, progress, interrupt):
        if progress.epoch == epochs_done:
            raise KeyboardInterrupt
        return train_epoch(run_trainer, batches, progress, interrupt)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer, "train_epoch", interrupted)
        run_experiment(parameters)
    assert find_run(parameters) is None


def test_an_interrupted_run_resumes_to_the_weights_of_an_uninterrupted_one(shapes, tmp_path):
    whole = run_experiment(tiny(shapes, tmp_path / "whole", epochs=3))
    parameters = tiny(shapes, tmp_path / "interrupted", epochs=3)
    interrupt(parameters, epochs_done=2)
    # As after a kill between the metrics of an epoch and its checkpoint: the epoch must not have two lines.
    folder = Path(parameters.out) / parameters.run_name
    append_metrics(folder, {"epoch": 3, "loss": 99.0})
    (folder / "checkpoint-00002-0000001-0123456789ab.pt.unfinished").write_text("half a checkpoint")
    resumed = run_experiment(parameters)
    assert not list(folder.glob("*.unfinished"))
    assert without_times(resumed) == without_times(whole)
    assert weights(resumed.folder) == weights(whole.folder)


def test_lad_trains_its_teacher_first_and_records_it(shapes, tmp_path):
    parameters = tiny(shapes, tmp_path, method="lad", teacher="r34", epochs=1)
    runs = compare(parameters)
    assert list(runs) == ["plain student", "teacher", "LAD student"]
    teacher = runs["teacher"]
    assert teacher.parameters == parameters.of_teacher()
    assert runs["LAD student"].results["teacher"] == {
        "name": teacher.parameters.run_name,
        "title": teacher.parameters.student,
        "AP": teacher.results["metrics"]["AP"],
        "ignores_classes": False,
        "weights_sha256": teacher.results["weights_sha256"],
    }
    assert weights(runs["plain student"].folder) != weights(runs["LAD student"].folder)


@pytest.mark.parametrize("is_cached", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_two_devices_train_one_run_with_a_teacher(shapes, tmp_path, is_cached):
    changes = {"method": "lad", "teacher": "r18", "devices": 2, "epochs": 1, "cache_teacher": is_cached}
    run = run_experiment(tiny(shapes, tmp_path, **changes))
    assert run.results["hardware"]["devices"] == 2 and run.results["metrics"]["AP"] is not None
    assert len(run.epochs) == 1  # one line per epoch, not one per process
    assert len(finished_runs(tmp_path)) == 2


@pytest.mark.parametrize(("workers", "precision"), [(2, "32-true"), (0, "bf16-mixed")])
def test_runs_with_worker_processes_or_mixed_precision_are_reproducible(shapes, tmp_path, workers, precision):
    first, second = (
        run_experiment(tiny(shapes, tmp_path / name, epochs=1, workers=workers, precision=precision)) for name in "ab"
    )
    assert weights(first.folder) == weights(second.folder)


def test_a_compiled_run_has_the_same_losses(shapes, tmp_path, monkeypatch):
    """Compiled without code generation, which would take minutes; `benchmarks/step.py --compile` includes it."""
    compiled = []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self: (compiled.append(self), compile_in_place(self, backend="eager"))
    )
    plain, fast = (run_experiment(tiny(shapes, tmp_path, epochs=1, compile=value)) for value in (False, True))
    assert len(compiled) == 1 and plain.folder != fast.folder
    assert fast.epochs[0]["loss"] == pytest.approx(plain.epochs[0]["loss"], rel=1e-3)
    assert fast.load_detector().state_dict().keys() == plain.load_detector().state_dict().keys()


def test_the_number_of_worker_processes_does_not_change_the_weights(shapes, tmp_path):
    without_workers, with_workers = (
        run_experiment(tiny(shapes, tmp_path / str(n), epochs=3, workers=n)) for n in (0, 2)
    )
    assert weights(without_workers.folder) == weights(with_workers.folder)


def test_lad_with_cached_assignments_has_the_same_losses_and_weights(shapes, tmp_path, monkeypatch):
    """The teacher runs on each image and its mirror image only once."""
    parameters = tiny(shapes, tmp_path, method="lad", teacher="r18", epochs=4)
    uncached = run_experiment(parameters)
    batch_sizes, teacher_forward = [], step.teacher_forward

    def count_images(teacher, images, fabric):
        batch_sizes.append(len(images))
        return teacher_forward(teacher, images, fabric)

    monkeypatch.setattr(step, "teacher_forward", count_images)
    cached = run_experiment(parameters.model_copy(update={"cache_teacher": True}))
    assert cached.folder != uncached.folder and weights(cached.folder) == weights(uncached.folder)
    assert 12 < sum(batch_sizes) <= 24
    for line, cached_line in zip(uncached.epochs, cached.epochs, strict=True):
        assert line["loss"] == cached_line["loss"] and line["agreement"] == cached_line["agreement"]
    assert not list(cached.folder.glob("assignments*"))


def test_a_run_with_all_augmentations_is_the_same_with_workers_and_when_resumed(shapes, tmp_path):
    """LAD with gradient accumulation and averaged weights; its teacher's run has the same augmentations."""
    changes = {"method": "lad", "teacher": "r18", "augment": list(AUGMENTATIONS), "accumulate": 2, "ema": 0.9}
    whole = run_experiment(tiny(shapes, tmp_path / "whole", **changes))
    parameters = tiny(shapes, tmp_path / "interrupted", workers=2, **changes)
    interrupt(parameters, epochs_done=1)
    resumed = run_experiment(parameters)
    assert without_times(resumed) == without_times(whole)
    assert weights(resumed.folder) == weights(whole.folder)
    assert find_run(parameters.of_teacher()).parameters.augment == parameters.augment
    assert weights(whole.folder) != weights(run_experiment(tiny(shapes, tmp_path, **{**changes, "augment": []})).folder)


def test_a_run_with_augmentations_says_that_it_caches_no_assignments(shapes, tmp_path, capsys):
    run_experiment(tiny(shapes, tmp_path, method="lad", teacher="r18", epochs=1))
    assert "caches the teacher's assignments" in capsys.readouterr().out
    run_experiment(tiny(shapes, tmp_path, method="lad", teacher="r18", epochs=1, augment=["vertical_flip"]))
    assert "does not cache the teacher's assignments: augment changes the images" in capsys.readouterr().out


def test_cached_assignments_survive_an_interruption(shapes, tmp_path):
    parameters = tiny(shapes, tmp_path, method="lad", teacher="r18", epochs=3)
    uncached = run_experiment(parameters)
    cached = parameters.model_copy(update={"cache_teacher": True})
    interrupt(cached, epochs_done=2)
    folder = Path(cached.out) / cached.run_name
    assert (folder / "assignments.0.bin").stat().st_size > 1000
    assert weights(run_experiment(cached).folder) == weights(uncached.folder)


def test_cached_assignments_of_another_teacher_are_rejected(shapes, tmp_path):
    parameters = tiny(shapes, tmp_path, method="lad", teacher="r18", epochs=3, cache_teacher=True)
    teacher = run_experiment(parameters.of_teacher())
    interrupt(parameters, epochs_done=2)
    results = {**teacher.results, "weights_sha256": "other"}
    (teacher.folder / "results.json").write_text(json.dumps(results))
    with pytest.raises(ValueError, match=r"assignments\.0\.bin: holds assignments made with teacher=.*has 'other'"):
        run_experiment(parameters)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accelerator": "cuda"}, "devices=1, but this machine has 0 CUDA devices; give fewer or accelerator=cpu"),
        ({"precision": "16-mixed"}, "precision=16-mixed needs a CUDA device"),
    ],
)
def test_missing_devices_are_an_error_of_one_line_before_any_work(shapes, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        run_experiment(tiny(shapes, tmp_path / "runs", **changes))
    assert not (tmp_path / "runs").exists()


def test_a_baseline_is_compared_with_no_other_run(shapes, tmp_path):
    assert list(compare(tiny(shapes, tmp_path, epochs=1))) == ["plain student"]


@pytest.mark.parametrize("student", ["r18", "r50"])
def test_gradient_clipping_sgd_and_the_step_schedule_train(shapes, tmp_path, student):
    parameters = tiny(
        shapes, tmp_path, student=student, epochs=1, optimizer="sgd", schedule="step", lr=1e-3, clip_grad=1
    )
    assert all(torch.tensor(line["loss"]).isfinite() for line in run_experiment(parameters).epochs)


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_the_step(shapes, tmp_path):
    parameters = tiny(shapes, tmp_path, lr=10, optimizer="sgd", clip_grad=0, warmup=0, epochs=20)
    with pytest.raises(ValueError, match=r"is not finite in epoch \d, step \d \(images \[.*lower lr.*failed-step-0"):
        run_experiment(parameters)
    assert find_run(parameters) is None
    assert (tmp_path / parameters.run_name / "failed-step-0.pt").is_file()


def test_train_images_limits_training_to_the_first_images(shapes, tmp_path):
    train_set, val_set = open_data(tiny(shapes, tmp_path, train_images=5))
    assert (len(train_set), len(val_set)) == (5, 6)


def test_an_unreadable_image_stops_the_run_before_training_or_is_left_out(shapes, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(shapes, folder)
    broken = folder / "train" / "000003.png"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"000003\.png: cannot be read as an image .*bad_images=skip"):
        run_experiment(tiny(folder, tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
    run = run_experiment(tiny(folder, tmp_path / "runs", bad_images="skip", epochs=1))
    assert run.results["training_images"] == 11
    for image in (folder / "train").iterdir():
        image.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"and 11 more images; none of the images of .*_train\.json can be used"):
        run_experiment(tiny(folder, tmp_path / "no_images", bad_images="skip"))


def test_a_missing_validation_image_stops_the_run_or_is_left_out_of_the_evaluation(shapes, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(shapes, folder)
    (folder / "val" / "000002.png").unlink()
    with pytest.raises(ValueError, match=r"000002\.png: no such image file"):
        run_experiment(tiny(folder, tmp_path / "runs"))
    run = run_experiment(tiny(folder, tmp_path / "runs", bad_images="skip", epochs=1))
    assert run.results["validation_images"] == 5


def test_a_missing_data_folder_is_an_error_of_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"data '.*nowhere': no such folder"):
        run_experiment(tiny(tmp_path / "nowhere", tmp_path))


def test_a_validation_set_without_gts_gives_no_ap_and_no_error(shapes, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(shapes, folder)
    path = folder / "instances_val.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": []}))
    run = run_experiment(tiny(folder, tmp_path / "runs", epochs=1))
    assert run.results["metrics"]["AP"] is None
    assert run_experiment(run.parameters).results == run.results


def test_images_of_many_sizes_and_without_gts_train_and_evaluate(shapes, tmp_path):
    """A folder as a user might have it: mixed sizes, and an image without gts."""
    folder = tmp_path / "mixed"
    (folder / "images").mkdir(parents=True)
    for split in ("train", "val"):
        content = json.loads((shapes / f"instances_{split}.json").read_text())
        for number, entry in enumerate(content["images"]):
            image = Image.open(shapes / split / entry["file_name"]).crop((0, 0, 128 - 9 * number, 128))
            entry["file_name"], entry["width"] = f"{split}-{entry['file_name']}", image.width
            image.save(folder / "images" / entry["file_name"])
        content["annotations"] = [gt for gt in content["annotations"] if gt["image_id"] != 2]
        (folder / f"instances_{split}.json").write_text(json.dumps(content))
    run = run_experiment(tiny(folder, tmp_path / "runs", epochs=1))
    assert run.results["metrics"]["AP"] is not None


def test_co_learning_trains_evaluates_and_saves_both_networks(shapes, tmp_path):
    """The networks differ in backbone, width and head. Interrupted and resumed, the run ends with the same bytes."""
    changes = {"method": "colad", "teacher": "r34", "teacher_width": 0.125, "teacher_head": "cop", "eval_every": 1}
    parameters = tiny(shapes, tmp_path / "whole", **changes)
    runs = compare(parameters)
    assert list(runs) == ["plain student", "teacher", "CoLAD student", "CoLAD teacher"]
    by_itself, second = (runs[name].load_detector().configuration for name in ("teacher", "CoLAD teacher"))
    assert by_itself == second
    assert (second.backbone, second.width, second.head) == ("r34", 0.125, "cop")
    student = runs["CoLAD student"].load_detector().configuration
    assert (student.backbone, student.width, student.head) == ("r18", 0.25, "paa")

    run = runs["CoLAD student"]
    assert set(run.results["teacher_metrics"]) == set(METRICS) and runs["CoLAD teacher"].metrics != {}
    line = run.epochs[-1]
    assert {"teacher_cls", "teacher_box", "teacher_iou", "teacher_AP", "agreement", "cost_mean", "cost_std"} <= set(
        line
    )
    assert any(0 < line["teacher_chosen"] < 1 for line in run.epochs)
    table = results_table(runs)
    assert table.loc["CoLAD student", "network"] == "r18 ↔ r34"
    assert table.loc["CoLAD teacher", "network"] == "r34 ↔ r18"
    assert table.loc["teacher", "network"] == "r34"

    stopped = tiny(shapes, tmp_path / "stopped", **changes)
    interrupt(stopped, epochs_done=1)
    resumed = run_experiment(stopped)
    for file in ("model.safetensors", "teacher.safetensors"):
        assert (resumed.folder / file).read_bytes() == (run.folder / file).read_bytes()


@pytest.mark.parametrize("cost_selection", ["fisher", "student", "teacher"])
def test_every_cost_selection_of_co_learning_trains(shapes, tmp_path, cost_selection):
    run = run_experiment(tiny(shapes, tmp_path, method="colad", teacher="r18", cost_selection=cost_selection, epochs=1))
    share = run.epochs[0]["teacher_chosen"]
    assert {"fisher": 0 < share < 1, "student": share == 0, "teacher": share == 1}[cost_selection]


def test_co_learning_can_start_from_a_trained_teacher(shapes, tmp_path, monkeypatch):
    parameters = tiny(shapes, tmp_path, method="colad", teacher="r18", epochs=1, teacher_epochs=2)
    initial = {}

    def record_and_train(parameters, network, *rest):
        if parameters.method == "colad":
            initial.update({name: value.clone() for name, value in network.teacher.state_dict().items()})
        return trainer.train(parameters, network, *rest)

    monkeypatch.setattr(runner, "train", record_and_train)
    run_experiment(parameters)
    teacher = find_run(parameters.of_teacher())
    assert teacher.parameters.epochs == 2
    trained = teacher.load_detector().state_dict()
    assert initial.keys() == trained.keys() and all(torch.equal(initial[name], trained[name]) for name in trained)


def test_a_run_that_another_process_trains_is_refused(shapes, tmp_path):
    parameters = tiny(shapes, tmp_path, epochs=1)
    folder = tmp_path / parameters.run_name
    assert not is_training(parameters)
    folder.mkdir()
    with FileLock(folder / "lock"):
        assert is_training(parameters)
        with pytest.raises(ValueError, match="another process is training this run; wait for it, or stop it"):
            run_experiment(parameters)
    assert not is_training(parameters) and not (folder / "params.json").exists()


def test_a_folder_of_runs_that_cannot_be_written_is_refused_before_the_data_is_read(shapes, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "open_data", lambda _: pytest.fail("read the data"))
    (tmp_path / "file").touch()
    parameters = tiny(shapes, tmp_path / "file" / "runs", method="lad", teacher="r18")
    for run in (run_experiment, compare):
        with pytest.raises(
            ValueError, match=r"^parameter 'out' = '.*file/runs': cannot be written \(Not a directory\)"
        ):
            run(parameters)


def test_data_without_a_validation_part_is_split_alike_everywhere(shapes, tmp_path):
    folder = tmp_path / "export"
    shutil.copytree(shapes / "train", folder / "images")
    shutil.copy(shapes / "instances_train.json", folder / "result.json")
    parameters = tiny(folder, tmp_path / "runs", val_share=0.4, epochs=1)
    run = run_experiment(parameters)
    split = json.loads((run.folder / "split.json").read_text())
    assert split["val_share"] == 0.4 and len(split["train"]) + len(split["val"]) == 12
    assert (run.results["training_images"], run.results["validation_images"]) == (7, 5)

    checkpoint, out = run.folder / "model.safetensors", tmp_path / "evaluations"
    evaluations = [{"checkpoint": checkpoint, "out": out, **data} for data in ({}, {"data": folder})]
    for given in evaluations:
        report = evaluate_checkpoint(resolve_evaluation_config(given))
        assert sorted(report.dataset.annotations.records.file_names()) == sorted(split["val"])
        assert report.metrics["AP"] == pytest.approx(run.metrics["AP"], abs=1e-12)
    session = open_session(make_explorer_config({"run": str(run.folder)}))
    assert set(session.dataset.annotations.records.file_names()) <= set(split["val"])
    checked = validate_folder(folder, val_share=0.4)
    assert {name: sorted(part.file_names.values()) for name, part in checked.items()} == {
        name: sorted(split[name]) for name in ("train", "val")
    }


def test_a_run_made_before_a_parameter_that_it_does_not_use_is_found(shapes, tmp_path):
    run = run_experiment(tiny(shapes, tmp_path, epochs=1))
    path = run.folder / "params.json"
    stored = json.loads(path.read_text())
    old = without_added(stored)
    assert len(old) < len(stored) and len(old["assigner_options"]) < len(stored["assigner_options"])
    path.write_text(json.dumps(old))
    found = find_run(tiny(shapes, tmp_path, epochs=1))
    assert found is not None and found.folder == run.folder
