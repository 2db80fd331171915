"""A run's log in a tracker has the numbers of metrics.jsonl, each epoch once, and figures; it ends no training."""

import csv
import importlib.util
import json
import struct
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import numpy as np
import pytest
from lightning_fabric.utilities.rank_zero import rank_zero_only
from matplotlib.figure import Figure
from tiny_runs import tiny

from lad.experiments import tracking
from lad.experiments.loggers import CSV
from lad.experiments.run_store import Run
from lad.experiments.runner import run_experiment
from lad.experiments.tracking import EPOCH_FIGURES, LOGGED_FILE, RunLog
from lad.training import trainer
from lad.training.metrics_file import append_metrics

OWN_FIGURES = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["entry-points"]


@pytest.fixture(autouse=True)
def figures(monkeypatch):
    """Install this project's figures; returns a function that installs others."""

    def install(**figures: str) -> None:
        points = EntryPoints(EntryPoint(name, value, EPOCH_FIGURES) for name, value in figures.items())
        monkeypatch.setattr(tracking, "entry_points", lambda group: points.select(group=group))

    install(**OWN_FIGURES[EPOCH_FIGURES])
    return install


def needs(package: str):
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None,
        reason=f"{package} is not installed: pip install 'lad-suite[trackers]'",
    )


def numbers_of(run: Run) -> dict[str, list[tuple[int, float]]]:
    """Return (epoch, value) of every number in metrics.jsonl, by name."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in run.epochs:
        for name in line.keys() - {"epoch"}:
            if line[name] is not None:  # without large objects, there is no APl
                found.setdefault(name, []).append((line["epoch"], line[name]))
    return found


def interrupt_after_the_first_epoch(parameters) -> None:
    train_epoch = trainer.train_epoch

    def stop(run_trainer, batches, progress, interrupt):
        if progress.epoch == 1:
            raise KeyboardInterrupt
        return train_epoch(run_trainer, batches, progress, interrupt)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer, "train_epoch", stop)
        run_experiment(parameters)


def read_tensorboard(run: Run):
    from tensorboard.backend.event_processing.event_accumulator import IMAGES, EventAccumulator

    return EventAccumulator(str(run.folder / "tensorboard"), size_guidance={IMAGES: 0}).Reload()


def scalars(events) -> dict[str, list[tuple[int, float]]]:
    names = set(events.Tags()["scalars"]) - {"hp_metric"}  # Lightning's, a placeholder
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in names}


def assert_same_numbers(found, expected) -> None:
    """Compare up to the precision of float32, in which TensorBoard stores numbers."""
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, err_msg=name)


@needs("tensorboard")
def test_tensorboard_has_the_numbers_of_metrics_jsonl_the_parameters_and_a_figure_of_each_epoch(shapes, tmp_path):
    lad = tiny(shapes, tmp_path, method="lad", teacher="r18", logger="tensorboard")
    run = run_experiment(lad)
    teacher = run_experiment(lad.of_teacher())
    for of_run in (run, teacher):
        events = read_tensorboard(of_run)
        assert scalars(events).keys() >= {"loss", "AP", "lr", "positives_per_gt"}
        assert_same_numbers(scalars(events), numbers_of(of_run))
        assert [image.step for image in events.Images("assignment")] == [1, 2]
        assert any("hparams" in name for name in events.summary_metadata)
    assert "agreement" in scalars(read_tensorboard(run))
    first, last = (image.encoded_image_string for image in read_tensorboard(run).Images("assignment"))
    assert first != last


@needs("tensorboard")
def test_a_resumed_run_continues_its_log_without_repeating_an_epoch(shapes, tmp_path):
    parameters = tiny(shapes, tmp_path, epochs=3, logger="tensorboard")
    interrupt_after_the_first_epoch(parameters)
    run = run_experiment(parameters)
    events = read_tensorboard(run)
    assert_same_numbers(scalars(events), numbers_of(run))
    assert [image.step for image in events.Images("assignment")] == [1, 2, 3]


@needs("tensorboard")
def test_what_a_killed_process_logged_without_noting_it_is_hidden(shapes, tmp_path):
    parameters = tiny(shapes, tmp_path, epochs=3, logger="tensorboard")
    interrupt_after_the_first_epoch(parameters)
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path / parameters.run_name / "tensorboard") as writer:
        writer.add_scalar("loss", 99, 2)
    loss = scalars(read_tensorboard(run_experiment(parameters)))["loss"]
    assert [step for step, _ in loss] == [1, 2, 3] and all(value < 99 for _, value in loss)


def read_csv(run: Run) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    with (run.folder / "csv" / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            step = int(row.pop("step"))
            for name, value in row.items():
                found.setdefault(name, []).extend([(step, float(value))] if value else [])
    return found


def test_a_csv_has_the_numbers_of_metrics_jsonl_and_is_written_again_when_resumed(shapes, tmp_path):
    parameters = tiny(shapes, tmp_path, epochs=3, logger="csv", eval_every=3)
    interrupt_after_the_first_epoch(parameters)
    assert json.loads((tmp_path / parameters.run_name / LOGGED_FILE).read_text())["epochs"] == 1
    run = run_experiment(parameters)
    assert read_csv(run) == numbers_of(run)
    assert [step for step, _ in read_csv(run)["AP"]] == [3]


def test_a_run_that_changes_its_logger_has_all_epochs_in_the_new_one(shapes, tmp_path):
    parameters = tiny(shapes, tmp_path)
    interrupt_after_the_first_epoch(parameters)
    run = run_experiment(tiny(shapes, tmp_path, logger="csv"))
    assert run.folder.name == parameters.run_name and read_csv(run) == numbers_of(run)


def test_only_the_first_of_several_processes_logs(shapes, tmp_path, monkeypatch):
    def log_an_epoch() -> None:
        with RunLog(tiny(shapes, tmp_path, logger="csv"), tmp_path, None) as run_log:
            run_log.on_epoch_end(None)

    append_metrics(tmp_path, {"epoch": 1, "loss": 1.0})
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    log_an_epoch()
    assert not (tmp_path / "csv").exists() and not (tmp_path / LOGGED_FILE).exists()
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    log_an_epoch()
    assert (tmp_path / "csv" / "metrics.csv").read_text().splitlines() == ["loss,step", "1.0,1"]


def mean_image(trainer, val_set) -> Figure:
    """Draw another figure, as a package of users would."""
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.gca().imshow(val_set[0].image.mean(0))
    trainer.network.eval()
    return figure


def broken(_trainer, _val_set) -> Figure:
    raise ZeroDivisionError("no image\nhere")


@needs("tensorboard")
def test_every_installed_figure_is_logged_and_one_that_fails_is_one_line(shapes, tmp_path, figures, capsys):
    plain = run_experiment(tiny(shapes, tmp_path / "plain"))
    figures(mean_image=f"{__name__}:mean_image", broken=f"{__name__}:broken", missing="no_such_package:draw")
    run = run_experiment(tiny(shapes, tmp_path, logger="tensorboard"))
    events = read_tensorboard(run)
    assert events.Tags()["images"] == ["mean_image"]
    assert [(image.step, image.width, image.height) for image in events.Images("mean_image")] == [
        (1, 100, 50),
        (2, 100, 50),
    ]
    lines = [line for line in capsys.readouterr().out.splitlines() if "lacks the figure" in line]
    start = f"{run.folder.name}: logger 'tensorboard' lacks the figure"
    assert lines == 2 * [
        f"{start} 'broken' ({__name__}:broken): ZeroDivisionError: no image here",
        f"{start} 'missing' (no_such_package:draw): ModuleNotFoundError: No module named 'no_such_package'",
    ]
    assert run.weights_file().read_bytes() == plain.weights_file().read_bytes()


def test_the_figures_of_pyproject_exist_and_draw_nothing_for_trackers_without_images(shapes, tmp_path, monkeypatch):
    for name, value in OWN_FIGURES[EPOCH_FIGURES].items():
        assert callable(EntryPoint(name, value, EPOCH_FIGURES).load())
    monkeypatch.setattr(tracking, "entry_points", lambda group: pytest.fail("figures are drawn"))
    run_experiment(tiny(shapes, tmp_path, epochs=1, logger="csv"))


def test_a_tracker_that_fails_ends_no_training_and_gets_the_epoch_after_the_next_one(
    shapes, tmp_path, monkeypatch, capsys
):
    log_metrics, failures = CSV.log_metrics, iter([ConnectionError("no network")])

    def fail_once(logger, metrics, step):
        for error in failures:
            raise error
        log_metrics(logger, metrics, step)

    monkeypatch.setattr(CSV, "log_metrics", fail_once)
    run = run_experiment(tiny(shapes, tmp_path, logger="csv"))
    assert read_csv(run) == numbers_of(run)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "lacks" in line]
    assert line.endswith(
        "logger 'csv' lacks the epoch's numbers, to be logged after the next epoch: ConnectionError: no network"
    )


def test_a_tracker_that_cannot_be_opened_stops_the_run_before_its_first_epoch(shapes, tmp_path, monkeypatch):
    def refuse(*_args):
        raise RuntimeError("not logged in\nuse login")

    monkeypatch.setattr(CSV, "__init__", refuse)
    parameters = tiny(shapes, tmp_path, logger="csv")
    with pytest.raises(ValueError, match="logger 'csv' cannot be opened: RuntimeError: not logged in use login; "):
        run_experiment(parameters)
    assert not (tmp_path / parameters.run_name / "metrics.jsonl").exists()


def read_wandb(file: Path) -> dict[str, list[tuple[int, float]]]:
    """Return (epoch, value) of every number in the file of an offline run, a log of LevelDB's format."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, message, found = file.read_bytes(), 7, b"", {}
    while place < len(content):
        if 32768 - place % 32768 < 7:  # the rest of a block is too short for a record's header
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)  # after the checksum
        message += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole message, or its last part
            row = {item.nested_key[0]: json.loads(item.value_json) for item in Record.FromString(message).history.item}
            for name, value in row.items():
                found.setdefault(name, []).append((row["epoch"], value))
            message = b""
    return found


@needs("wandb")
def test_weights_and_biases_offline_has_a_folder_for_each_run(shapes, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    lad = tiny(shapes, tmp_path, method="lad", teacher="r18", epochs=1, logger="wandb")
    run = run_experiment(lad)
    for of_run in (run, run_experiment(lad.of_teacher())):
        (folder,) = (of_run.folder / "wandb").glob("offline-run-*")
        assert list(folder.rglob("files/media/images/assignment*.png"))
        (file,) = folder.glob("*.wandb")
        logged = read_wandb(file)
        for name, values in numbers_of(of_run).items():
            assert logged[name] == values, name


@needs("mlflow")
def test_mlflow_continues_its_run_and_has_the_numbers_of_metrics_jsonl(shapes, tmp_path):
    parameters = tiny(shapes, tmp_path, logger="mlflow")
    interrupt_after_the_first_epoch(parameters)
    run = run_experiment(parameters)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"file:{run.folder / 'mlruns'}")
    (experiment,) = [found for found in client.search_experiments() if found.name == "lad"]
    (logged,) = client.search_runs([experiment.experiment_id])
    for name, values in numbers_of(run).items():
        history = client.get_metric_history(logged.info.run_id, name)
        assert [(metric.step, metric.value) for metric in history] == values
    assert logged.data.params["student"] == "r18" and logged.info.status == "FINISHED"
    images = [file.path for file in client.list_artifacts(logged.info.run_id, "images")]
    assert sum("assignment" in path and path.endswith(".png") for path in images) == 2


def test_without_a_logger_no_tracker_is_imported():
    code = (
        "import sys; from lad.experiments import runner;"
        "print([name for name in ('tensorboard', 'wandb', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
