"""A run's log in an experiment tracker: the parameters, the lines of metrics.jsonl, and figures of each epoch.

Figures come from entry points: a package that declares one in the group `lad.epoch_figures` adds a figure to every run
whose tracker takes images. An entry point is a function of the `Trainer` and the validation set, called after every
epoch; it returns a matplotlib `Figure`, which is logged under the entry point's name.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from lightning_fabric.utilities.rank_zero import rank_zero_only
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lad.config.experiment import Parameters
from lad.data.coco import CocoDataset
from lad.experiments.loggers import LOGGERS
from lad.training.metrics_file import read_metrics
from lad.training.trainer import Trainer
from lad.utils.atomic_io import write_text
from lad.utils.loggers import check_logger
from lad.utils.progress import log

LOGGED_FILE = "logged.json"  # what the tracker has, so that a resumed run logs no epoch twice
EPOCH_FIGURES = "lad.epoch_figures"  # group of entry points


class RunLog:
    """The log of a run, as a callback of Fabric and a context in which the run is trained; empty without a logger.

    Every epoch's line of metrics.jsonl is logged once, at the epoch as the step, however often the run was resumed.
    Only the first of several processes logs. A tracker that cannot be opened stops the run before it is trained; one
    that fails later does not, and gets the epochs that it lacks after the next one.
    """

    def __init__(self, parameters: Parameters, folder: Path, val_set: CocoDataset) -> None:
        self.parameters, self.folder, self.val_set = parameters, folder, val_set
        self.logger: Any = None
        self.epochs = 0

    def __enter__(self) -> Self:
        """Open the logger, where an earlier part of the run left it.

        Raises:
            ValueError: The tracker cannot be opened.
        """
        if self.parameters.logger != "none" and self.parameters.epochs:
            self._open()
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        """Log what is missing of a finished run, and close the logger."""
        if self.logger is not None:
            if kind is None:
                self._log_new_epochs()  # the last one, if the run was killed between its checkpoint and its log
            with self._noted("its end"):
                self.logger.finalize("success" if kind is None else "failed")

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Log the finished epoch and, if the tracker takes images, its figures."""
        if self.logger is None:
            return
        before = self.epochs
        self._log_new_epochs()
        if hasattr(self.logger, "log_image") and self.epochs > before:
            for entry_point in entry_points(group=EPOCH_FIGURES):
                with self._noted(f"the figure '{entry_point.name}' ({entry_point.value})"):
                    image = _pixels(entry_point.load()(trainer, self.val_set))
                    self.logger.log_image(entry_point.name, image, self.epochs)

    @rank_zero_only
    def _open(self) -> None:
        name = self.parameters.logger
        check_logger(name)
        logged = self._read_logged()
        make = LOGGERS[name]
        self.epochs = 0 if make.is_rewritten else logged.get("epochs", 0)
        try:
            self.logger = make(self.folder, logged.get("version"), self.epochs)
            if not logged:
                self.logger.log_hyperparams(self.parameters.model_dump())
        except Exception as error:
            raise ValueError(
                f"logger '{name}' cannot be opened: {_one_line(error)}; correct this, or give another logger"
            ) from error
        self._write_logged()

    def _log_new_epochs(self) -> None:
        """Log the lines of metrics.jsonl that the tracker does not have yet."""
        with self._noted("the epoch's numbers, to be logged after the next epoch"):
            for line in read_metrics(self.folder)[self.epochs :]:
                numbers = {name: value for name, value in line.items() if name != "epoch" and value is not None}
                self.logger.log_metrics(numbers, step=int(line["epoch"]))
                self.epochs = int(line["epoch"])
                self._write_logged()

    def _read_logged(self) -> dict[str, Any]:
        try:
            logged = json.loads((self.folder / LOGGED_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        is_same = isinstance(logged, dict) and logged.get("logger") == self.parameters.logger
        return logged if is_same else {}

    def _write_logged(self) -> None:
        logged = {"logger": self.parameters.logger, "version": self.logger.version, "epochs": self.epochs}
        write_text(self.folder / LOGGED_FILE, json.dumps(logged) + "\n")

    @contextmanager
    def _noted(self, part: str) -> Iterator[None]:
        """Print an error within the block in one line instead of raising it: a log must not end a training."""
        try:
            yield
        except Exception as error:
            log(f"{self.folder.name}: logger '{self.parameters.logger}' lacks {part}: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _pixels(figure: Figure) -> np.ndarray:
    """Return a figure as an image [H, W, 3] uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
