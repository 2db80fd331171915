"""The parameters of one experiment, validated before any work."""

import dataclasses
import hashlib
import json
import math
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from lad.assigners import ASSIGNERS, build_assigner
from lad.config.checkpoints import checkpoint_title, values_from_init, values_from_teacher
from lad.config.groups import (
    DataParameters,
    MethodParameters,
    NetworkParameters,
    OptimizationParameters,
    RuntimeParameters,
    TeacherParameters,
)
from lad.config.profiles import FINE_TUNING_LR, OWN_DATA_SIZES, PROFILES, default_values
from lad.config.yaml_file import read_value, read_values
from lad.data.augmentation import resolve_augment
from lad.data.layouts import is_shared
from lad.data.synthetic.shapes import DIFFICULTIES, VERSION
from lad.data.val_share import DEFAULT_VAL_SHARE
from lad.distillation.cost_selection import COST_SELECTIONS
from lad.distillation.methods import METHODS, build_method_options
from lad.evaluation.coco_eval import find_evaluator
from lad.models.backbones.registry import BACKBONES
from lad.models.heads.registry import HEADS
from lad.utils.messages import (
    format_validation_error,
    format_value,
    given_values,
    invalid_choice_message,
    is_text_field,
)
from lad.utils.paths import absolute_path, project_folder

DEFAULT_TEACHER = "r101"
OF_TEACHER = (
    "teacher", "teacher_epochs", "teacher_width", "teacher_head", "teacher_iou_branch", "teacher_channels",
    "teacher_checkpoint", "teacher_part", "teacher_sha256",
)  # fmt: skip
# Parameters without effect on a run's numbers: where it runs, what evaluates it and what is saved; and the places of
# detectors that are known by the hash of their weights.
NOT_HASHED = frozenset(
    {
        "out", "rerun", "devices", "accelerator", "workers", "threads", "evaluator", "save_epochs", "checkpoint_every",
        "init", "init_part", "teacher_checkpoint", "teacher_part",
    }
)  # fmt: skip
# Later parameters that change numbers. At these values, those of runs before them, they are no part of the identity.
ADDED = {"max_detections": 100, "augment": {}, "images": None, "val_share": None}
NO_INIT = {"init": None, "init_part": "student", "init_partial": False, "init_sha256": None}
EVALUATION_BATCH = 8  # images, to evaluate a teacher's checkpoint
RENAMED = {"criterion": "cost_selection"}  # parameters of earlier versions


class Parameters(
    RuntimeParameters, OptimizationParameters, DataParameters, MethodParameters, TeacherParameters, NetworkParameters
):
    """The parameters of one run: all groups together. Build it with `make_parameters`, which fills in the profile.

    Two runs are the same experiment if all parameters outside `NOT_HASHED` are equal.

    Attributes:
        profile: Source of the defaults, one of `PROFILES`.
    """

    profile: str = "toy"

    @model_validator(mode="before")
    @classmethod
    def _resolve_options(cls, values: Any) -> Any:
        """Fill in the defaults of all options by name, so that they are stored with the run."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        for kind, entries, build in (
            ("assigner", ASSIGNERS, build_assigner),
            ("method", METHODS, build_method_options),
        ):
            name, options = values.get(kind, cls.model_fields[kind].default), values.get(f"{kind}_options", {})
            if not isinstance(options, dict):
                raise ValueError(f"parameter '{kind}_options' = {format_value(options)} must map names to values")
            if isinstance(name, str) and name in entries:
                values[f"{kind}_options"] = dataclasses.asdict(build(name, options))  # type: ignore[arg-type]  # a pydantic dataclass
        if "augment" in values:
            values["augment"] = resolve_augment(values["augment"])
        return values

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
        if METHODS[self.method].needs_teacher and self.teacher is None:
            raise ValueError(f"method '{self.method}' needs a teacher; add teacher={DEFAULT_TEACHER}")
        given = [name for name in OF_TEACHER if getattr(self, name) is not None]
        if self.teacher_checkpoint is not None:  # the others follow from it
            given = [name for name in ("teacher_checkpoint", "teacher_part") if name in given]
        if not METHODS[self.method].needs_teacher and given:
            raise ValueError(f"method '{self.method}' has no teacher; leave out {' and '.join(given)}")
        if not METHODS[self.method].trains_teacher and self.cost_selection != "std_mean":
            raise ValueError(f"cost_selection is for method 'colad'; leave it out with method '{self.method}'")
        if self.teacher_checkpoint is None and (self.teacher_part is not None or self.teacher_sha256 is not None):
            raise ValueError("teacher_part and teacher_sha256 are for teacher_checkpoint; give it, or leave them out")
        if self.teacher_checkpoint is not None and self.teacher_epochs is not None:
            raise ValueError("the teacher of teacher_checkpoint is already trained; leave out teacher_epochs")
        if self.teacher_cost == "box" and self.method != "lad":
            reason = {
                "baseline": "has no teacher",
                "colad": "trains its teacher on the classes of the data",
            }.get(self.method, "needs the teacher's class outputs")
            raise ValueError(f"teacher_cost 'box' is for method 'lad'; method '{self.method}' {reason}")
        if self.teacher_cost == "box" and "class_weight" not in self.assigner_options:
            raise ValueError(f"teacher_cost 'box': assigner '{self.assigner}' has no class_weight to set to 0")
        if self.init is None and any(getattr(self, name) != value for name, value in NO_INIT.items()):
            raise ValueError("init_part, init_partial and init_sha256 are for init; give init, or leave them out")
        if self.epochs == 0 and (self.ema is not None or self.accumulate > 1 or self.augment):
            raise ValueError("epochs=0 trains nothing; leave out ema, accumulate and augment")
        if self.epochs == 0 and (self.init is None or self.method != "baseline"):
            raise ValueError("epochs=0 only evaluates the detector of init, with method 'baseline'; give 1 or more")
        if self.cache_teacher is True and self.method != "lad":
            reason = {
                "baseline": "has no teacher",
                "colad": "trains its teacher, whose assignments change",
            }.get(self.method, "needs the teacher's outputs, not only its assignment")
            raise ValueError(f"cache_teacher is for method 'lad'; method '{self.method}' {reason}")
        if self.cache_teacher is True and len(self.short_sides) > 1:
            raise ValueError(
                f"cache_teacher needs images of a fixed size, but short_sides holds {len(self.short_sides)} to draw "
                "from; give one, or cache_teacher=False"
            )
        if self.cache_teacher is True and self.augment:
            raise ValueError(
                "cache_teacher needs the same image in every epoch, but augment changes it "
                f"({', '.join(self.augment)}); leave out augment, or cache_teacher"
            )
        if not ASSIGNERS[self.assigner].uses_predictions and METHODS[self.method].learns_assignment:
            usable = ", ".join(name for name, assigner in ASSIGNERS.items() if assigner.uses_predictions)
            raise ValueError(
                f"assigner '{self.assigner}' does not use predictions, so a teacher cannot change it; use {usable}, or "
                f"method baseline or soft_label instead of '{self.method}'"
            )
        if self.weights == "none" and self.init is None and (self.frozen_stages >= 0 or self.norm_eval):
            raise ValueError(
                f"frozen_stages={self.frozen_stages} and norm_eval={self.norm_eval} would freeze a randomly "
                "initialized backbone; give weights or init, or frozen_stages=-1 and norm_eval=False"
            )
        if self.weights == "imagenet" and self.width != 1:
            raise ValueError(f"weights 'imagenet' exist for width=1 only, not {self.width}; give weights='none'")
        if min(self.short_sides) < 32 or max(self.short_sides) > self.long_side:
            raise ValueError(
                f"short_sides={_shortened(self.short_sides)} must lie between 32 and long_side={self.long_side}"
            )
        if self.test_short_side > self.long_side:
            raise ValueError(f"test_short_side={self.test_short_side} is more than long_side={self.long_side}")
        if self.batch_size % (self.devices * self.accumulate):
            parts = f"devices={self.devices}" + (f" · accumulate={self.accumulate}" if self.accumulate > 1 else "")
            raise ValueError(f"batch_size={self.batch_size} must be a multiple of {parts}")
        return self

    @property
    def run_name(self) -> str:
        """Return the name of the run: its main parameters, and the hash of all of them."""
        data = self.data if self.data in DIFFICULTIES else Path(self.data).name.removesuffix(".json")
        taught = f"-from-{self.teacher}" if self.teacher else ""
        where = self.profile if data == self.profile else f"{self.profile}-{data}"
        if self.epochs == 0:
            return f"{where}-checkpoint-{self.student}-{self.hash}"
        return f"{where}-{self.method}-{self.student}{taught}-s{self.seed}-{self.hash}"

    @property
    def hash(self) -> str:
        """Return ten hex digits of the hash of `identity`."""
        canonical = json.dumps(self.identity(), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:10]

    def identity(self) -> dict[str, Any]:
        """Return the parameters that `hashed_values` keeps, with the version of an embedded data set."""
        content = hashed_values(self.model_dump())
        if self.data in DIFFICULTIES:
            content["data"] = f"{self.data}-v{VERSION}"
        return content

    def summary(self) -> str:
        """Return a readable text of the run's parameters."""
        taught = f" taught by {self.teacher_title}" if self.teacher else ""
        title = f"{self.method}: {self.student}{taught} on {self.data}, {self.epochs} epochs, seed {self.seed}"
        in_title = {"method", "student", "teacher", "data", "epochs", "seed"}
        rest = {name: value for name, value in self.model_dump(exclude=in_title).items() if value not in (None, {})}
        # Lines break between values, not at the spaces within one.
        words = " ".join(f"{name}={_shortened(value)}".replace(" ", "\0") for name, value in rest.items())
        return f"{title}\n{textwrap.fill(words, width=88)}".replace("\0", " ")

    @property
    def teacher_title(self) -> str | None:
        """Return the teacher's name for tables: that of its checkpoint, else its backbone; None without a teacher."""
        return self.teacher if self.teacher_checkpoint is None else checkpoint_title(self.teacher_checkpoint)

    def explain_defaults(self) -> list[str]:
        """Return a line for each default that depends on the other parameters in a way that one might not expect."""
        lines = []
        fine_tuning = self.init is not None
        own = default_values(self.profile, self.student, self.batch_size, fine_tuning)
        unscaled = default_values(self.profile, self.student, None, fine_tuning)
        if self.lr == own["lr"] != unscaled["lr"]:
            lines.append(
                f"lr {self.lr:g}: {unscaled['lr']:g}, the default for batch_size {unscaled['batch_size']}, scaled to "
                f"batch_size {self.batch_size}; give lr for another"
            )
        chosen = {name: getattr(self, name) for name in ("lr", "frozen_stages", "norm_eval")}
        if fine_tuning and chosen.items() <= own.items():
            lower = default_values(self.profile, self.student, self.batch_size)["lr"] != own["lr"]
            factor = f" ({FINE_TUNING_LR:g} of the profile's)" if lower else ""
            lines.append(
                f"fine-tuning from {checkpoint_title(str(self.init))}: lr {self.lr:g}{factor}, frozen_stages "
                f"{self.frozen_stages}, norm_eval {self.norm_eval}; give them for others"
            )
        return lines

    def of_teacher(self) -> "Parameters":
        """Return the parameters of the teacher's own run: the same in all but network, method, epochs and recipe.

        The run of a teacher from a checkpoint has no epochs: it only evaluates it.
        """
        assert self.teacher is not None
        if self.teacher_checkpoint is not None:
            return self._of_teacher_checkpoint()
        own = default_values(self.profile, self.student, self.batch_size, fine_tuning=self.init is not None)
        other = default_values(self.profile, self.teacher, self.batch_size)
        recipe = {name: value for name, value in other.items() if getattr(self, name) == own[name] != value}
        network = self.teacher_network()
        if self.init is not None and (recipe.get("weights", self.weights) == "none" or network["width"] != 1):
            recipe |= {"weights": "none", "frozen_stages": -1, "norm_eval": False}  # nothing to freeze
        return self.plain(epochs=self.teacher_epochs or self.epochs, **recipe, **NO_INIT, **network)

    def _of_teacher_checkpoint(self) -> "Parameters":
        """Return the parameters of the evaluation of `teacher_checkpoint`, the same for all runs on this data.

        Parameters of training have their defaults; with teacher_cost "box", its assignments ignore classes.
        """
        defaults = default_values(self.profile, str(self.teacher))
        training = {*OptimizationParameters.model_fields, "eval_every", "train_images", "flip", "augment"} - {
            "precision"
        }
        fields = Parameters.model_fields
        unused = {name: defaults.get(name, fields[name].get_default(call_default_factory=True)) for name in training}
        options = self.assigner_options | ({"class_weight": 0} if self.teacher_cost == "box" else {})
        init = {"init": self.teacher_checkpoint, "init_sha256": self.teacher_sha256, "init_partial": False}
        evaluation = {
            "epochs": 0,
            "batch_size": math.lcm(EVALUATION_BATCH, self.devices),
            "short_sides": [self.test_short_side],
            "weights": "none",
            "frozen_stages": -1,
            "norm_eval": False,
            "save_epochs": False,
        }
        changes = {
            **unused,
            **evaluation,
            **init,
            "init_part": self.teacher_part or "student",
            "assigner_options": options,
        }
        return self.plain(**changes, **self.teacher_network())

    def teacher_network(self) -> dict[str, Any]:
        """Return the parameters of the teacher's network under the student's names."""
        assert self.teacher is not None
        return {
            "student": self.teacher,
            "width": self.width if self.teacher_width is None else self.teacher_width,
            "head": self.teacher_head or self.head,
            "iou_branch": self.iou_branch if self.teacher_iou_branch is None else self.teacher_iou_branch,
            "channels": self.teacher_channels or self.channels,
        }

    def plain(self, **changes: Any) -> "Parameters":
        """Return the parameters of the same run without a teacher, a baseline, with `changes`."""
        untaught: dict[str, Any] = {
            "method": "baseline",
            "method_options": {},
            "cost_selection": "std_mean",
            "cache_teacher": "auto",
            "teacher_cost": "full",
            **dict.fromkeys(OF_TEACHER),
        }
        return Parameters(**{**self.model_dump(), **untaught, **changes})


def hashed_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters outside `NOT_HASHED`, defaults included, except for those `ADDED` later."""
    return without_added({name: value for name, value in values.items() if name not in NOT_HASHED})


def without_added(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters by name without those `ADDED` later that have the value of runs before them."""
    return {name: value for name, value in values.items() if name not in ADDED or value != ADDED[name]}


def make_parameters(given: Mapping[str, Any]) -> Parameters:
    """Build parameters from the given values and the defaults of their profile; None means "not given".

    Raises:
        ValueError: One line that names each wrong parameter, its value and what is allowed.
    """
    known = merge_profile_values(given)
    for name in ("method", "student"):  # other parameters' defaults depend on them
        if not isinstance(known.get(name, ""), str):
            raise ValueError(f"parameter '{name}' = {format_value(known[name])}: input should be a valid string")
    profile = known["profile"]
    known |= values_from_init(known) | values_from_teacher(known)
    batch_size = _valid_batch_size(known.get("batch_size"))
    values = {**default_values(profile, str(known.get("student")), batch_size, "init" in known), **known}
    method = METHODS.get(values.get("method", "lad"))
    if method is not None and method.needs_teacher:
        values.setdefault("teacher", DEFAULT_TEACHER)
    if "teacher_checkpoint" in known and "teacher_epochs" not in known:
        values.pop("teacher_epochs", None)
    trains_teacher = method is not None and method.trains_teacher
    if "teacher_epochs" not in known and ("epochs" in known or "teacher" not in values or trains_teacher):
        values.pop("teacher_epochs", None)  # a profile's teacher_epochs belongs to the profile's epochs
    if not isinstance(values["data"], str) or values["data"] not in DIFFICULTIES:
        folder = absolute_path("data", known["data"]) if "data" in known else project_folder() / values["data"]
        values = {**values, **OWN_DATA_SIZES.get(profile, {}), **known, "data": str(folder)}
        if is_shared(folder):
            values.setdefault("val_share", DEFAULT_VAL_SHARE)
    if "images" in values:
        values["images"] = str(absolute_path("images", values["images"]))
    if not isinstance(values["weights"], str) or values["weights"] not in ("none", "imagenet"):
        values["weights"] = str(absolute_path("weights", values["weights"]))
    values["out"] = str(absolute_path("out", values.get("out", project_folder() / "runs")))
    try:
        parameters = Parameters(**values)
    except ValidationError as error:
        raise ValueError(format_validation_error(error)) from None
    if parameters.val_share is not None and not is_shared(Path(parameters.data)):
        parameters = parameters.model_copy(update={"val_share": None})  # without effect on data with a validation part
    if parameters.teacher is not None:  # reject invalid parameters of its run now, not when it starts
        try:
            parameters.of_teacher()
        except ValidationError as error:
            raise ValueError(f"its teacher: {format_validation_error(error)}") from None
    find_evaluator(parameters.evaluator)  # fail now if it is not installed, not after the first epoch
    return parameters


def _valid_batch_size(value: Any) -> int | None:
    """Return a given batch size, perhaps as text, as a number; None for an invalid one, which is refused later."""
    try:
        return TypeAdapter(Annotated[int, Field(ge=1, le=4096)]).validate_python(value)
    except ValidationError:
        return None


def merge_profile_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values, completed by those under `profiles` for the given profile.

    A file in params/ is for all profiles; values of a single profile are in a mapping such as
    `profiles: {toy: {epochs: 12}}`. A value given outside it takes precedence.

    Raises:
        ValueError: `profile` or a key of `profiles` is not a profile, or a name is not a parameter.
    """
    _refuse_renamed(given)
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


def read_parameters(file: Path, changes: Mapping[str, Any] | None = None) -> Parameters:
    """Read parameters from a run's params.json, which holds all of them, or from a YAML file as in params/.

    Args:
        file: A .json or YAML file.
        changes: Values that replace those of a YAML file.

    Raises:
        ValueError: The file cannot be read or a parameter is wrong; names the file.
    """
    is_json = file.suffix == ".json"
    given = {} if is_json else {**read_values(file), **(changes or {})}
    try:
        if not is_json:
            return make_parameters(given)
        if changes:
            raise ValueError("holds all parameters of a run, which cannot be changed; use a YAML file")
        content = json.loads(file.read_text(encoding="utf-8"))
        _refuse_renamed(content)
        return Parameters(**content)
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        raise ValueError(f"{file}: {format_validation_error(error)}") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{file}: {' '.join(str(error).split())}") from None


def read_changes(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Parse the parameters of a command line, `-p NAME VALUE`, as YAML.

    A parameter that is text keeps its spelling where YAML would read a number, a boolean or a date: `-p data 007`.

    Raises:
        ValueError: A value is not valid YAML; names the parameter.
    """
    changes = {}
    for name, text in pairs:
        try:
            value = read_value(name, text)
        except ValueError:
            if not is_text_field(Parameters, name):
                raise
            value = text
        is_respelled = isinstance(value, bool | int | float) and is_text_field(Parameters, name)
        changes[name] = text if is_respelled else value
    return changes


def _refuse_renamed(given: Mapping[str, Any]) -> None:
    for old, new in RENAMED.items():
        if old in given:
            raise ValueError(f"parameter '{old}' is now called '{new}'; give {new}={format_value(given[old])}")


def _shortened(value: Any) -> str:
    """Format a value; a long list by its first and last elements."""
    if isinstance(value, list) and len(value) > 6:
        return f"[{value[0]}, {value[1]}, … {value[-1]}]"
    return str(value)
