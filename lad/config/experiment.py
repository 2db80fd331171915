"""The parameters of one experiment, checked before any work, and the profiles that give their defaults."""

import hashlib
import json
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from lad.assigners.base import ASSIGNERS
from lad.config.notebook import notebook_values
from lad.config.profiles import OWN_DATA_SIZES, PROFILES, SWIN, profile_of
from lad.config.yaml_file import read_values
from lad.data.synthetic.shapes import DIFFICULTIES, VERSION
from lad.distillation.cost_selection import COST_SELECTIONS
from lad.distillation.methods import CO_LEARNING, LEARN_ASSIGNMENT, METHODS, METHODS_WITH_TEACHER
from lad.evaluation.coco_eval import Evaluator, find_evaluator
from lad.models.backbones.registry import BACKBONES
from lad.models.heads.paa import HEADS, MIN_CHANNELS, NORM_GROUPS
from lad.utils.messages import format_validation_error, format_value, given_values, invalid_choice_message
from lad.utils.paths import absolute_path, project_folder

DEFAULT_TEACHER = "r101"
OF_TEACHER = ("teacher", "teacher_epochs", "teacher_width", "teacher_head", "teacher_iou_branch")
# They say where a run happens, who counts and what is kept, not what it is.
NOT_HASHED = frozenset({"out", "devices", "accelerator", "workers", "evaluator", "save_epochs", "checkpoint_every"})


class Parameters(BaseModel):
    """One run. Build it with `make_parameters`, which fills in the profile and explains what is wrong.

    Two runs are the same experiment if everything but what `NOT_HASHED` lists is equal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    profile: str = "toy"
    data: str = Field(min_length=1)  # "toy", "mini", or a folder in COCO format
    method: str = "lad"
    student: str = "r50"  # backbone
    teacher: str | None = None  # backbone of the teacher: a run with the baseline method or, in colad, trained beside
    teacher_width: float | None = Field(default=None, gt=0, le=4)  # None: as the student's; likewise the next two
    teacher_head: str | None = None
    teacher_iou_branch: StrictBool | None = None
    # lad: remember the teacher's assignment of each (image, flip) and do not ask again; for a fixed image size.
    cache_teacher: StrictBool = False
    assigner: str = "paa"  # what makes positives of costs, or of boxes alone
    cost_selection: str = "std_mean"  # colad: whose costs make the assignment
    head: str = "paa"
    iou_branch: StrictBool = True
    seed: int = Field(default=0, ge=0, lt=2**31)
    epochs: int = Field(ge=1, le=10_000)
    # None: as many as the student's. In colad: of a run of its own that its weights begin from; None: they begin anew.
    teacher_epochs: int | None = Field(default=None, ge=1, le=10_000)

    batch_size: int = Field(ge=1, le=4096)  # images per step over all devices
    optimizer: Literal["sgd", "adamw"]
    lr: float = Field(gt=0, le=10)
    weight_decay: float = Field(ge=0, le=1)
    schedule: Literal["step", "cosine"]
    warmup: int = Field(ge=0, le=10**9)  # steps of linear warm-up from lr × .001, at most half the run
    clip_grad: float = Field(ge=0)  # largest gradient norm; 0 does not clip
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    # The networks that train, by torch.compile: a slow start, then faster steps; a teacher is then trained so, too.
    compile: StrictBool = False

    width: float = Field(gt=0, le=4)  # factor on the backbone's channels
    channels: int = Field(ge=MIN_CHANNELS, le=4096, multiple_of=NORM_GROUPS)  # of the pyramid and the head
    weights: str  # backbone weights: "none", "imagenet", or a file
    frozen_stages: int = Field(ge=-1, le=4)
    norm_eval: StrictBool

    short_sides: list[int] = Field(min_length=1)  # training images' short side in pixels, one of them at random
    test_short_side: int = Field(ge=32, le=10_000)
    long_side: int = Field(ge=32, le=10_000)
    flip: float = Field(default=0.5, ge=0, le=1)  # probability
    train_images: int | None = Field(default=None, ge=1)  # only the first so many, for a quick trial
    bad_images: Literal["stop", "skip"] = "stop"  # when an image file cannot be read

    eval_every: int = Field(ge=1, le=10_000)  # epochs; the last one always is
    evaluator: Evaluator = "pycocotools"  # or faster_coco_eval: the same numbers sooner
    checkpoint_every: int = Field(default=500, ge=1, le=10**9)  # steps, within an epoch; one is also written at its end
    save_epochs: StrictBool = False  # keep the weights of every epoch, for the explorer
    out: str = "runs"  # folder of the runs
    devices: int = Field(default=1, ge=1, le=1024)
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"  # the mixture needs float64, which Apple's mps lacks
    workers: int = Field(ge=0, le=256)  # processes that load images, per device

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_switch(cls, value: Any, field: ValidationInfo) -> Any:
        """Numbers may come as text, but true is not 1."""
        if isinstance(value, bool) and "bool" not in str(cls.model_fields[str(field.field_name)].annotation):
            raise ValueError(f"parameter '{field.field_name}' = {value}: cannot be true or false")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "Parameters":
        choices: dict[str, Iterable[str]] = {
            "profile": PROFILES,
            "method": METHODS,
            "student": BACKBONES,
            "teacher": BACKBONES,
            "head": HEADS,
            "teacher_head": HEADS,
            "cost_selection": COST_SELECTIONS,
            "assigner": ASSIGNERS,
        }
        for name, known in choices.items():
            value = getattr(self, name)
            if value not in known and not (name.startswith("teacher") and value is None):
                raise ValueError(invalid_choice_message(name, value, known))
        if self.method in METHODS_WITH_TEACHER and self.teacher is None:
            raise ValueError(f"method '{self.method}' needs a teacher; add teacher={DEFAULT_TEACHER}")
        given = [name for name in OF_TEACHER if getattr(self, name) is not None]
        if self.method not in METHODS_WITH_TEACHER and given:
            raise ValueError(f"method '{self.method}' has no teacher; leave out {' and '.join(given)}")
        if self.method not in CO_LEARNING and self.cost_selection != "std_mean":
            raise ValueError(f"cost_selection is for method 'colad'; leave it out with method '{self.method}'")
        if self.cache_teacher and self.method != "lad":
            reason = {
                "baseline": "has no teacher",
                "colad": "trains its teacher, so that its assignments change",
            }.get(self.method, "needs the teacher's outputs and not its assignment alone")
            raise ValueError(f"cache_teacher is for method 'lad'; method '{self.method}' {reason}")
        if self.cache_teacher and len(self.short_sides) > 1:
            raise ValueError(
                f"cache_teacher needs images of a fixed size, but short_sides holds {len(self.short_sides)} to draw "
                "from; give one, or cache_teacher=False"
            )
        if ASSIGNERS[self.assigner].is_static and self.method in LEARN_ASSIGNMENT:
            raise ValueError(
                f"assigner '{self.assigner}' asks no network, so that a teacher cannot change it; use it with method "
                f"baseline or soft_label, or one of paa, tal, simota with method '{self.method}'"
            )
        if self.weights == "none" and (self.frozen_stages >= 0 or self.norm_eval):
            raise ValueError(
                f"frozen_stages={self.frozen_stages} and norm_eval={self.norm_eval} would keep a random backbone as it "
                "is; give weights, or frozen_stages=-1 and norm_eval=False"
            )
        if self.weights == "imagenet" and self.width != 1:
            raise ValueError(f"weights 'imagenet' exist for width=1 only, not {self.width}; give weights='none'")
        if min(self.short_sides) < 32 or max(self.short_sides) > self.long_side:
            raise ValueError(
                f"short_sides={_shortened(self.short_sides)} must lie between 32 and long_side={self.long_side}"
            )
        if self.test_short_side > self.long_side:
            raise ValueError(f"test_short_side={self.test_short_side} is more than long_side={self.long_side}")
        if self.batch_size % self.devices:
            raise ValueError(f"batch_size={self.batch_size} does not divide over devices={self.devices}")
        return self

    @property
    def run_name(self) -> str:
        """Folder name of the run: what it is, and the hash that makes it one of a kind."""
        data = self.data if self.data in DIFFICULTIES else Path(self.data).name
        taught = f"-from-{self.teacher}" if self.teacher else ""
        where = self.profile if data == self.profile else f"{self.profile}-{data}"
        return f"{where}-{self.method}-{self.student}{taught}-s{self.seed}-{self.hash}"

    @property
    def hash(self) -> str:
        """Ten hex digits of everything that makes the experiment. A parameter at its default does not count, so that
        one that a later version adds leaves the names of earlier runs as they are."""
        content = self.model_dump(exclude=set(NOT_HASHED), exclude_defaults=True)
        if self.data in DIFFICULTIES:
            content["data"] = f"{self.data}-v{VERSION}"
        canonical = json.dumps(content, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:10]

    def summary(self) -> str:
        """What will be run, for a person to read."""
        taught = f" taught by {self.teacher}" if self.teacher else ""
        question = f"{self.method}: {self.student}{taught} on {self.data}, {self.epochs} epochs, seed {self.seed}"
        told = {"method", "student", "teacher", "data", "epochs", "seed"}
        rest = {name: value for name, value in self.model_dump(exclude=told).items() if value is not None}
        # A value stays in one piece: its spaces are not where a line may break.
        words = " ".join(f"{name}={_shortened(value)}".replace(" ", "\0") for name, value in rest.items())
        return f"{question}\n{textwrap.fill(words, width=88)}".replace("\0", " ")

    def of_teacher(self) -> "Parameters":
        """The run that trains this run's teacher alone: the same in all but network, method and epochs."""
        assert self.teacher is not None
        own, other = profile_of(self.profile, self.student), profile_of(self.profile, self.teacher)
        recipe = {name: other[name] for name in SWIN if getattr(self, name) == own[name]}
        return self.plain(epochs=self.teacher_epochs or self.epochs, **recipe, **self.teacher_network())

    def teacher_network(self) -> dict[str, Any]:
        """What the teacher's network is built from, under the student's names."""
        assert self.teacher is not None
        return {
            "student": self.teacher,
            "width": self.width if self.teacher_width is None else self.teacher_width,
            "head": self.teacher_head or self.head,
            "iou_branch": self.iou_branch if self.teacher_iou_branch is None else self.teacher_iou_branch,
        }

    def plain(self, **changes: Any) -> "Parameters":
        """The same run without a teacher: the plain baseline, or with `changes`."""
        taught = {
            "method": "baseline",
            "cost_selection": "std_mean",
            "cache_teacher": False,
            **dict.fromkeys(OF_TEACHER),
        }
        return Parameters(**{**self.model_dump(), **taught, **changes})


def make_parameters(given: Mapping[str, Any]) -> Parameters:
    """Parameters from the given values, the rest from their profile; None means "not given".

    Raises ValueError with one line that names each parameter that is wrong, its value, and what is right.
    """
    known = merge_profile_values(given)
    for name in ("method", "student"):  # they choose the defaults of others
        if not isinstance(known.get(name, ""), str):
            raise ValueError(f"parameter '{name}' = {format_value(known[name])}: input should be a valid string")
    profile = known["profile"]
    values = {**profile_of(profile, str(known.get("student"))), **known}
    if values.get("method", "lad") in METHODS_WITH_TEACHER:
        values.setdefault("teacher", DEFAULT_TEACHER)
    trained_together = values.get("method", "lad") in CO_LEARNING
    if "teacher_epochs" not in known and ("epochs" in known or "teacher" not in values or trained_together):
        values.pop("teacher_epochs", None)  # a profile's goes with the profile's epochs
    if not isinstance(values["data"], str) or values["data"] not in DIFFICULTIES:
        folder = absolute_path("data", known["data"]) if "data" in known else project_folder() / values["data"]
        values = {**values, **OWN_DATA_SIZES.get(profile, {}), **known, "data": str(folder)}
    if not isinstance(values["weights"], str) or values["weights"] not in ("none", "imagenet"):
        values["weights"] = str(absolute_path("weights", values["weights"]))
    values["out"] = str(absolute_path("out", values.get("out", project_folder() / "runs")))
    try:
        parameters = Parameters(**values)
    except ValidationError as error:
        raise ValueError(format_validation_error(error)) from None
    if parameters.teacher is not None:  # whose run is refused now rather than when it begins
        try:
            parameters.of_teacher()
        except ValidationError as error:
            raise ValueError(f"its teacher: {format_validation_error(error)}") from None
    find_evaluator(parameters.evaluator)  # it is missed here rather than after the first epoch
    return parameters


def merge_profile_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values, completed by those that `profiles` holds for their profile.

    A file of params/ serves every profile; where they differ, it has a mapping such as `profiles: {toy: {epochs: 12}}`.
    A value given by its own name takes precedence.

    Raises:
        ValueError: `profile` or a key of `profiles` is not a profile, or a name is not a parameter.
    """
    known = given_values({name: value for name, value in given.items() if name != "profiles"}, Parameters)
    profile = known.setdefault("profile", "toy")
    if not isinstance(profile, str):
        raise ValueError(f"parameter 'profile' = {format_value(profile)}: input should be a valid string")
    if profile not in PROFILES:
        raise ValueError(invalid_choice_message("profile", profile, PROFILES))
    profiles = {} if given.get("profiles") is None else given["profiles"]
    if not isinstance(profiles, Mapping) or not all(isinstance(values, Mapping) for values in profiles.values()):
        hint = "must map profiles to parameters, as in {toy: {epochs: 12}}"
        raise ValueError(f"parameter 'profiles' = {format_value(profiles)} {hint}")
    for name, values in profiles.items():
        if name not in PROFILES:
            raise ValueError(invalid_choice_message("profiles", name, PROFILES))
        try:
            given_values(values, Parameters)
        except ValueError as error:
            raise ValueError(f"profiles, {name}: {error}") from None
    return {**given_values(profiles.get(profile, {}), Parameters), **known}


def read_parameters(file: Path) -> Parameters:
    """Those of a run's params.json, which holds them all, or of a YAML file as in params/.

    Raises ValueError, naming the file, for one that cannot be read or a parameter that is wrong.
    """
    is_a_runs = file.suffix == ".json"
    given = {} if is_a_runs else read_values(file)
    try:
        return Parameters(**json.loads(file.read_text(encoding="utf-8"))) if is_a_runs else make_parameters(given)
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        raise ValueError(f"{file}: {format_validation_error(error)}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{file}: {' '.join(str(error).split())}") from None


def notebook_parameters(namespace: Mapping[str, Any]) -> Parameters:
    """Parameters from a notebook's variables (`globals()`); see `notebook_values`."""
    return make_parameters(notebook_values(namespace))


def _shortened(value: Any) -> str:
    """A value for print; a long list by its ends."""
    if isinstance(value, list) and len(value) > 6:
        return f"[{value[0]}, {value[1]}, … {value[-1]}]"
    return str(value)
