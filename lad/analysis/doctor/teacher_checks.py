"""Checks of the teacher, and of the student against a run without a teacher."""

from lad.analysis.doctor.evidence import CHANCE_AP, Evidence, Finding
from lad.distillation.methods import METHODS
from lad.experiments.teacher import NEAR_ZERO_AP
from lad.models.transfer import list_names

OUTGROWN_AP = 0.05  # LAD students exceed a sound teacher by 1 to 3 points, in the paper and on the toy data
SAME_ASSIGNMENT = 0.97  # share of positives: less than one object in thirty gets another assignment
OTHER_ASSIGNMENT = 0.1  # the toy run starts at 0.4, before its student has learned anything
SETTLED_AFTER = 2  # epochs; in the first one, the student's own assignment is that of an untrained network


def teacher_finds_nothing(run: Evidence) -> Finding | None:
    """Check that the teacher's AP is not near 0."""
    teacher = run.teacher
    if teacher is None or teacher.ap is None or teacher.ap >= NEAR_ZERO_AP:
        return None
    if run.parameters.teacher_checkpoint is not None:
        remedy = (
            "check that its classes are those of the data in name and order, and that it was trained on RGB images of "
            f"about short side {run.parameters.test_short_side}, normalized by ImageNet's mean and deviation"
        )
    elif METHODS[run.parameters.method].trains_teacher:
        remedy = "start from a trained teacher (teacher_epochs or teacher_checkpoint), or train more epochs"
    else:
        trained = f" (now {teacher.epochs})" if teacher.epochs else ""
        remedy = f"train it longer: raise teacher_epochs{trained}, or give a trained detector as teacher_checkpoint"
    why = "it finds almost nothing here, so what the student learns from it is noise"
    return Finding("error", f"teacher {teacher.title} has AP {teacher.ap:.3f}", why, remedy)


def teacher_is_worse(run: Evidence) -> Finding | None:
    """Check that the teacher's AP is not below that of the plain student or, without one, far below the student's."""
    teacher = run.teacher
    if teacher is None or teacher.ap is None or teacher.ap < NEAR_ZERO_AP or teacher.ignores_classes:
        return None
    if run.plain is not None and teacher.ap < run.plain[1] - CHANCE_AP:
        ap, other = run.plain[1], f"the plain student {run.plain[0]} (AP {run.plain[1]:.3f})"
    elif run.plain is None and run.ap is not None and teacher.ap < run.ap - OUTGROWN_AP:
        ap, other = run.ap, f"its student (AP {run.ap:.3f})"
    else:
        return None
    return Finding(
        "error" if teacher.ap < ap / 2 else "warning",
        f"teacher {teacher.title} (AP {teacher.ap:.3f}) is worse than {other}",
        "a teacher helps if it knows better than the student which locations suit an object",
        "train the teacher longer (teacher_epochs), or take a larger or a trained one (teacher, teacher_checkpoint)",
    )


def student_is_not_better(run: Evidence) -> Finding | None:
    """Check that the student's AP is above that of the same network without a teacher."""
    if run.plain is None or run.ap is None or run.ignores_classes or not run.parameters.needs_teacher:
        return None
    if run.ap > run.plain[1]:
        return None
    is_worse = run.ap < run.plain[1] - CHANCE_AP
    return Finding(
        "warning" if is_worse else "note",
        f"the student (AP {run.ap:.3f}) is not better than the plain student {run.plain[0]} (AP {run.plain[1]:.3f})",
        "the teacher did not help" if is_worse else "a difference this small can be chance",
        "see the other findings, and compare several seeds before you conclude (seed)",
    )


def teacher_has_other_classes(run: Evidence) -> Finding | None:
    """Check whether the teacher knows the classes of the data."""
    teacher = run.teacher
    if teacher is None or not teacher.ignores_classes:
        return None
    names = f" ({list_names(teacher.class_names, 5)}; data: {list_names(run.class_names, 5)})"
    ap = "AP" if teacher.ap is None else f"AP {teacher.ap:.3f}"
    seen = f"teacher {teacher.title} has other classes than the data{names if teacher.class_names else ''}"
    if run.parameters.teacher_cost == "full":
        remedy = "set teacher_cost=box (method lad), or give a teacher of the classes of the data"
        return Finding("error", seen, "its class scores mean nothing here", remedy)
    return Finding(
        "note",
        f"{seen}; its {ap} is that of boxes of any class",
        "it cannot be compared with the student's AP, and the student learns from the teacher's boxes alone",
        "compare the student with the same network without a teacher (method=baseline)",
    )


def run_ignores_classes(run: Evidence) -> Finding | None:
    """Check whether the run's own AP ignores classes."""
    if not run.ignores_classes or run.ap is None:
        return None
    return Finding(
        "note",
        f"the network has other classes than the data: AP {run.ap:.3f} is that of boxes of any class",
        "it is higher than an AP that counts wrong classes as errors, and cannot be compared with one",
        "train it on the data (init with epochs of 1 or more) to get its classes",
    )


def assignments_agree_too_much(run: Evidence) -> Finding | None:
    """Check that the assignment from the teacher is not the student's own, nor unrelated to it."""
    # After the share `teach_until` of the epochs, the student's own assignment is learned, which agrees with itself.
    in_epochs = [run.parameters.in_epoch(epoch) for epoch in range(len(run.epochs))]
    taught = [line for line, own in zip(run.epochs, in_epochs, strict=True) if METHODS[own.method].learns_assignment]
    value = taught[-1].get("agreement") if taught else None
    if value is None or len(taught) < SETTLED_AFTER:
        return None
    if value > SAME_ASSIGNMENT:
        return Finding(
            "warning",
            f"{value:.0%} of the positives from the teacher are the student's own",
            "there is nothing to learn from an assignment that the student would have made itself",
            "take a teacher that differs more: larger, trained longer, or another backbone",
        )
    if value < OTHER_ASSIGNMENT:
        return Finding(
            "warning",
            f"only {value:.0%} of the positives from the teacher are also the student's own",
            "an assignment so far from the student's suggests that one of the two networks has learned nothing",
            "check the teacher's AP and its images' size and normalization; train the student longer",
        )
    return None


TEACHER_CHECKS = (
    teacher_finds_nothing,
    teacher_has_other_classes,
    teacher_is_worse,
    student_is_not_better,
    assignments_agree_too_much,
    run_ignores_classes,
)
