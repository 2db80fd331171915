"""Loggers of experiment trackers, with the interface of Fabric's: TensorBoard, CSV, Weights & Biases and MLflow.

Each is built from the run's folder, the tracker's identifier of the run in an earlier part of it (None if there was
none) and the number of epochs logged by then.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from lightning_fabric.loggers.csv_logs import CSVLogger
from lightning_fabric.loggers.logger import Logger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger

PROJECT = "lad"  # of Weights & Biases, and experiment of MLflow


class TensorBoard(TensorBoardLogger):
    """Event files in the run's folder; what a killed process logged of later epochs is hidden."""

    is_rewritten: ClassVar[bool] = False

    def __init__(self, folder: Path, _run_id: str | None, epochs: int) -> None:
        super().__init__(folder, name="tensorboard", version="", purge_step=epochs + 1 if epochs else None)

    def log_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Log an image [H, W, 3] uint8."""
        self.experiment.add_image(name, image, step, dataformats="HWC")


class CSV(CSVLogger):
    """One table in the run's folder; a resumed run writes it again from the first epoch. It takes no images."""

    is_rewritten: ClassVar[bool] = True

    def __init__(self, folder: Path, _run_id: str | None, _epochs: int) -> None:
        (folder / "csv" / "metrics.csv").unlink(missing_ok=True)
        super().__init__(folder, name="csv", version="", flush_logs_every_n_steps=1)

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:  # type: ignore[override]
        """Do nothing: params.json is in the folder."""


class WeightsAndBiases(Logger):
    """A run of Weights & Biases, online, or offline in the run's folder with WANDB_MODE=offline."""

    is_rewritten: ClassVar[bool] = False

    def __init__(self, folder: Path, run_id: str | None, _epochs: int) -> None:
        import wandb

        self.run = wandb.init(project=PROJECT, name=folder.name, dir=folder, id=run_id, resume="allow")
        self.run.define_metric("*", step_metric="epoch")  # its own step may not go back when a run is resumed

    @property
    def name(self) -> str:
        """Return the name of the project."""
        return PROJECT

    @property
    def version(self) -> str:
        """Return the run's identifier."""
        return str(self.run.id)

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:  # type: ignore[override]
        """Log the run's parameters."""
        self.run.config.update(dict(params), allow_val_change=True)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:  # type: ignore[override]
        """Log numbers by name."""
        self.run.log({**metrics, "epoch": step})

    def log_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Log an image [H, W, 3] uint8."""
        import wandb

        self.run.log({name: wandb.Image(image), "epoch": step})

    def finalize(self, status: str) -> None:
        """End the run, "success" or "failed"."""
        self.run.finish(exit_code=int(status != "success"))


class MLflow(Logger):
    """A run of MLflow, in files of the run's folder or on the server of MLFLOW_TRACKING_URI."""

    is_rewritten: ClassVar[bool] = False

    def __init__(self, folder: Path, run_id: str | None, _epochs: int) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a run's folder has files, not a data base
        from mlflow.tracking import MlflowClient

        files = (folder / "mlruns").absolute().as_uri()
        self.client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or files)
        if run_id is None:
            experiment = self.client.get_experiment_by_name(PROJECT)
            experiment_id = experiment.experiment_id if experiment else self.client.create_experiment(PROJECT)
            run_id = self.client.create_run(experiment_id, run_name=folder.name).info.run_id
        else:
            self.client.update_run(run_id, status="RUNNING")
        self.run_id = str(run_id)

    @property
    def name(self) -> str:
        """Return the name of the experiment."""
        return PROJECT

    @property
    def version(self) -> str:
        """Return the run's identifier."""
        return self.run_id

    def log_hyperparams(self, params: Mapping[str, Any]) -> None:  # type: ignore[override]
        """Log the run's parameters."""
        from mlflow.entities import Param

        self.client.log_batch(self.run_id, params=[Param(name, str(value)) for name, value in params.items()])

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:  # type: ignore[override]
        """Log numbers by name."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)  # milliseconds
        self.client.log_batch(self.run_id, [Metric(name, value, now, step) for name, value in metrics.items()])

    def log_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Log an image [H, W, 3] uint8."""
        self.client.log_image(self.run_id, image, key=name, step=step)

    def finalize(self, status: str) -> None:
        """End the run, "success" or "failed"."""
        self.client.set_terminated(self.run_id, "FINISHED" if status == "success" else "FAILED")


LOGGERS: dict[str, Any] = {"tensorboard": TensorBoard, "csv": CSV, "wandb": WeightsAndBiases, "mlflow": MLflow}
