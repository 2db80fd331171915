"""The experiments of a table, and its results: the runs of each row by seed.

A table is `lad.paper.definitions.TABLES[name]`, or a file of one's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lad.config.experiment import Parameters, make_parameters
from lad.config.profile_values import merge_profile_values
from lad.config.profiles import PROFILES
from lad.config.yaml_file import read_values
from lad.distillation.methods import METHODS
from lad.experiments.run_store import Run, describe_code, find_run, latest_run
from lad.experiments.runner import run_experiment
from lad.paper.definitions import TABLES, Row, Table, find_table
from lad.utils.messages import format_value, given_values, invalid_choice_message

MAX_SEEDS = 1000


@dataclass(frozen=True)
class Experiments:
    """The experiments of a table, whether or not they have been run.

    Attributes:
        table: The table.
        profile: Profile of the parameters.
        parameters: Parameters of each row, by ascending seed.
        changes: Parameters given for all runs, which replace those of the table.
    """

    table: Table
    profile: str
    parameters: Mapping[Row, Sequence[Parameters]]
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        runs = {parameters.run_name: parameters for of_row in self.parameters.values() for parameters in of_row}
        finished = sum(find_run(parameters) is not None for parameters in runs.values())
        return f"{self.table.name}, {self.profile}: {len(runs)} runs, {finished} already finished"

    def finished(self) -> "Results":
        """Return the finished runs, whichever code made them, without training."""
        return self._results({row: list(map(latest_run, of_row)) for row, of_row in self.parameters.items()})

    def run(self) -> "Results":
        """Return all runs, after training the missing ones and their teachers one after the other."""
        return self._results({row: list(map(run_experiment, of_row)) for row, of_row in self.parameters.items()})

    def _results(self, runs: Mapping[Row, Sequence[Run | None]]) -> "Results":
        finished = {
            row: {
                run.parameters.seed: run.teacher_network() if row.is_teacher_network else run
                for run in of_row
                if run is not None
            }
            for row, of_row in runs.items()
        }
        seeds = [parameters.seed for parameters in next(iter(self.parameters.values()))]
        return Results(self.table, self.profile, finished, seeds, self.changes)


@dataclass(frozen=True)
class Results:
    """The finished runs of a table.

    Attributes:
        table: The table.
        profile: Profile of the parameters.
        runs: Runs of each row, by seed.
        seeds: Seeds that every row should have.
        changes: Parameters given for all runs, which replace those of the table.
    """

    table: Table
    profile: str
    runs: Mapping[Row, Mapping[int, Run]]
    seeds: Sequence[int]
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        count = sum(bool(runs) for runs in self.runs.values())
        note = f"; {self.code_note()}" if self.code_note() else ""
        return f"{self.table.name}, {self.profile}: {count} of {len(self.runs)} rows were run{note}"

    def code_note(self) -> str:
        """Return a note for titles that the runs were made by different code; empty if they were not."""
        return describe_code(self.all_runs())

    def missing_seeds(self) -> dict[str, list[int]]:
        """Return the seeds that were asked for and have no finished run, by title of the row."""
        missing = {row.title: [seed for seed in self.seeds if seed not in runs] for row, runs in self.runs.items()}
        return {title: seeds for title, seeds in missing.items() if seeds}

    def notes(self) -> str:
        """Return a note for the table: runs made by different code, and seeds missing; empty without any or runs."""
        parts = []
        for title, seeds in self.missing_seeds().items():
            parts.append(f"{title} ({'all' if len(seeds) == len(self.seeds) else _format_seeds(seeds)})")
        note = f"seeds missing of {len(self.seeds)}: {', '.join(parts)}" if parts and self.all_runs() else ""
        return "; ".join(filter(None, (self.code_note(), note)))

    def all_runs(self) -> list[Run]:
        """Return the runs of all rows and seeds."""
        return [run for runs in self.runs.values() for run in runs.values()]

    def run(self, title: str, seed: int = 0) -> Run | None:
        """Return the run of a row and seed, or None if it is not finished."""
        return self.runs_of(title).get(seed)

    def values(self, title: str, metric: str = "AP") -> dict[int, float]:
        """Return a metric of a row in percent, by seed, without runs whose data set has no such objects."""
        numbers = {seed: run.metrics[metric] for seed, run in self.runs_of(title).items()}
        return {seed: 100 * number for seed, number in numbers.items() if number is not None}

    def ap_by_row(self) -> dict[str, list[float]]:
        """Return the AP in percent of each row's finished runs, for `lad.figures.draw_comparison`."""
        return {row.title: list(self.values(row.title).values()) for row in self.runs}

    def epochs(self, *titles: str, seed: int = 0) -> dict[str, list[dict[str, float]]]:
        """Return the epochs of one seed's finished runs, of the rows with these titles or else of all rows."""
        chosen = {row.title: runs for row, runs in self.runs.items() if not titles or row.title in titles}
        return {title: runs[seed].epochs for title, runs in chosen.items() if seed in runs}

    def runs_of(self, title: str) -> Mapping[int, Run]:
        """Return the finished runs of a row by seed."""
        (runs,) = (runs for row, runs in self.runs.items() if row.title == title)
        return runs


class PaperTables(dict[str, Results]):
    """Results of several tables by name; printed as one line per table."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.values()))


def notebook_table(name: str, given: Mapping[str, Any]) -> Experiments:
    """Return the experiments of a table from the parameters of a notebook; for `lad.report.notebook.setup_notebook`.

    Args:
        name: Table, a key of `TABLES` or the path of a YAML file.
        given: `profile` and `seeds` (their number) select the runs; every other parameter changes all of them.

    Raises:
        ValueError: As `open_table`.
    """
    changes = dict(given)
    return open_table(name, changes.pop("profile", "toy"), changes.pop("seeds", 1), changes)


def notebook_own_table(given: Mapping[str, Any]) -> Experiments:
    """Return the experiments of the table that the parameter `table` of a notebook names; see `notebook_table`."""
    changes = dict(given)
    return notebook_table(changes.pop("table", None), changes)


def notebook_tables(given: Mapping[str, Any]) -> PaperTables:
    """Return the finished runs of every table, by its name; see `notebook_table`."""
    return PaperTables({name: notebook_table(name, given).finished() for name in TABLES})


def open_table(
    name: str, profile: str = "toy", seeds: int = 1, changes: Mapping[str, Any] | None = None
) -> Experiments:
    """Return the experiments of a table for seeds 0 … seeds − 1.

    Args:
        name: Table, a key of `TABLES` or the path of a YAML file.
        profile: Profile of all runs.
        seeds: Number of seeds.
        changes: Parameters of all runs, which replace those of the rows' files.

    Raises:
        ValueError: If the table, the profile or a parameter is unknown or invalid; one line that names it.
    """
    if not isinstance(profile, str) or profile not in PROFILES:
        raise ValueError(invalid_choice_message("profile", profile, PROFILES))
    if not isinstance(seeds, int) or isinstance(seeds, bool) or not 1 <= seeds <= MAX_SEEDS:
        raise ValueError(f"parameter 'seeds' = {format_value(seeds)} must be a whole number from 1 to {MAX_SEEDS}")
    changes = given_values(changes or {}, Parameters)
    if "seed" in changes:
        raise ValueError(
            "parameter 'seed' cannot be set for a table, which runs seeds 0, 1, …; set their number with 'seeds'"
        )
    if "profile" in changes:
        raise ValueError("parameter 'profile' is that of the whole table; choose it with --profile")
    table = find_table(name)
    parameters = {row: _read_row(table, row, profile, seeds, changes) for row in table.rows}
    return Experiments(table, profile, parameters, changes)


def _read_row(table: Table, row: Row, profile: str, seeds: int, changes: Mapping[str, Any]) -> list[Parameters]:
    path = table.file_of(row)
    try:
        given = read_values(path) if row.parameters is None else row.parameters
        for name in ("profile", "seed"):
            if name in given:
                raise ValueError(f"parameter '{name}' is that of the whole table, given when it is run; remove it")
        given = merge_profile_values({**given, "profile": profile})
        if "epochs" in changes:
            given.pop("teacher_epochs", None)  # the teacher trains as long as all others
        if not _has_teacher(given):
            changes = {name: value for name, value in changes.items() if not name.startswith("teacher")}
        parameters = [make_parameters({**given, **changes, "seed": seed}) for seed in range(seeds)]
        if row.is_teacher_network and not METHODS[parameters[0].method].trains_teacher:
            raise ValueError(
                f"parameter 'is_teacher_network' is for a method that trains two networks, not {parameters[0].method}"
            )
        return parameters
    except ValueError as error:
        raise ValueError(f"row '{row.title}' ({path.name}): {error}") from None


def _format_seeds(seeds: Sequence[int]) -> str:
    """Format ascending seeds: one, several, or a range such as 3–7."""
    is_range = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    return f"{seeds[0]}–{seeds[-1]}" if is_range else " and ".join(map(str, seeds))


def _has_teacher(given: Mapping[str, Any]) -> bool:
    """Return whether a row has a teacher; True if its method is unknown, which is refused later."""
    method = given.get("method", "lad")
    is_known = isinstance(method, str) and method in METHODS
    return not is_known or METHODS[method].needs_teacher or bool(given.get("distill"))
