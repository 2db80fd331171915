"""The explorer's configuration: which run, image, object and assignment to show, checked before any work starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, field_validator

from lad.analysis.positives import ASSIGNMENTS
from lad.data.synthetic.difficulties import DIFFICULTIES
from lad.geometry import STRIDES
from lad.utils.messages import format_validation_error, format_value, given_values, invalid_choice_message
from lad.utils.paths import absolute_path, ensure_writable, project_folder

UNTRAINED = "untrained"
LEVELS = tuple(range(3, 3 + len(STRIDES)))  # P3 … P7


class ExplorerConfig(BaseModel):
    """Configuration of the explorer; build it with `make_explorer_config`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str | None = None  # a run's folder or its name in `out`; None: the newest; "untrained": a random network
    compare_with: str | None = None  # another run as the teacher; None: the run's own teacher, if it has one
    epoch: int | None = Field(default=None, ge=0)  # one of the saved epochs; None: the last
    data: str | None = None  # "toy", "mini", a data set folder or a JSON; None: the run's own data
    image: int = Field(default=0, ge=0)  # index among the validation images that have objects
    photo: Path | None = None  # an image file of the user's own, shown in place of a validation image
    gt: int | None = Field(default=None, ge=0)  # index of the object; None: the one with the most candidates
    assignment: str = "each"
    levels: tuple[int, ...] = LEVELS  # pyramid levels to show, some of 3 … 7
    anchor_boxes: StrictBool = False  # draw the anchor boxes of the object's positives
    predicted_boxes: StrictBool = False  # draw the three highest-scoring boxes that each network predicts there
    table_of: Literal["student", "teacher"] = "student"  # whose costs the table lists
    film: Path | None = None  # .gif or .mp4 file to write: the assignment after each saved epoch
    out: Path  # folder of the runs

    def summary(self) -> str:
        """Return one line that says what will be shown."""
        run = self.run or f"the newest in {self.out}"
        image = self.photo or f"validation image {self.image}"
        return f"explorer: run {run}, {image}, assignment '{self.assignment}'"

    @field_validator("assignment")
    @classmethod
    def _check_assignment(cls, value: str) -> str:
        if value not in ASSIGNMENTS:
            raise ValueError(invalid_choice_message("assignment", value, ASSIGNMENTS))
        return value

    @field_validator("levels")
    @classmethod
    def _check_levels(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not set(value) <= set(LEVELS):
            raise ValueError(f"parameter 'levels' = {list(value)} must be some of {', '.join(map(str, LEVELS))}")
        return tuple(sorted(set(value)))


def make_explorer_config(given: Mapping[str, Any]) -> ExplorerConfig:
    """Build a validated configuration.

    Args:
        given: Values by field name of `ExplorerConfig`; None means "not given".

    Returns:
        The configuration, with absolute paths.

    Raises:
        ValueError: One line that names each wrong parameter, its value, and what is allowed.
    """
    values = given_values(given, ExplorerConfig)
    for name in ("data", "photo"):
        if name in values and str(values[name]) not in DIFFICULTIES:
            path = Path(str(values[name])).expanduser()
            if not path.exists():
                raise ValueError(f"parameter '{name}' = '{path}': no such file or folder")
            values[name] = str(path.resolve())
    out = Path(str(values.get("out", project_folder() / "runs"))).expanduser().resolve()
    try:
        config = ExplorerConfig(**{**values, "out": out})
    except ValidationError as error:
        raise ValueError(format_validation_error(error)) from None
    if config.film is None:
        return config
    film = absolute_path("film", config.film)
    if film.suffix.lower() not in (".gif", ".mp4"):
        raise ValueError(f"parameter 'film' = {format_value(str(config.film))} must end with .gif or .mp4")
    ensure_writable(film.parent, "film")
    return config.model_copy(update={"film": film})
