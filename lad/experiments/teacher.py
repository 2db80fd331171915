"""Checks of a teacher before its student trains: its classes, its data, its AP."""

from collections.abc import Sequence
from typing import Any

from lad.config.checkpoints import checkpoint_title
from lad.config.experiment import Parameters
from lad.experiments.run_store import Run, find_run
from lad.models.transfer import list_names
from lad.utils.messages import counted

NEAR_ZERO_AP = 0.02  # chance detections of a network that has learned nothing


def format_ap(run: Run) -> str:
    """Return the AP of a run in words."""
    ap = run.metrics["AP"]
    kind = " of its boxes, whatever their class" if run.results.get("ignores_classes") else ""
    return "no AP" if ap is None else f"AP {ap:.3f}{kind}"


def teacher_notes(parameters: Parameters, teacher: Run) -> list[str]:
    """Return a line with the teacher's AP and, if it is a poor one, a warning.

    Args:
        parameters: Parameters of the student's run.
        teacher: Finished run of the teacher.
    """
    title, ap = _title(teacher), teacher.metrics["AP"]
    notes = [f"teacher {title}: {format_ap(teacher)} on the validation set"]
    if ap is None:
        return notes
    plain = find_run(parameters.plain().model_copy(update={"rerun": "never"}))
    plain_ap = None if plain is None else plain.metrics["AP"]
    if ap < NEAR_ZERO_AP:
        notes.append(f"warning: teacher {title} finds almost nothing here; {_likely_cause(parameters, teacher)}")
    elif plain_ap is not None and ap < plain_ap and not teacher.results.get("ignores_classes"):
        notes.append(
            f"warning: teacher {title} (AP {ap:.3f}) is worse than the plain student (AP {plain_ap:.3f}), and may make "
            "its student worse"
        )
    return notes


def _title(teacher: Run) -> str:
    """Return the name of a teacher for tables: that of its checkpoint, else its backbone."""
    return teacher.parameters.student if teacher.parameters.epochs else checkpoint_title(str(teacher.parameters.init))


def _likely_cause(parameters: Parameters, teacher: Run) -> str:
    if teacher.parameters.epochs:
        return f"train it longer than {counted(teacher.parameters.epochs, 'epoch')} (teacher_epochs)"
    names = list_names(teacher.results["class_names"], 5)
    classes = "" if teacher.results.get("ignores_classes") else f"its classes have other meanings or order ({names}); "
    return (
        f"likely causes: {classes}it was trained on "
        f"images of another size (here short side {parameters.test_short_side}, long side {parameters.long_side}) or "
        "with another normalization (here ImageNet's mean and standard deviation of RGB in [0, 1])"
    )


def check_classes_of_run(parameters: Parameters, teacher: Run, class_names: Sequence[str]) -> None:
    """Raise ValueError if the run of a teacher has other classes than the data, which changed since it was trained."""
    if parameters.teacher_cost == "full" and tuple(teacher.class_names) != tuple(class_names):
        raise ValueError(
            f"teacher {teacher.name}: was trained on {list_names(teacher.class_names)}, but the data set now has "
            f"{list_names(class_names)}; move its folder away to train it again"
        )


def teacher_summary(teacher: Run) -> dict[str, Any]:
    """Return the entry of the teacher in its student's results."""
    return {
        "name": teacher.name,
        "title": _title(teacher),
        "AP": teacher.metrics["AP"],
        "ignores_classes": bool(teacher.results.get("ignores_classes")),
        "weights_sha256": teacher.results["weights_sha256"],
    }
