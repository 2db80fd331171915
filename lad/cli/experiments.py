"""The subcommands about runs: run, results, doctor, replay."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lad.cli.notebooks import execute
from lad.cli.options import AsJson, Format, RunChanges, messages_apart, split_changes, usage_errors
from lad.cli.parameters import PROFILES, starting

if TYPE_CHECKING:
    from lad.config.experiment import Parameters

NOTEBOOK = "run_lad.ipynb"
RESUME = "the same command resumes the run from its last checkpoint"


def run(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="YAML of parameters as in params/, or a run's params.json.")
    ] = None,
    changes: RunChanges = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Defaults of all parameters: {', '.join(PROFILES[:-1])} or {PROFILES[-1]}.",
            show_default="toy, or the file's",
            autocompletion=starting(PROFILES),
        ),
    ] = None,
    compare: Annotated[
        bool | None,
        typer.Option(
            "--compare/--no-compare",
            help="Also run the plain student and the teacher, or only this experiment and the teacher it needs.",
            show_default="--compare without FILE",
        ),
    ] = None,
    notebook: Annotated[
        bool, typer.Option("--notebook", help=f"Run notebooks/{NOTEBOOK} instead, and keep it with its figures.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.ipynb", help="The executed notebook.", show_default=f"{NOTEBOOK} in out"
        ),
    ] = None,
    as_json: AsJson = False,
    form: Format = "text",
) -> int:
    """Train, compare or load runs, and print their AP.

    Without FILE: a plain student, a teacher, and the student under the method, as in notebooks/run_lad.ipynb. With
    FILE: that experiment, and the teacher it needs. Finished runs are loaded, interrupted ones resumed.
    """
    from lad.experiments.failure import ProcessFailedError
    from lad.experiments.leaderboard import format_table, results_table, runs_to_json
    from lad.experiments.run_store import networks_of
    from lad.experiments.runner import compare as compare_runs
    from lad.experiments.runner import run_experiment
    from lad.utils.progress import log

    if output is not None and not notebook:
        raise typer.BadParameter("--output is for --notebook")
    is_comparison = file is None if compare is None else compare
    with usage_errors():
        parameters = _parameters(file, changes, profile)
    with messages_apart(as_json or form != "text"):
        log(parameters.summary())
        try:
            if notebook:
                target = output or Path(parameters.out) / NOTEBOOK
                settings = parameters.model_dump(mode="json", exclude_none=True)
                execute(NOTEBOOK, target, {"compare": is_comparison, "settings": settings})
                log(f"executed notebook: {target}")
            runs = compare_runs(parameters) if is_comparison else networks_of(run_experiment(parameters))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            remedy = "" if isinstance(error, FileNotFoundError) else f"; {RESUME}"
            raise OSError(f"{where}{error.strerror or error}{remedy}") from None
        except ProcessFailedError as error:
            raise ValueError(str(error)) from None
    if os.environ.get("RANK", "0") == "0":  # under torchrun, one of several processes
        print(runs_to_json(runs) if as_json else format_table(results_table(runs), form))
    return 0


def results(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Folder of runs.", show_default="runs/")
    ] = None,
    as_json: AsJson = False,
    form: Format = "text",
) -> None:
    """Print the AP of all finished runs of a folder.

    AP is from 0 to 1, "min" the minutes of training and evaluation.
    """
    from lad.experiments.leaderboard import format_table, results_table, runs_of_folder, runs_to_json
    from lad.utils.paths import project_folder

    runs = runs_of_folder(folder or project_folder() / "runs")
    print(runs_to_json(runs) if as_json else format_table(results_table(runs), form))


def doctor(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, finished or not, such as runs/NAME.")],
    images: Annotated[
        int,
        typer.Option(
            min=0,
            max=10**9,
            metavar="N",
            help="Evaluate the weights on N training and N validation images; 0 for none.",
        ),
    ] = 200,
    as_json: AsJson = False,
) -> None:
    """Say what is likely wrong with a run.

    Checks teacher, data, training and overfitting; prints the worst first.
    """
    from lad.analysis.doctor.report import diagnose, to_json

    with messages_apart(True):
        diagnosis = diagnose(folder, images)
    print(to_json(diagnosis) if as_json else diagnosis)


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="failed-step-<rank>.pt in a run's folder.")],
) -> None:
    """Repeat a training step that failed.

    Names the first module whose output is not finite.
    """
    from lad.experiments.replay import format_replay
    from lad.experiments.replay import replay as replay_step

    print(format_replay(replay_step(file)))


def _parameters(file: Path | None, changes: list[str] | None, profile: str | None) -> "Parameters":
    from lad.config.experiment import make_parameters
    from lad.config.reading import read_changes, read_parameters

    given = read_changes(split_changes(changes))
    if profile is not None:
        given["profile"] = profile
    return make_parameters(given) if file is None else read_parameters(file, given)
