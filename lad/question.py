"""What to ask of a checkpoint: which file, which images, how looked at; checked before any work."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from lad.checks import explain, known_values, notebook_values, project_folder
from lad.data.shapes import DIFFICULTIES
from lad.evaluation import Evaluator, find_evaluator
from lad.runs import WEIGHTS_FILE, finished_runs, open_run


class Question(BaseModel):
    """Which checkpoint, which images, how looked at. Build it with `make_question`."""

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
    def _fits_together(self) -> "Question":
        if self.views == "strongest" and (self.short_side or self.long_side):
            raise ValueError("views='strongest' has sizes of its own; leave out short_side and long_side")
        return self


def notebook_question(namespace: Mapping[str, Any]) -> Question:
    """The question from a notebook's variables (`globals()`); see `notebook_values`."""
    return make_question(notebook_values(namespace))


def make_question(given: Mapping[str, Any]) -> Question:
    """A question from the given values; None means "not given". Without a checkpoint it is the newest finished run's,
    without data those that the run was trained on.

    Raises ValueError with one line that names each parameter that is wrong, its value, and what is right.
    """
    values = known_values(given, Question)
    checkpoint = _existing("checkpoint", values.get("checkpoint", "runs"), values.get("source", ""))
    if checkpoint.is_dir():
        runs = [one for one in (open_run(checkpoint), *finished_runs(checkpoint)) if one is not None]
        if not runs:
            raise ValueError(
                f"parameter 'checkpoint' = '{checkpoint}': no finished run in this folder; train one with "
                "`make run`, or give a checkpoint file"
            )
        checkpoint = runs[-1].folder / WEIGHTS_FILE
    run = open_run(checkpoint.parent)
    if "data" not in values and run is None:
        raise ValueError("parameter 'data' is needed for a checkpoint that is not a run's: a folder in COCO format")
    data = str(values.get("data") or (run and run.parameters.data))
    if data not in DIFFICULTIES:
        data = str(_existing("data", data, ""))
    out = Path(str(values.get("out", project_folder() / "runs" / "evaluations"))).expanduser().resolve()
    try:
        question = Question(**{**values, "checkpoint": checkpoint, "data": data, "out": out})
    except ValidationError as error:
        raise ValueError(explain(error)) from None
    find_evaluator(question.evaluator)  # it is missed here rather than after the last image
    return question


def _existing(name: str, path: str | Path, source: str) -> Path:
    """A path as given or, where there is nothing, within the project."""
    given = Path(str(path)).expanduser()
    for candidate in (given, project_folder() / given):
        if candidate.exists():
            return candidate.resolve()
    hint = f"; it can be had from {source}" if source else ""
    raise ValueError(f"parameter '{name}' = '{given}': no such file or folder, here or in {project_folder()}{hint}")
