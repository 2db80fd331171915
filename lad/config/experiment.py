"""The parameters of one experiment, validated before any work."""

import dataclasses
import hashlib
import json
import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from lad.assigners import ASSIGNERS, build_assigner
from lad.config.checkpoints import (
    checkpoint_title,
    split_teachers,
    values_from_init,
    values_from_other_teachers,
    values_from_teacher,
)
from lad.config.consistency import DEFAULT_TEACHER, NO_INIT, OF_TEACHER, check_consistency, shorten
from lad.config.groups import ExperimentParameters, OptimizationParameters
from lad.config.identity import hashed_values
from lad.config.profile_values import merge_profile_values
from lad.config.profiles import FINE_TUNING_LR, OWN_DATA_SIZES, default_values
from lad.data.augmentation import resolve_augment
from lad.data.layouts import is_shared
from lad.data.synthetic.difficulties import DIFFICULTIES
from lad.data.synthetic.folders import VERSION
from lad.data.val_share import DEFAULT_VAL_SHARE
from lad.distillation.methods import METHODS, resolve_method_options
from lad.distillation.terms import TERMS
from lad.evaluation.coco_eval import find_evaluator
from lad.utils.loggers import check_logger
from lad.utils.messages import counted, format_validation_error, format_value
from lad.utils.paths import absolute_path, project_folder

NO_OTHER_TEACHERS: dict[str, Any] = {"other_teachers": [], "other_teachers_sha256": []}
MAX_NAME = 60  # letters of the teachers in a run's name
EVALUATION_BATCH = 8  # images, to evaluate a teacher's checkpoint


class Parameters(ExperimentParameters):
    """The parameters of one run. Build it with `make_parameters`, which fills in the profile.

    Two runs are the same experiment if all parameters outside `NOT_HASHED` are equal.
    """

    @model_validator(mode="before")
    @classmethod
    def _resolve_options(cls, values: Any) -> Any:
        """Fill in the defaults of all options by name, so that they are stored with the run."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        for name in ("assigner_options", "method_options"):
            if not isinstance(values.get(name, {}), dict):
                raise ValueError(f"parameter '{name}' = {format_value(values[name])} must map names to values")
        assigner = values.get("assigner", cls.model_fields["assigner"].default)
        if isinstance(assigner, str) and assigner in ASSIGNERS:
            options = build_assigner(assigner, values.get("assigner_options", {}))
            values["assigner_options"] = dataclasses.asdict(options)  # type: ignore[call-overload]  # a pydantic dataclass
        method, distill = values.get("method", cls.model_fields["method"].default), values.get("distill", [])
        has_terms = isinstance(distill, list) and all(isinstance(term, str) and term in TERMS for term in distill)
        if isinstance(method, str) and method in METHODS and has_terms:
            values["method_options"] = resolve_method_options(method, distill, values.get("method_options", {}))
        if "augment" in values:
            values["augment"] = resolve_augment(values["augment"])
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> "Parameters":
        check_consistency(self)
        return self

    @property
    def run_name(self) -> str:
        """Return the name of the run: its main parameters, and the hash of all of them."""
        data = self.data if self.data in DIFFICULTIES else Path(self.data).name.removesuffix(".json")
        teachers = "-".join((self.teacher, *self._names_of_others())).replace("/", "-") if self.teacher else ""
        if len(teachers) > MAX_NAME:
            teachers = f"{self.teacher}-and-{len(self.other_teachers)}-more"
        taught = f"-from-{teachers}" if teachers else ""
        where = self.profile if data == self.profile else f"{self.profile}-{data}"
        if self.epochs == 0:
            return f"{where}-checkpoint-{self.student}-{self.hash}"
        method = self.method_name.replace("+", "-")
        return f"{where}-{method}-{self.student}{taught}-s{self.seed}-{self.hash}"

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
        trained = f"{self.student}{taught} on {self.data}, {counted(self.epochs, 'epoch')}"
        title = f"{self.method_name}: {trained}, seed {self.seed}"
        in_title = {"method", "distill", "student", "teacher", "data", "epochs", "seed"}
        values = self.model_dump(exclude=in_title)
        rest = {name: value for name, value in values.items() if value not in (None, {}, [])}
        # Lines break between values, not at the spaces within one.
        words = " ".join(f"{name}={shorten(value)}".replace(" ", "\0") for name, value in rest.items())
        return f"{title}\n{textwrap.fill(words, width=88)}".replace("\0", " ")

    @property
    def teacher_title(self) -> str | None:
        """Return the teacher's name for tables: that of its checkpoint, else its backbone; None without a teacher.

        The names of several teachers are joined by +.
        """
        if self.teacher is None:
            return None
        title = self.teacher if self.teacher_checkpoint is None else checkpoint_title(self.teacher_checkpoint)
        return " + ".join((title, *self._names_of_others()))

    def _names_of_others(self) -> list[str]:
        pairs = zip(self.other_teachers, self.other_teachers_sha256, strict=True)
        return [checkpoint_title(teacher) if digest else teacher for teacher, digest in pairs]

    @property
    def method_name(self) -> str:
        """Return the names of method and distillation terms: "lad", "baseline+pkd"."""
        return "+".join((self.method, *self.distill))

    @property
    def method_title(self) -> str:
        """Return the name of method and distillation terms for figures and tables: "LAD", "plain + PKD"."""
        return " + ".join((METHODS[self.method].title, *(TERMS[term].title for term in self.distill)))

    @property
    def needs_teacher(self) -> bool:
        """Return whether the method or a distillation term uses a teacher."""
        return METHODS[self.method].needs_teacher or bool(self.distill)

    def in_epoch(self, epoch: int) -> "Parameters":
        """Return the parameters of an epoch, from 0: those of the baseline once the student assigns for itself."""
        if self.teach_until == 1 or epoch < self.teach_until * self.epochs:
            return self
        return self.model_copy(update={"method": "baseline"})

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

    def of_teachers(self) -> list["Parameters"]:
        """Return the parameters of the runs of all teachers, as `of_teacher`; the other teachers come last.

        Raises:
            ValueError: The file of another teacher cannot be read.
        """
        of_others = []
        for teacher, digest in zip(self.other_teachers, self.other_teachers_sha256, strict=True):
            if digest:
                given = {"teacher_checkpoint": teacher, "teacher_sha256": digest, "teacher_part": self.teacher_part}
                own = {name: None for name in OF_TEACHER} | given
                own |= values_from_teacher({name: value for name, value in given.items() if value is not None})
            elif self.teacher_checkpoint is not None:  # its architecture is not that of the others
                own = {name: None for name in OF_TEACHER} | {"teacher": teacher}
            else:
                own = {"teacher": teacher}
            of_others.append(self.model_copy(update={**NO_OTHER_TEACHERS, **own}).of_teacher())
        return [self.of_teacher(), *of_others]

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
            "distill": [],
            "teach_until": 1.0,
            **NO_OTHER_TEACHERS,
            **dict.fromkeys(OF_TEACHER),
        }
        return Parameters(**{**self.model_dump(), **untaught, **changes})


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
    known = split_teachers(known)
    known |= values_from_init(known) | values_from_teacher(known) | values_from_other_teachers(known)
    batch_size = _valid_batch_size(known.get("batch_size"))
    values = {**default_values(profile, str(known.get("student")), batch_size, "init" in known), **known}
    method = METHODS.get(values.get("method", "lad"))
    if (method is not None and method.needs_teacher) or values.get("distill"):
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
            parameters.of_teachers()
        except ValidationError as error:
            raise ValueError(f"its teacher: {format_validation_error(error)}") from None
    find_evaluator(parameters.evaluator)  # fail now if it is not installed, not after the first epoch
    check_logger(parameters.logger)
    return parameters


def _valid_batch_size(value: Any) -> int | None:
    """Return a given batch size, perhaps as text, as a number; None for an invalid one, which is refused later."""
    try:
        return TypeAdapter(Annotated[int, Field(ge=1, le=4096)]).validate_python(value)
    except ValidationError:
        return None
