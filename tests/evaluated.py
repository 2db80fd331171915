"""An evaluation on the fixture `workspace`."""

from pathlib import Path

from lad.config.evaluation import make_evaluation_config
from lad.experiments.evaluate import evaluate_checkpoint
from lad.experiments.evaluation_report import EvaluationReport


def evaluate(workspace: Path, **given) -> EvaluationReport:
    defaults = {"checkpoint": workspace / "model.safetensors", "data": workspace / "shapes", "out": workspace / "out"}
    return evaluate_checkpoint(make_evaluation_config({**defaults, **given}))
