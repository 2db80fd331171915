"""Training an epoch: its progress, sums, checkpoints and failures; and metrics on disk."""

import json
import math
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from tiny_runs import tiny

from lad.config.experiment import make_parameters
from lad.evaluation.coco_eval import METRICS
from lad.experiments.runner import run_experiment
from lad.models.serialization import load_detector
from lad.models.student_teacher import StudentTeacherPair
from lad.structures import Batch
from lad.training import evaluation
from lad.training.checkpoint import Progress, checkpoints, load_checkpoint
from lad.training.ema import start_average
from lad.training.failed_step import read_failed_step
from lad.training.interrupt import Interrupt
from lad.training.metrics_file import append_metrics, read_metrics
from lad.training.optimizer import build_optimizer, learning_rate
from lad.training.saved_weights import BEST_FILES, epoch_file, save_best, save_epoch
from lad.training.trainer import STATISTIC, STATISTICS_EVERY, Trainer, train_epoch


@pytest.fixture
def make_trainer(fabric: Fabric, make_detectors, tmp_path) -> Callable[..., Trainer]:
    """A function from parameters to the trainer of a new run, in the test's folder."""

    def make(steps: int, **given) -> Trainer:
        parameters = make_parameters({"method": "baseline", "epochs": 2, **given})
        network, _ = make_detectors()
        model, optimizer = fabric.setup(network, build_optimizer(parameters, list(network.parameters())))
        average = None if parameters.ema is None else start_average(network)
        return Trainer(parameters, network, model, optimizer, fabric, tmp_path, steps, average=average)

    return make


def weights_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def test_an_epoch_sums_losses_and_counts_and_every_tenth_steps_statistics(make_trainer, batch):
    steps = STATISTICS_EVERY + 1
    progress = train_epoch(make_trainer(steps), [batch] * steps, Progress(1), Interrupt())
    assert (progress.epoch, progress.step) == (1, steps)
    sums = {name: float(value) for name, value in progress.sums.items()}
    assert sums["gts"] == 3 * steps and sums["positives"] >= 3 * steps and sums[STATISTIC] == 2
    assert sums["loss"] == pytest.approx(sums["cls"] + sums["box"] + sums["iou"], rel=1e-5)
    assert sums[STATISTIC + "agreement"] == pytest.approx(2)
    assert all(math.isfinite(value) for value in sums.values()) and "overflows" not in sums


def test_every_step_has_the_learning_rate_of_the_schedule(make_trainer, batch):
    trainer = make_trainer(2)
    train_epoch(trainer, [batch] * 2, Progress(1), Interrupt())
    expected = learning_rate(trainer.parameters, 1, 1, 2)
    assert trainer.learning_rate(1, 1) == expected
    assert all(group["lr"] == expected for group in trainer.optimizer.param_groups)


def test_an_interrupted_epoch_ends_after_its_step_and_resumes_to_the_same_weights(make_trainer, batch):
    whole = make_trainer(3)
    expected = train_epoch(whole, [batch] * 3, Progress(), Interrupt())

    interrupted, interrupt = make_trainer(3), Interrupt()

    def batches():
        yield batch
        interrupt.number = signal.SIGTERM
        yield batch
        pytest.fail("another batch was loaded after the interrupt")

    progress = train_epoch(interrupted, batches(), Progress(), interrupt)
    assert (progress.epoch, progress.step) == (0, 2)
    interrupted.save_checkpoint(progress)

    resumed = make_trainer(3)
    progress = load_checkpoint(resumed.folder, resumed.network, resumed.optimizer, resumed.fabric)
    progress = train_epoch(resumed, [batch], progress, Interrupt())
    assert (progress.epoch, progress.step) == (0, 3)
    assert all(torch.equal(progress.sums[name], value) for name, value in expected.sums.items())
    resumed_weights = weights_of(resumed)
    assert all(torch.equal(resumed_weights[name], value) for name, value in weights_of(whole).items())


def test_a_resumed_run_has_the_same_average_of_weights(make_trainer, batch):
    settings = {"ema": 0.9, "accumulate": 2, "batch_size": 2}
    whole = make_trainer(3, **settings)
    train_epoch(whole, [batch] * 3, Progress(), Interrupt())
    first = make_trainer(3, **settings)
    progress = train_epoch(first, [batch] * 2, Progress(), Interrupt())
    first.save_checkpoint(progress)

    resumed = make_trainer(3, **settings)
    progress = load_checkpoint(
        resumed.folder, resumed.network, resumed.optimizer, resumed.fabric, average=resumed.average
    )
    train_epoch(resumed, [batch], progress, Interrupt())
    assert whole.evaluated is whole.average and resumed.evaluated is resumed.average
    expected, raw = whole.average.state_dict(), whole.network.state_dict()
    assert any(not torch.equal(expected[name], raw[name]) for name in raw)
    assert all(torch.equal(value, expected[name]) for name, value in resumed.average.state_dict().items())


def test_the_weights_of_the_highest_ap_are_kept(make_trainer):
    trainer = make_trainer(1)
    first_weight = next(trainer.network.parameters())
    best = trainer.folder / BEST_FILES["AP"]

    def end_epoch(epoch: int, ap: float | None) -> float:
        """Change the weights, end an epoch with this AP, and return the best network's first value."""
        with torch.no_grad():
            first_weight.fill_(epoch)
        metrics = {} if ap is None else {"AP": ap}
        save_best(trainer.folder, trainer.network, metrics)
        append_metrics(trainer.folder, {"epoch": epoch, **metrics})
        return next(load_detector(best).parameters()).flatten()[0].item() if best.exists() else math.nan

    assert math.isnan(end_epoch(1, None)) and math.isnan(end_epoch(2, math.nan))
    assert [end_epoch(3, 0.2), end_epoch(4, 0.2), end_epoch(5, None), end_epoch(6, 0.3), end_epoch(7, 0.1)] == [
        3, 3, 3, 6, 6,
    ]  # fmt: skip


def test_in_co_learning_each_network_has_its_own_best_epoch(make_trainer, make_detectors):
    folder, pair = make_trainer(1).folder, StudentTeacherPair(*make_detectors())
    for epoch, (ap, teacher_ap) in enumerate([(0.1, 0.5), (0.2, 0.4)]):
        save_best(folder, pair, {"AP": ap, "teacher_AP": teacher_ap})
        append_metrics(folder, {"epoch": epoch, "AP": ap, "teacher_AP": teacher_ap})
        with torch.no_grad():
            for weight in pair.parameters():
                weight += 1
    trained = pair.state_dict()["student.head.cls.bias"][0], pair.state_dict()["teacher.head.cls.bias"][0]
    saved = [load_detector(folder / file).state_dict()["head.cls.bias"][0] for file in BEST_FILES.values()]
    assert [round(float(last - own)) for last, own in zip(trained, saved, strict=True)] == [1, 2]


def test_in_co_learning_both_networks_are_evaluated_on_all_images(shapes, tmp_path, monkeypatch):
    def count_images(_network, batches, *_arguments, **_options):
        return dict.fromkeys(METRICS, float(sum(len(batch.images) for batch in batches)))

    monkeypatch.setattr(evaluation, "evaluate", count_images)
    run = run_experiment(tiny(shapes, tmp_path, method="colad", teacher="r18", epochs=1))
    assert run.metrics["AP"] == run.teacher_network().metrics["AP"] == run.results["validation_images"]


def test_a_checkpoint_is_written_every_so_many_steps_but_not_after_the_last(make_trainer, batch):
    trainer = make_trainer(4, checkpoint_every=2)
    train_epoch(trainer, [batch] * 4, Progress(), Interrupt())
    (path,) = checkpoints(trainer.folder)
    assert path.name.startswith("checkpoint-00000-0000002-")


def test_a_step_with_a_loss_that_is_not_finite_is_saved_and_named(make_trainer, batch):
    trainer = make_trainer(2)
    bad = Batch(batch.images * torch.inf, batch.targets, batch.image_id, batch.original_hw, batch.is_flipped)
    with pytest.raises(
        ValueError, match=r"the loss is not finite in epoch 1, step 2 \(images \[7, 8\]\); lower lr"
    ) as error:
        train_epoch(trainer, [batch, bad], Progress(), Interrupt())
    path = Path(str(error.value).split("lad replay ")[1])
    state, saved = read_failed_step(path)
    assert (state["epoch"], state["step"]) == (0, 1) and state["parameters"] == trainer.parameters.model_dump()
    assert torch.equal(saved.image_id, batch.image_id) and set(state["outputs"]) == {"student"}
    parameters = dict(trainer.network.named_parameters())
    assert all(torch.equal(state["model"][name], weight) for name, weight in parameters.items())


def test_the_weights_of_an_epoch_are_saved_under_its_number(make_trainer):
    trainer = make_trainer(1)
    save_epoch(trainer.folder, trainer.network, 3)
    assert epoch_file(trainer.folder, 3).is_file() and epoch_file(trainer.folder, 3).name == "0003.safetensors"
    assert epoch_file(trainer.folder, 3, "teacher").name == "0003.teacher.safetensors"


def test_metrics_are_json_even_if_a_number_is_not_finite(tmp_path):
    append_metrics(tmp_path, {"epoch": 1, "APl": math.nan, "loss": 0.5})
    append_metrics(tmp_path, {"epoch": 2, "grad_norm": math.inf})
    assert read_metrics(tmp_path) == [{"epoch": 1, "APl": None, "loss": 0.5}, {"epoch": 2, "grad_norm": None}]
    json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0], parse_constant=pytest.fail)


def test_corrupted_metrics_raise_one_line_that_names_the_file(tmp_path):
    assert read_metrics(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n{"epo')
    with pytest.raises(ValueError, match=r"metrics\.jsonl: corrupted; delete its broken lines"):
        read_metrics(tmp_path)


def test_the_time_that_the_run_takes_is_said_once_after_its_first_steps(make_trainer, batch, capsys):
    trainer = make_trainer(8)
    train_epoch(trainer, [batch] * 8, Progress(), Interrupt())
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"r50 baseline: 2 epochs of 8 steps, about [\d.]+ (s|min|h) left", line)
    train_epoch(trainer, [batch] * 8, Progress(1), Interrupt())
    assert capsys.readouterr().out == ""
