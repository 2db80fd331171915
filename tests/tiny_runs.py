"""Tiny runs: parameters of runs that take a second, and finished runs without training."""

import json
import random
from pathlib import Path
from unittest import mock

from lad.config.experiment import Parameters, make_parameters
from lad.evaluation.coco_eval import METRICS
from lad.experiments import runner
from lad.experiments.run_store import RESULTS_FILE, Run, finished_runs
from lad.training.metrics_file import append_metrics
from lad.training.saved_weights import save_epoch

TINY = {
    "method": "baseline", "student": "r18", "epochs": 2, "batch_size": 4, "accelerator": "cpu",
    "short_sides": [128], "test_short_side": 128, "long_side": 128,
}  # fmt: skip

TRAINED = ("plain", "without epochs", "teacher", "lad")


def tiny(data: Path | str, out: Path, **changes: object) -> Parameters:
    """Return the parameters of a baseline run of two epochs on small images, with `changes`."""
    return make_parameters({**TINY, "data": str(data), "out": str(out), **changes})


def train_runs(data: Path, out: Path) -> None:
    """Train runs that many tests read, in the order of `TRAINED`; the teacher is that of the last run."""
    lad = tiny(data, out, method="lad", teacher="r18", seed=3)
    plain, without_epochs = tiny(data, out, seed=1), tiny(data, out, seed=2, save_epochs=False)
    for second, parameters in enumerate((plain, without_epochs, lad.of_teacher(), lad)):
        run = runner.run_experiment(parameters)
        # Distinct times, though the runs may finish within one second.
        results = {**run.results, "finished": f"2020-01-01T00:00:0{second}+00:00"}
        (run.folder / RESULTS_FILE).write_text(json.dumps(results))


def open_runs(out: Path) -> dict[str, Run]:
    """Return the runs of `train_runs` by name."""
    return dict(zip(TRAINED, finished_runs(out), strict=True))


def fabricate(parameters: Parameters) -> Run:
    """Return a finished run with untrained networks and made-up metrics; its teacher's run is made like this, too.

    Only the training is replaced, so that the folder has all files of a trained run.
    """
    with mock.patch.object(runner, "train", _pretend_to_train):
        return runner.run_experiment(parameters)


def _pretend_to_train(parameters, network, _teacher, _train_set, _val_set, _fabric, folder, *_rest, **_options):
    """Write what `train` writes, a line and the weights of every epoch, and return what it returns."""
    dice = random.Random(parameters.run_name)
    names = (*METRICS, *(f"teacher_{name}" for name in METRICS))
    if parameters.save_epochs:
        save_epoch(folder, network, 0)
    metrics = {}
    for epoch in range(1, parameters.epochs + 1):
        metrics = {name: dice.uniform(0.2, 0.6) for name in names}
        losses = {name: dice.uniform(1, 2) / epoch for name in ("loss", "cls", "box", "iou", "grad_norm")}
        shares = {name: dice.random() for name in ("agreement", "teacher_chosen")}
        line = {"epoch": epoch, "lr": parameters.lr, **losses, **shares, "positives_per_gt": 9.0, "seconds": 1.0}
        append_metrics(folder, line | metrics)
        if parameters.save_epochs:
            save_epoch(folder, network, epoch)
    return network, metrics
