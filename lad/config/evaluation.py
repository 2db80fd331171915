"""What to ask of a checkpoint: which file, which images, how looked at; checked before any work."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from lad.data.synthetic.shapes import DIFFICULTIES
from lad.evaluation.coco_eval import Evaluator, find_evaluator
from lad.utils.messages import format_validation_error, given_values
from lad.utils.paths import project_folder


class EvaluationConfig(BaseModel):
    """Which checkpoint, which images, how looked at. Build it with `make_evaluation_config`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    checkpoint: Path  # a file of ours or OpenMMLab's, a run's folder, or a folder of runs for its newest
    data: str  # "toy", "mini", or a folder in COCO format
    split: str = Field(default="val", min_length=1)
    part: Literal["student", "teacher", "ema"] = "student"  # which network of an OpenMMLab checkpoint
    iou_branch: StrictBool = True  # False for published heads that were trained without it
    short_side: int | None = Field(default=None, ge=32, le=10_000)  # None: what the checkpoint says
    long_side: int | None = Field(default=None, ge=32, le=10_000)
    views: Literal["one", "flip", "multi_scale", "strongest"] = "one"
    vote: StrictBool = True  # score voting
    max_images: int | None = Field(default=None, ge=1)  # only the first so many
    min_score: float = Field(default=0.5, ge=0, lt=1)  # of the detections that are counted as such and drawn
    expected_ap: float | None = Field(default=None, ge=0, le=100)  # published, in percent
    source: str = ""  # where the checkpoint can be had
    batch_size: int = Field(default=8, ge=1, le=4096)
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    evaluator: Evaluator = "pycocotools"  # or faster_coco_eval: the same numbers sooner
    out: Path  # folder of the examinations

    @model_validator(mode="after")
    def _fits_together(self) -> "EvaluationConfig":
        if self.views == "strongest" and (self.short_side or self.long_side):
            raise ValueError("views='strongest' has sizes of its own; leave out short_side and long_side")
        return self


def make_evaluation_config(given: Mapping[str, Any]) -> EvaluationConfig:
    """A config from the given values; None means "not given". checkpoint must be a file, and data be given: for what
    a folder of runs implies see `lad.experiments.evaluate.complete_evaluation_config`.

    Raises ValueError with one line that names each parameter that is wrong, its value, and what is right.
    """
    values = given_values(given, EvaluationConfig)
    for name in ("checkpoint", "data"):
        if name not in values:
            raise ValueError(f"parameter '{name}' is missing")
    checkpoint = existing_path("checkpoint", values["checkpoint"], values.get("source", ""))
    data = str(values["data"])
    if data not in DIFFICULTIES:
        data = str(existing_path("data", data))
    out = Path(str(values.get("out", project_folder() / "runs" / "evaluations"))).expanduser().resolve()
    try:
        config = EvaluationConfig(**{**values, "checkpoint": checkpoint, "data": data, "out": out})
    except ValidationError as error:
        raise ValueError(format_validation_error(error)) from None
    find_evaluator(config.evaluator)  # it is missed here rather than after the last image
    return config


def existing_path(name: str, path: str | Path, source: str = "") -> Path:
    """A path as given or, where there is nothing, within the project."""
    given = Path(str(path)).expanduser()
    for candidate in (given, project_folder() / given):
        if candidate.exists():
            return candidate.resolve()
    hint = f"; it can be had from {source}" if source else ""
    raise ValueError(f"parameter '{name}' = '{given}': no such file or folder, here or in {project_folder()}{hint}")
