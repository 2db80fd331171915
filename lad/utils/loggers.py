"""Names of the experiment trackers that a run can log to, and the package that each needs."""

import importlib.util
from typing import Literal

LoggerName = Literal["none", "tensorboard", "csv", "wandb", "mlflow"]
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}  # beside this project's own


def check_logger(name: LoggerName) -> None:
    """Raise ValueError if the package that a tracker needs is not installed; names the extra that has it."""
    package = PACKAGES.get(name)
    if package and importlib.util.find_spec(package) is None:
        raise ValueError(
            f"logger '{name}' needs the package {package}, which is not installed; pip install 'lad-suite[trackers]', "
            "or give another logger"
        )
