"""Checks of parameters that must fit each other; each raises ValueError with one line that says what to change."""

from collections.abc import Iterable

from lad.assigners import ASSIGNERS
from lad.config.groups import ExperimentParameters
from lad.config.profiles import PROFILES
from lad.distillation.cost_selection import COST_SELECTIONS
from lad.distillation.methods import METHODS
from lad.distillation.terms import TERMS
from lad.models.backbones.registry import BACKBONES
from lad.models.heads.registry import HEADS
from lad.utils.messages import invalid_choice_message

DEFAULT_TEACHER = "r101"
OF_TEACHER = (
    "teacher", "teacher_epochs", "teacher_width", "teacher_head", "teacher_iou_branch", "teacher_channels",
    "teacher_checkpoint", "teacher_part", "teacher_sha256",
)  # fmt: skip
NO_INIT = {"init": None, "init_part": "student", "init_partial": False, "init_sha256": None}


def check_consistency(parameters: ExperimentParameters) -> None:
    """Raise ValueError for the first parameters that do not fit each other."""
    _check_choices(parameters)
    _check_teacher(parameters)
    _check_method(parameters)
    _check_start(parameters)
    _check_cache(parameters)
    _check_network(parameters)
    _check_sizes(parameters)


def _check_choices(parameters: ExperimentParameters) -> None:
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
        value = getattr(parameters, name)
        if value not in known and not (name.startswith("teacher") and value is None):
            raise ValueError(invalid_choice_message(name, value, known))
    for term in parameters.distill:
        if term not in TERMS:
            raise ValueError(invalid_choice_message("distill", term, TERMS))


def _check_teacher(parameters: ExperimentParameters) -> None:
    method = METHODS[parameters.method]
    needs_teacher = method.needs_teacher or bool(parameters.distill)
    user = f"method '{parameters.method}'" if method.needs_teacher else "distill"
    if needs_teacher and parameters.teacher is None:
        raise ValueError(f"{user} needs a teacher; add teacher={DEFAULT_TEACHER}")
    given = [name for name in OF_TEACHER if getattr(parameters, name) is not None]
    if parameters.teacher_checkpoint is not None:  # the others follow from it
        given = [name for name in ("teacher_checkpoint", "teacher_part") if name in given]
    if not needs_teacher and given:
        raise ValueError(f"method '{parameters.method}' has no teacher; leave out {' and '.join(given)}")
    if not method.trains_teacher and parameters.cost_selection != "std_mean":
        raise ValueError(f"cost_selection is for method 'colad'; leave it out with method '{parameters.method}'")
    if parameters.teacher_checkpoint is None and (
        parameters.teacher_part is not None or parameters.teacher_sha256 is not None
    ):
        raise ValueError("teacher_part and teacher_sha256 are for teacher_checkpoint; give it, or leave them out")
    if parameters.teacher_checkpoint is not None and parameters.teacher_epochs is not None:
        raise ValueError("the teacher of teacher_checkpoint is already trained; leave out teacher_epochs")
    if parameters.teacher_cost == "box" and (parameters.method != "lad" or parameters.distill):
        reason = {
            "baseline": "has no teacher",
            "lad": f"with distill={parameters.distill} needs the teacher's class outputs",
            "colad": "trains its teacher on the classes of the data",
        }.get(parameters.method, "needs the teacher's class outputs")
        raise ValueError(f"teacher_cost 'box' is for method 'lad'; method '{parameters.method}' {reason}")
    if parameters.teacher_cost == "box" and "class_weight" not in parameters.assigner_options:
        raise ValueError(f"teacher_cost 'box': assigner '{parameters.assigner}' has no class_weight to set to 0")
    if len(parameters.other_teachers) != len(parameters.other_teachers_sha256):
        raise ValueError("other_teachers_sha256 follows from other_teachers; leave it out")
    if parameters.other_teachers and (not method.averages_costs or parameters.distill):
        usable = " or ".join(f"'{name}'" for name, entry in METHODS.items() if entry.averages_costs)
        raise ValueError(
            f"several teachers are for method {usable} without distill, which learn from costs alone; give one teacher"
        )


def _check_method(parameters: ExperimentParameters) -> None:
    method = METHODS[parameters.method]
    if len(set(parameters.distill)) < len(parameters.distill):
        raise ValueError(f"distill={parameters.distill} names a term twice; give each once")
    if parameters.distill and not method.has_detection_loss:
        usable = " or ".join(f"'{name}'" for name, entry in METHODS.items() if entry.has_detection_loss)
        raise ValueError(f"distill is for method {usable}; leave it out with method '{parameters.method}'")
    if parameters.teach_until < 1 and parameters.method != "lad":
        raise ValueError(f"teach_until is for method 'lad'; leave it out with method '{parameters.method}'")
    if not ASSIGNERS[parameters.assigner].uses_predictions and method.learns_assignment:
        usable = ", ".join(name for name, assigner in ASSIGNERS.items() if assigner.uses_predictions)
        raise ValueError(
            f"assigner '{parameters.assigner}' does not use predictions, so a teacher cannot change it; use {usable}, "
            f"or method baseline or soft_label instead of '{parameters.method}'"
        )


def _check_start(parameters: ExperimentParameters) -> None:
    if parameters.init is None and any(getattr(parameters, name) != value for name, value in NO_INIT.items()):
        raise ValueError("init_part, init_partial and init_sha256 are for init; give init, or leave them out")
    if parameters.epochs == 0 and (parameters.ema is not None or parameters.accumulate > 1 or parameters.augment):
        raise ValueError("epochs=0 trains nothing; leave out ema, accumulate and augment")
    if parameters.epochs == 0 and (parameters.init is None or parameters.method != "baseline" or parameters.distill):
        raise ValueError("epochs=0 only evaluates the detector of init, with method 'baseline'; give 1 or more")


def _check_cache(parameters: ExperimentParameters) -> None:
    if parameters.cache_teacher is not True:
        return
    if parameters.method != "lad" or parameters.distill:
        reason = {
            "baseline": "has no teacher",
            "lad": f"with distill={parameters.distill} needs the teacher's outputs, not only its assignment",
            "colad": "trains its teacher, whose assignments change",
        }.get(parameters.method, "needs the teacher's outputs, not only its assignment")
        raise ValueError(f"cache_teacher is for method 'lad'; method '{parameters.method}' {reason}")
    if len(parameters.short_sides) > 1:
        raise ValueError(
            f"cache_teacher needs images of a fixed size, but short_sides holds {len(parameters.short_sides)} to draw "
            "from; give one, or cache_teacher=False"
        )
    if parameters.augment:
        raise ValueError(
            "cache_teacher needs the same image in every epoch, but augment changes it "
            f"({', '.join(parameters.augment)}); leave out augment, or cache_teacher"
        )


def _check_network(parameters: ExperimentParameters) -> None:
    is_random = parameters.weights == "none" and parameters.init is None
    if is_random and (parameters.frozen_stages >= 0 or parameters.norm_eval):
        raise ValueError(
            f"frozen_stages={parameters.frozen_stages} and norm_eval={parameters.norm_eval} would freeze a randomly "
            "initialized backbone; give weights or init, or frozen_stages=-1 and norm_eval=False"
        )
    if parameters.weights == "imagenet" and parameters.width != 1:
        raise ValueError(f"weights 'imagenet' exist for width=1 only, not {parameters.width}; give weights='none'")


def _check_sizes(parameters: ExperimentParameters) -> None:
    sides = parameters.short_sides
    if min(sides) < 32 or max(sides) > parameters.long_side:
        raise ValueError(f"short_sides={shorten(sides)} must lie between 32 and long_side={parameters.long_side}")
    if parameters.test_short_side > parameters.long_side:
        raise ValueError(f"test_short_side={parameters.test_short_side} is more than long_side={parameters.long_side}")
    if parameters.batch_size % (parameters.devices * parameters.accumulate):
        accumulate = f" · accumulate={parameters.accumulate}" if parameters.accumulate > 1 else ""
        raise ValueError(
            f"batch_size={parameters.batch_size} must be a multiple of devices={parameters.devices}{accumulate}"
        )


def shorten(value: object) -> str:
    """Format a value; a long list by its first and last elements."""
    if isinstance(value, list) and len(value) > 6:
        return f"[{value[0]}, {value[1]}, … {value[-1]}]"
    return str(value)
