"""What to config at in the explorer: which run, picture, object and assignment; checked before any work."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, field_validator

from lad.analysis.positives import ASSIGNMENTS
from lad.config.notebook import notebook_values
from lad.data.synthetic.shapes import DIFFICULTIES
from lad.geometry import STRIDES
from lad.utils.messages import explain, known_values, not_one_of
from lad.utils.paths import project_folder

UNTRAINED = "untrained"
LEVELS = tuple(range(3, 3 + len(STRIDES)))  # P3 … P7


class ExplorerConfig(BaseModel):
    """What to config at. Build it with `make_explorer_config`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str | None = None  # a run's folder or its name in `out`; None: the newest; "untrained": a fresh network
    compare_with: str | None = None  # another run, as the teacher; None: the run's own teacher, if it has one
    epoch: int | None = Field(default=None, ge=0)  # of those that the run has kept; None: the last
    data: str | None = None  # "toy", "mini" or a folder in COCO format; None: what the run was trained on
    image: int = Field(default=0, ge=0)  # of the validation images that have objects
    photo: Path | None = None  # a picture of one's own in its place
    gt: int | None = Field(default=None, ge=0)  # which object; None: the one with the most candidates
    assignment: str = "each"
    levels: tuple[int, ...] = LEVELS  # of 3 … 7
    anchor_boxes: StrictBool = False  # draw those of the object's positives
    predicted_boxes: StrictBool = False  # draw the best three that each network predicts there
    table_of: Literal["student", "teacher"] = "student"  # whose costs the table holds
    film: Path | None = None  # file to write, .gif or .mp4: the picture after each epoch
    out: Path  # folder of the runs

    @field_validator("assignment")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in ASSIGNMENTS:
            raise ValueError(not_one_of("assignment", value, ASSIGNMENTS))
        return value

    @field_validator("levels")
    @classmethod
    def _are_levels(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not set(value) <= set(LEVELS):
            raise ValueError(f"parameter 'levels' = {list(value)} must be some of {', '.join(map(str, LEVELS))}")
        return tuple(sorted(set(value)))


def make_explorer_config(given: Mapping[str, Any]) -> ExplorerConfig:
    """What to config at, from the given values; None means "not given".

    Raises ValueError with one line that names each parameter that is wrong, its value, and what is right.
    """
    values = known_values(given, ExplorerConfig)
    for name in ("data", "photo"):
        if name in values and str(values[name]) not in DIFFICULTIES:
            path = Path(str(values[name])).expanduser()
            if not path.exists():
                raise ValueError(f"parameter '{name}' = '{path}': no such file or folder")
            values[name] = str(path.resolve())
    out = Path(str(values.get("out", project_folder() / "runs"))).expanduser().resolve()
    try:
        return ExplorerConfig(**{**values, "out": out})
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def notebook_explorer_config(namespace: Mapping[str, Any]) -> ExplorerConfig:
    """What to config at, from a notebook's variables (`globals()`); see `notebook_values`."""
    return make_explorer_config(notebook_values(namespace))
