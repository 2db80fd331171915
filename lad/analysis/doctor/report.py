"""The command `lad doctor`: what is likely wrong with a run, the worst first."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from lad.analysis.doctor.collect import MAX_IMAGES, collect
from lad.analysis.doctor.data_checks import DATA_CHECKS
from lad.analysis.doctor.evidence import SEVERITIES, Evidence, Finding
from lad.analysis.doctor.teacher_checks import TEACHER_CHECKS
from lad.analysis.doctor.training_checks import TRAINING_CHECKS
from lad.utils.messages import counted, one_line
from lad.utils.old_command import run_command

CHECKS = (*TRAINING_CHECKS, *TEACHER_CHECKS, *DATA_CHECKS)


@dataclass(frozen=True)
class Diagnosis:
    """The findings about a run.

    Attributes:
        name: Name of the run's folder.
        evidence: What the checks read.
        findings: The findings by the name of their check, the worst first.
        notes: What could not be read or was left out.
    """

    name: str
    evidence: Evidence
    findings: dict[str, Finding]
    notes: list[str]

    def __str__(self) -> str:
        return "\n".join(format_diagnosis(self))


def diagnose(folder: Path | str, max_images: int = MAX_IMAGES) -> Diagnosis:
    """Find what is likely wrong with a run, finished or not.

    Args:
        folder: Folder of the run.
        max_images: Number of training and of validation images on which the weights are evaluated; 0 leaves this out.

    Raises:
        ValueError: The folder is not that of a run, or its parameters cannot be read; one line.
    """
    folder = Path(folder).resolve()
    evidence, notes = collect(folder, max_images)
    return Diagnosis(folder.name, evidence, run_checks(evidence), notes)


def run_checks(evidence: Evidence) -> dict[str, Finding]:
    """Return the findings by the name of their check, the worst first."""
    found = {check.__name__: check(evidence) for check in CHECKS}
    findings = {name: finding for name, finding in found.items() if finding is not None}
    return dict(sorted(findings.items(), key=lambda item: SEVERITIES.index(item[1].severity)))


def format_diagnosis(diagnosis: Diagnosis) -> list[str]:
    """Return the lines of a diagnosis."""
    run = diagnosis.evidence
    number = run.parameters.epochs
    state = f"{len(run.epochs)} of {counted(number, 'epoch')}" if number else "evaluated only"
    if not run.is_finished:
        state = f"not finished, {state}; diagnosed by what there is"
    ap = "no AP yet" if run.ap is None else f"AP {run.ap:.3f}"
    lines = [f"{diagnosis.name}: {run.parameters.method_name}, {state}, {ap}"]
    lines += [f"left out: {note}" for note in diagnosis.notes]
    lines += [str(finding) for finding in diagnosis.findings.values()] or ["nothing found"]
    return [one_line(line) for line in lines]


def to_json(diagnosis: Diagnosis) -> str:
    """Return a diagnosis as JSON."""
    run = diagnosis.evidence
    content = {
        "run": diagnosis.name,
        "is_finished": run.is_finished,
        "epochs": len(run.epochs),
        "AP": run.ap,
        "train_AP": run.train_ap,
        "findings": [{"check": name, **asdict(finding)} for name, finding in diagnosis.findings.items()],
        "left_out": diagnosis.notes,
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(run_command("doctor"))
