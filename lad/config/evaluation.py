"""Configuration of an evaluation: which checkpoint, which images, which views; validated before any work."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from lad.data.layouts import is_shared
from lad.data.synthetic.difficulties import DIFFICULTIES
from lad.data.val_share import DEFAULT_VAL_SHARE
from lad.evaluation.coco_eval import Evaluator, find_evaluator
from lad.inference.postprocess import MAX_DETECTIONS, MAX_DETECTIONS_LIMIT
from lad.models.zoo import is_published, published_checkpoint, published_hint
from lad.utils.messages import format_validation_error, given_values
from lad.utils.paths import project_folder

CHECKPOINT_PARAMETERS = ("checkpoint", "init", "teacher_checkpoint")  # which also take a published name
COCO = "data/coco"  # in the current folder or the project's


class EvaluationConfig(BaseModel):
    """Configuration of an evaluation; build it with `make_evaluation_config`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    checkpoint: Path | str  # a file in our format or OpenMMLab's, a published name or a web address
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{8,64}$")  # of the checkpoint, or its first digits
    data: str  # "toy", "mini", a data set folder or a COCO instances JSON
    images: str | None = None  # folder of the images of a JSON given as data; None looks beside it
    val_share: float | None = Field(default=None, gt=0, lt=1)  # of a JSON for training and validation; None: 0.2
    split: str = Field(default="val", pattern=r"^[\w.-]+$")
    part: Literal["student", "teacher", "ema"] = "student"  # which network of an OpenMMLab checkpoint
    iou_branch: StrictBool = True  # False for published heads trained without it
    short_side: int | None = Field(default=None, ge=32, le=10_000)  # pixels; None: the checkpoint's test size
    long_side: int | None = Field(default=None, ge=32, le=10_000)
    views: Literal["one", "flip", "multi_scale", "strongest"] = "one"
    vote: StrictBool = True  # score voting
    max_detections: int = Field(default=MAX_DETECTIONS, ge=1, le=MAX_DETECTIONS_LIMIT)  # of an image
    max_images: int | None = Field(default=None, ge=1)  # evaluate only the first images
    min_score: float = Field(default=0.5, ge=0, lt=1)  # of detections in the error analysis and in images
    expected_ap: float | None = Field(default=None, ge=0, le=100)  # published, in percent
    batch_size: int = Field(default=8, ge=1, le=4096)
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    evaluator: Evaluator = "pycocotools"  # faster_coco_eval: the same numbers, faster
    out: Path  # folder of all evaluations

    @model_validator(mode="after")
    def _fits_together(self) -> "EvaluationConfig":
        if self.views == "strongest" and (self.short_side or self.long_side):
            raise ValueError("views='strongest' has its own sizes; remove short_side and long_side")
        return self

    def summary(self) -> str:
        """Return one line that names the checkpoint and the images."""
        return f"{self.checkpoint} on {self.data}, {self.split}"


def make_evaluation_config(given: Mapping[str, Any]) -> EvaluationConfig:
    """Return the validated config of the given values.

    Args:
        given: Values by name, where None means "not given". checkpoint and data are required, but a published name
            implies data, expected_ap, vote and iou_branch; what a folder of runs implies is filled in by
            `lad.experiments.evaluate.resolve_evaluation_config`.

    Raises:
        ValueError: If a parameter is unknown or invalid; one line that names it, its value and the valid ones.
    """
    values = given_values(given, EvaluationConfig)
    values = _published_values(values.get("checkpoint"), values.get("split", "val")) | values
    for name in ("checkpoint", "data"):
        if name not in values:
            raise ValueError(f"parameter '{name}' is missing")
    checkpoint = values["checkpoint"]
    if not is_published(checkpoint):
        checkpoint = existing_path("checkpoint", checkpoint)
    data = str(values["data"])
    if data not in DIFFICULTIES:
        data = str(existing_path("data", data))
    if data not in DIFFICULTIES and is_shared(Path(data)):
        values.setdefault("val_share", DEFAULT_VAL_SHARE)
    if "images" in values:
        values["images"] = str(existing_path("images", values["images"]))
    out = Path(str(values.get("out", project_folder() / "runs" / "evaluations"))).expanduser().resolve()
    try:
        config = EvaluationConfig(**{**values, "checkpoint": checkpoint, "data": data, "out": out})
    except ValidationError as error:
        raise ValueError(format_validation_error(error)) from None
    if config.val_share is not None and not is_shared(Path(data)):
        config = config.model_copy(update={"val_share": None})  # without effect on data with a validation part
    find_evaluator(config.evaluator)  # fail now if it is not installed, not after the last image
    return config


def existing_path(name: str, path: str | Path) -> Path:
    """Return the path, relative to the current folder or else to the project's.

    Args:
        name: Name of the parameter, for the error message.
        path: The path as given by the user; ~ is expanded.

    Raises:
        ValueError: If nothing exists at either place.
    """
    given = Path(str(path)).expanduser()
    for candidate in (given, project_folder() / given):
        if candidate.exists():
            return candidate.resolve()
    hint = published_hint(path) if name in CHECKPOINT_PARAMETERS else ""
    raise ValueError(
        f"parameter '{name}' = '{given}': no such file or folder in the current folder or {project_folder()}{hint}"
    )


def _published_values(checkpoint: Any, split: str) -> dict[str, Any]:
    """Return the parameters that a published name implies."""
    entry = published_checkpoint(checkpoint) if isinstance(checkpoint, str | Path) else None
    if entry is None:
        return {}
    values = {"data": COCO, "iou_branch": entry.iou_branch, "vote": entry.vote}
    return values | ({"expected_ap": entry.ap} if entry.split == split == "val" else {})
