"""What all runs of a folder say together: the tables and figures of the notebook report."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pydantic import BaseModel

from lad import figures
from lad.analysis.assignment import agreement_with, analyze, first_images
from lad.config.experiment import NOT_HASHED, Parameters
from lad.config.notebook import notebook_values
from lad.data.annotations import read_annotations
from lad.data.coco import CocoDataset, find_split
from lad.data.synthetic.shapes import data_folder
from lad.data.transforms import eval_transform
from lad.distillation.methods import CO_LEARNING, METHODS_WITH_TEACHER, TITLES
from lad.experiments.leaderboard import results_table
from lad.experiments.run_store import Run, finished_runs, open_run
from lad.utils.messages import given_values
from lad.utils.paths import project_folder

MAX_CURVES = 8  # as many as there are colors
DRAWN, COUNTED = 4, 24  # pictures
IN_TITLES = {"method", "student", "teacher", "seed"}
WITHOUT_DIFFERENCE = ("profile", "data", "method", "student", "epochs", "seed")  # what is told of a run that is alone


class _Asked(BaseModel):
    out: str | None = None


def notebook_runs(namespace: Mapping[str, Any]) -> dict[str, Run]:
    """The runs that a notebook's variables (`globals()`) ask for; see `lad.config.notebook.notebook_values`."""
    asked = given_values(notebook_values(namespace), _Asked)
    return runs_in(Path(str(asked.get("out", project_folder() / "runs"))).expanduser().resolve())


def runs_in(folder: Path) -> dict[str, Run]:
    """The finished runs of a folder by name, oldest first; the second network of co-learning comes after the first.

    Raises ValueError if there is none.
    """
    runs = {}
    for run in finished_runs(folder):
        runs[run.parameters.run_name] = run
        if run.parameters.method in CO_LEARNING:
            runs[f"{run.parameters.run_name} (teacher)"] = run.teacher_network()
    if not runs:
        raise ValueError(f"parameter 'out' = '{folder}': no finished run in this folder; train one with `make run`")
    return runs


def headline(runs: Mapping[str, Run]) -> str:
    """How many there are, and which setting reached most."""
    finished = [run.results["finished"][:10] for run in runs.values()]
    settings = by_setting(runs)
    folders = {run.folder for run in runs.values()}
    days = finished[0] if finished[0] == finished[-1] else f"between {finished[0]} and {finished[-1]}"
    words = f"{_count(len(folders), 'run')} in {_count(len(settings), 'setting')}, finished {days}."
    means = {title: sum(values) / len(values) for title, values in averages(runs).items() if values}
    if not means:
        return f"{words} None of them has an AP."
    best = max(means, key=lambda title: means[title])
    return f"{words} The highest AP: {_short(means[best])}, {best} ({_count(len(settings[best]), 'seed')})."


def by_setting(runs: Mapping[str, Run]) -> dict[str, list[Run]]:
    """Runs that differ in nothing but their seed, by a title that tells them apart from all others."""
    settings: dict[str, list[Run]] = {}
    for run in runs.values():
        content = run.parameters.model_dump(exclude={"seed", *NOT_HASHED})
        settings.setdefault(f"{run.network} {json.dumps(content, sort_keys=True)}", []).append(run)
    namesakes: dict[str, list[list[Run]]] = {}
    for same in settings.values():
        namesakes.setdefault(_title(same[0]), []).append(same)
    named = {}
    for title, group in namesakes.items():
        others = [name for name in differing(same[0] for same in group) if name not in IN_TITLES]
        for same in group:
            told = [f"{name} {shown(getattr(same[0].parameters, name))}" for name in others]
            named[", ".join([title, *told])] = sorted(same, key=lambda run: run.parameters.seed)
    return {title: named[title] for title in sorted(named, key=lambda title: named[title][0].results["finished"])}


def averages(runs: Mapping[str, Run]) -> dict[str, list[float]]:
    """AP of every setting's runs, from 0 to 1; without those that have none."""
    numbers = {title: [run.metrics["AP"] for run in same] for title, same in by_setting(runs).items()}
    return {title: [ap for ap in values if ap is not None] for title, values in numbers.items()}


def curves(runs: Mapping[str, Run]) -> dict[str, list[dict[str, float]]]:
    """The epochs of each setting's first seed, for `figures.draw_training`: of the newest eight settings."""
    students = {name: run for name, run in runs.items() if run.network == "student"}
    found = {title: same[0].epochs for title, same in by_setting(students).items()}
    return dict(list(found.items())[-MAX_CURVES:])


def draw_averages(runs: Mapping[str, Run]) -> Figure:
    """`figures.draw_comparison` of the settings' APs, written as in the tables of runs: from 0 to 1."""
    return figures.draw_comparison(averages(runs), unit="AP")


def run_titles(runs: Sequence[Run]) -> list[str]:
    """A title for people of each run: networks, method and AP and, where two would be the same, what tells them apart:
    the seed, the first digits of the hash, or the folder."""
    titles = []
    for run in runs:
        ap = run.metrics["AP"]
        titles.append(f"{_title(run)}, {'no AP' if ap is None else f'AP {_short(ap)}'}")
    for differs in (_seed, _digits, lambda run: str(run.folder)):
        told = []
        for run, title in zip(runs, titles, strict=True):
            namesakes = [other for other, same in zip(runs, titles, strict=True) if same == title]
            told.append(f"{title}, {differs(run)}" if len(set(map(differs, namesakes))) > 1 else title)
        titles = told
    return titles


def differing(runs: Iterable[Run]) -> list[str]:
    """Names of the parameters in which the runs differ; those that say where a run happens do not count."""
    contents = [run.parameters.model_dump(exclude=set(NOT_HASHED)) for run in runs]
    return [name for name in Parameters.model_fields if any(one.get(name) != contents[0].get(name) for one in contents)]


def differences_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """One row per run, one column per parameter in which they differ; what the run is, if it is the only one."""
    students = {name: run for name, run in runs.items() if run.network == "student"}
    names = differing(students.values()) or list(WITHOUT_DIFFERENCE)
    rows = {
        run_name: {name: shown(getattr(run.parameters, name)) for name in names} for run_name, run in students.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=names)


def environments_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Versions and hardware: a column for each that occurred, with its runs in the last row."""
    columns: dict[str, dict[str, str]] = {}
    runs_of: dict[str, list[str]] = {}
    for name, run in runs.items():
        if run.network == "student":
            facts = {**run.results.get("versions", {}), **run.results.get("hardware", {})}
            key = json.dumps(facts, sort_keys=True)
            columns[key] = {fact.replace("_gb", ", GB").replace("_", " "): str(value) for fact, value in facts.items()}
            runs_of.setdefault(key, []).append(name)
    if len(columns) > 1:
        columns = {key: {**facts, "runs": ", ".join(runs_of[key])} for key, facts in columns.items()}
    table = pd.DataFrame(list(columns.values())).T.fillna("–")
    return table.set_axis([_count(len(names), "run") for names in runs_of.values()], axis="columns")


def draw_newest_assignments(runs: Mapping[str, Run]) -> Figure | None:
    """`figures.draw_assignments` of the newest run whose teacher is there, too, and in words their agreement over more
    pictures, or why there is no figure."""
    taught = [run for run in runs.values() if run.network == "student" and len(_networks(run)) > 1]
    if not taught:
        print("No run here learned from a teacher that is here, too.")
        return None
    run = taught[-1]
    networks, reference = _networks(run), _teacher_title(run)
    try:
        validation_set = _validation_set(run.parameters)
        drawn, counted = (first_images(validation_set, count) for count in (DRAWN, COUNTED))
    except (ValueError, OSError) as error:
        print(f"The pictures of {run.parameters.run_name} cannot be shown: {error}")
        return None
    detectors = {name: one.load_detector() for name, one in networks.items()}
    wide, narrow = (
        {name: analyze(detector, batch, run.parameters.assigner) for name, detector in detectors.items()}
        for batch in (counted, drawn)
    )
    print(f"{run.parameters.run_name}\n{agreement_with(reference, wide)}")
    return figures.draw_assignments(drawn.images, drawn.targets, narrow, reference)


def shown(value: Any) -> str:
    """A parameter's value for a table: a folder by its name, a long list by its ends."""
    if isinstance(value, list) and len(value) > 4:
        return f"{value[0]} … {value[-1]}"
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return "–" if value is None else str(value).strip("[]")


def _title(run: Run) -> str:
    network = results_table({"": run}).loc["", "network"]
    second = " (teacher)" if run.network == "teacher" and run.backbone == run.partner else ""
    return f"{network}, {TITLES[run.parameters.method]}{second}"


def _short(ap: float) -> str:
    """As in prose: .683."""
    return f"{ap:.3f}".removeprefix("0")


def _seed(run: Run) -> str:
    return f"seed {run.parameters.seed}"


def _digits(run: Run) -> str:
    return run.folder.name.rpartition("-")[2][:6]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _teacher_title(run: Run) -> str:
    method = run.parameters.method
    return f"{TITLES[method]} teacher" if method in CO_LEARNING else "teacher"


def _networks(run: Run) -> dict[str, Run]:
    """Named as in `lad.experiments.runner.compare`, as far as they are in the folder of the run; the run itself comes last. It
    is alone without its teacher."""
    parameters, folder = run.parameters, run.folder.parent
    itself = {f"{TITLES[parameters.method]} student": run}
    if parameters.method in CO_LEARNING:
        return {**itself, _teacher_title(run): run.teacher_network()}
    if parameters.method not in METHODS_WITH_TEACHER:
        return itself
    plain, teacher = (open_run(folder / one.run_name) for one in (parameters.plain(), parameters.of_teacher()))
    if teacher is None:
        return itself
    return {**({"plain student": plain} if plain else {}), "teacher": teacher, **itself}


def _validation_set(parameters: Parameters) -> CocoDataset:
    """Unlike `lad.experiments.runner.open_data` it decodes no image before it is asked for."""
    folder = data_folder(parameters.data)
    _, training = find_split(folder, "train")
    images, path = find_split(folder, "val")
    annotations = read_annotations(path, like=read_annotations(training))
    return CocoDataset(images, annotations, eval_transform(parameters.test_short_side, parameters.long_side))
