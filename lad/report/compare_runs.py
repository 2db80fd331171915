"""Comparison of all finished runs in a folder: the tables and figures of the notebook `report`."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pydantic import BaseModel

from lad import figures
from lad.analysis.assignment import agreement_summary, analyze, first_images, open_validation_set
from lad.config.experiment import Parameters
from lad.config.identity import NOT_HASHED
from lad.distillation.methods import METHODS
from lad.experiments.leaderboard import results_table
from lad.experiments.run_store import Run, code_labels, latest_run, teacher_of
from lad.utils.messages import counted, given_values
from lad.utils.paths import project_folder

MAX_CURVES = 8  # as many as there are colors
DRAWN_IMAGES, COUNTED_IMAGES = 4, 24
TITLE_PARAMETERS = {"method", "student", "teacher", "seed"}  # a title shows them already
SINGLE_RUN_PARAMETERS = ("profile", "data", "method", "student", "epochs", "seed")  # shown where runs do not differ


class _ReportParameters(BaseModel):
    out: str | None = None


def report_folder(given: Mapping[str, Any]) -> Path:
    """Return the folder of runs that the notebook's parameters name; runs/ of the project by default.

    Raises:
        ValueError: One line that names an unknown parameter.
    """
    values = given_values(given, _ReportParameters)
    return Path(str(values.get("out", project_folder() / "runs"))).expanduser().resolve()


def headline(runs: Mapping[str, Run]) -> str:
    """Return the number of runs and settings, their dates, and the setting with the highest AP."""
    finished = [run.results["finished"][:10] for run in runs.values()]
    settings = group_by_setting(runs)
    folders = {run.folder for run in runs.values()}
    dates = finished[0] if finished[0] == finished[-1] else f"between {finished[0]} and {finished[-1]}"
    text = f"{counted(len(folders), 'run')} in {counted(len(settings), 'setting')}, finished {dates}."
    comparable = {name: run for name, run in runs.items() if not run.results.get("ignores_classes")}
    means = {title: sum(values) / len(values) for title, values in ap_by_setting(comparable).items() if values}
    if not means:
        return f"{text} No run has an AP."
    best = max(means, key=lambda title: means[title])
    return f"{text} The highest AP: {_short_ap(means[best])}, {best} ({counted(len(settings[best]), 'seed')})."


def group_by_setting(runs: Mapping[str, Run]) -> dict[str, list[Run]]:
    """Group runs that differ only in their seed, by a unique title; seeds ascend, the oldest setting comes first.

    Runs that different code made are different settings, whose titles name the version of the code.
    """
    labels = dict(zip(runs, code_labels(runs.values()), strict=True))
    is_mixed = len(set(labels.values())) > 1
    settings: dict[str, list[Run]] = {}
    code_of: dict[int, str] = {}
    for name, run in runs.items():
        content = {**run.parameters.model_dump(exclude={"seed", *NOT_HASHED}), "code": labels[name]}
        group = settings.setdefault(f"{run.network} {json.dumps(content, sort_keys=True)}", [])
        group.append(run)
        code_of[id(group)] = labels[name]
    same_title: dict[str, list[list[Run]]] = {}
    for group in settings.values():
        same_title.setdefault(_title(group[0]), []).append(group)
    named = {}
    for title, groups in same_title.items():
        names = [name for name in differing_parameters(group[0] for group in groups) if name not in TITLE_PARAMETERS]
        for group in groups:
            differences = [f"{name} {format_cell(getattr(group[0].parameters, name))}" for name in names]
            differences += [f"code {code_of[id(group)]}"] if is_mixed else []
            named[", ".join([title, *differences])] = sorted(group, key=lambda run: run.parameters.seed)
    return {title: named[title] for title in sorted(named, key=lambda title: named[title][0].results["finished"])}


def ap_by_setting(runs: Mapping[str, Run]) -> dict[str, list[float]]:
    """Return the AP, 0 … 1, of every setting's runs; runs without an AP are left out."""
    values = {title: [run.metrics["AP"] for run in group] for title, group in group_by_setting(runs).items()}
    return {title: [ap for ap in aps if ap is not None] for title, aps in values.items()}


def training_curves(runs: Mapping[str, Run]) -> dict[str, list[dict[str, float]]]:
    """Return the epochs of the first seed of the newest eight settings, for `figures.draw_training`."""
    trained = {name: run for name, run in _students(runs).items() if run.parameters.epochs}
    epochs = {title: group[0].epochs for title, group in group_by_setting(trained).items()}
    return dict(list(epochs.items())[-MAX_CURVES:])


def draw_ap(runs: Mapping[str, Run]) -> Figure:
    """Draw the AP, 0 … 1, of every setting with `figures.draw_comparison`."""
    return figures.draw_comparison(ap_by_setting(runs), unit="AP")


def run_titles(runs: Sequence[Run]) -> list[str]:
    """Return a readable, unique title of each run.

    A title has networks, method and AP and, where several are the same, the seed, the first digits of the hash, or the
    folder.
    """
    titles = []
    for run in runs:
        ap = run.metrics["AP"]
        titles.append(f"{_title(run)}, {'no AP' if ap is None else f'AP {_short_ap(ap)}'}")
    for detail in (_seed, _hash_prefix, lambda run: str(run.folder)):
        details: dict[str, set[str]] = {}
        for run, title in zip(runs, titles, strict=True):
            details.setdefault(title, set()).add(detail(run))
        titles = [
            f"{title}, {detail(run)}" if len(details[title]) > 1 else title
            for run, title in zip(runs, titles, strict=True)
        ]
    return titles


def differing_parameters(runs: Iterable[Run]) -> list[str]:
    """Return the names of the parameters in which runs differ, without those that are not hashed."""
    contents = [run.parameters.model_dump(exclude=set(NOT_HASHED)) for run in runs]
    return [
        name
        for name in Parameters.model_fields
        if any(content.get(name) != contents[0].get(name) for content in contents)
    ]


def differences_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Return one row per run and one column per parameter in which they differ; a single run's main parameters."""
    students = _students(runs)
    names = differing_parameters(students.values()) or list(SINGLE_RUN_PARAMETERS)
    rows = {
        title: {name: format_cell(getattr(run.parameters, name)) for name in names} for title, run in students.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=names)


def environments_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Return versions and hardware: one column per environment, with its runs in the last row if there are several."""
    columns: dict[str, dict[str, str]] = {}
    runs_of: dict[str, list[str]] = {}
    for name, run in _students(runs).items():
        facts = {**run.results.get("versions", {}), **run.results.get("hardware", {})}
        key = json.dumps(facts, sort_keys=True)
        columns[key] = {fact.replace("_gb", ", GB").replace("_", " "): str(value) for fact, value in facts.items()}
        runs_of.setdefault(key, []).append(name)
    if len(columns) > 1:
        columns = {key: {**facts, "runs": ", ".join(runs_of[key])} for key, facts in columns.items()}
    table = pd.DataFrame(list(columns.values())).T.fillna("–")
    return table.set_axis([counted(len(names), "run") for names in runs_of.values()], axis="columns")


def draw_newest_assignments(runs: Mapping[str, Run]) -> Figure | None:
    """Draw the assignments of the newest student that has a teacher, and print their agreement over more images.

    Returns:
        `figures.draw_assignments` of the first validation images; None, with the reason printed, without a teacher or
        without the images.
    """
    with_teacher = [run for run in _students(runs).values() if len(_networks(run)) > 1]
    if not with_teacher:
        print("No assignments to compare: no run in this folder has a teacher whose run is in it, too.")
        return None
    run = with_teacher[-1]
    networks, reference = _networks(run), _teacher_title(run)
    try:
        validation_set = open_validation_set(run.parameters)
        drawn, counted = (first_images(validation_set, count) for count in (DRAWN_IMAGES, COUNTED_IMAGES))
    except (ValueError, OSError) as error:
        print(f"No assignments to draw: the images of {run.name} cannot be read: {error}")
        return None
    detectors = {name: network.load_detector() for name, network in networks.items()}
    on_counted, on_drawn = (
        {name: analyze(detector, batch, networks[name].assigner) for name, detector in detectors.items()}
        for batch in (counted, drawn)
    )
    print(f"{run.name}\n{agreement_summary(reference, on_counted)}")
    return figures.draw_assignments(drawn.images, drawn.targets, on_drawn, reference)


def format_cell(value: Any) -> str:
    """Return a parameter's value for a table: a folder by its name, a long list by its ends."""
    if isinstance(value, list) and len(value) > 4:
        return f"{value[0]} … {value[-1]}"
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return "–" if value is None else str(value).strip("[]")


def _students(runs: Mapping[str, Run]) -> dict[str, Run]:
    return {name: run for name, run in runs.items() if run.network == "student"}


def _title(run: Run) -> str:
    network = results_table({"": run}).loc["", "network"]
    if not run.parameters.epochs:
        return str(network)
    suffix = " (teacher)" if run.network == "teacher" and run.backbone == run.partner else ""
    return f"{network}, {run.parameters.method_title}{suffix}"


def _short_ap(ap: float) -> str:
    """Return an AP as in prose: .683."""
    return f"{ap:.3f}".removeprefix("0")


def _seed(run: Run) -> str:
    return f"seed {run.parameters.seed}"


def _hash_prefix(run: Run) -> str:
    """Return the first digits of the hash in a run's name, and its number among runs of the same parameters."""
    parts = re.fullmatch(r".*-([0-9a-f]{10})(-\d+)?", run.name)
    return f"{parts[1][:6]}{parts[2] or ''}" if parts else run.name


def _teacher_title(run: Run) -> str:
    method = METHODS[run.parameters.method]
    return f"{method.title} teacher" if method.trains_teacher else "teacher"


def _networks(run: Run) -> dict[str, Run]:
    """Return the run's plain student, teacher and student, named as by `lad.experiments.runner.compare`.

    They are looked up in the run's folder; without its teacher the run is alone.
    """
    parameters, folder = run.parameters, run.folder.parent
    method = METHODS[parameters.method]
    student = {f"{parameters.method_title} student": run}
    if method.trains_teacher:
        return {**student, _teacher_title(run): run.teacher_network()}
    if not parameters.needs_teacher:
        return student
    plain = latest_run(parameters.plain().model_copy(update={"out": str(folder)}))
    teacher = teacher_of(run)
    if teacher is None:
        return student
    return {**({"plain student": plain} if plain else {}), "teacher": teacher, **student}
