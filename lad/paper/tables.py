"""Tables of the paper from runs: rows × seeds → runs → means, differences to the baseline, beside what was published.

A table is `lad.paper.published.TABLES[name]`; the parameters of its rows are params/<table>/<row>.yaml.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lad.config.experiment import Parameters, make_parameters, merge_profile_values
from lad.config.profiles import PROFILES
from lad.config.yaml_file import read_values
from lad.distillation.methods import METHODS
from lad.experiments.leaderboard import COLUMNS, HEADINGS
from lad.experiments.run_store import Run, find_run
from lad.experiments.runner import run_experiment
from lad.paper.published import PUBLISHED, TABLES, Published, Row, Table
from lad.paper.statistics import Difference, paired_difference
from lad.utils.messages import format_value, given_values, invalid_choice_message
from lad.utils.paths import project_folder

MAX_SEEDS = 1000


@dataclass(frozen=True)
class Experiments:
    """A table's runs to be: the parameters of every row and seed."""

    table: Table
    profile: str
    parameters: Mapping[Row, Sequence[Parameters]]  # of each row, seed 0 first

    def __str__(self) -> str:
        names = {one.run_name for each in self.parameters.values() for one in each}
        finished = {one.run_name for each in self.parameters.values() for one in each if find_run(one)}
        return f"{self.table.name}, {self.profile}: {len(names)} runs, {len(finished)} of them finished"

    def finished(self) -> "Results":
        """The runs that are finished; nothing is trained."""
        found = {row: [find_run(one) for one in each] for row, each in self.parameters.items()}
        return self._results(found)

    def run(self) -> "Results":
        """All runs; those that are missing, and the teachers they need, are trained here, one after the other."""
        return self._results({row: [run_experiment(one) for one in each] for row, each in self.parameters.items()})

    def _results(self, runs: Mapping[Row, Sequence[Run | None]]) -> "Results":
        chosen = {
            row: {
                run.parameters.seed: run.teacher_network() if row.is_teacher_network else run
                for run in each
                if run is not None
            }
            for row, each in runs.items()
        }
        return Results(self.table, self.profile, chosen)


@dataclass(frozen=True)
class Results:
    """A table's finished runs, by row and seed."""

    table: Table
    profile: str
    runs: Mapping[Row, Mapping[int, Run]]

    def __str__(self) -> str:
        run = sum(bool(runs) for runs in self.runs.values())
        return f"{self.table.name}, {self.profile}: {run} of {len(self.runs)} rows were run"

    def run(self, title: str, seed: int = 0) -> Run | None:
        """One run of a row, if it is finished."""
        (row,) = (row for row in self.runs if row.title == title)
        return self.runs[row].get(seed)

    def values(self, title: str, metric: str = "AP") -> dict[int, float]:
        """The metric of a row in percent, by seed; without those runs in which it does not exist."""
        (row,) = (row for row in self.runs if row.title == title)
        numbers = {seed: run.metrics[metric] for seed, run in self.runs[row].items()}
        return {seed: 100 * number for seed, number in numbers.items() if number is not None}

    def averages(self) -> dict[str, list[float]]:
        """AP in percent of every row's finished runs, for `figures.draw_comparison`."""
        return {row.title: list(self.values(row.title).values()) for row in self.runs}

    def epochs(self, *titles: str, seed: int = 0) -> dict[str, list[dict[str, float]]]:
        """The epochs of one seed's run of each of these rows, or of all rows, as far as they are finished."""
        chosen = {row.title: runs for row, runs in self.runs.items() if not titles or row.title in titles}
        return {title: runs[seed].epochs for title, runs in chosen.items() if seed in runs}


class PaperTables(dict[str, Results]):
    """Results of several tables by name; printed as one line per table."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.values()))


def notebook_table(name: str, given: Mapping[str, Any]) -> Experiments:
    """Return the experiments of a table from the parameters of a notebook; for `lad.report.notebook.setup_notebook`.

    Args:
        name: Table, a key of `TABLES`.
        given: `profile` and `seeds` (their number) select the runs; every other parameter changes all of them.

    Raises:
        ValueError: As `open_table`.
    """
    changes = dict(given)
    return open_table(name, changes.pop("profile", "toy"), changes.pop("seeds", 1), changes)


def notebook_tables(given: Mapping[str, Any]) -> PaperTables:
    """Return the finished runs of every table, by its name; see `notebook_table`."""
    return PaperTables({name: notebook_table(name, given).finished() for name in TABLES})


def open_table(
    name: str, profile: str = "toy", seeds: int = 1, changes: Mapping[str, Any] | None = None
) -> Experiments:
    """The experiments of a table for seeds 0 … seeds − 1. changes: parameters given to every row, over its file's.

    Raises ValueError with one line for an unknown table, profile or parameter, or an impossible value.
    """
    if not isinstance(name, str) or name not in TABLES:
        raise ValueError(invalid_choice_message("table", name, TABLES))
    if not isinstance(profile, str) or profile not in PROFILES:
        raise ValueError(invalid_choice_message("profile", profile, PROFILES))
    if not isinstance(seeds, int) or isinstance(seeds, bool) or not 1 <= seeds <= MAX_SEEDS:
        raise ValueError(f"parameter 'seeds' = {format_value(seeds)} must be a whole number from 1 to {MAX_SEEDS}")
    changes = given_values(changes or {}, Parameters)
    if "seed" in changes:
        raise ValueError("parameter 'seed': a table runs seeds 0, 1, …; say how many with seeds")
    table = TABLES[name]
    return Experiments(table, profile, {row: _read_row(table, row, profile, seeds, changes) for row in table.rows})


def _read_row(table: Table, row: Row, profile: str, seeds: int, changes: Mapping[str, Any]) -> list[Parameters]:
    path = project_folder() / "params" / table.name / f"{row.file}.yaml"
    given = read_values(path)
    try:
        given = merge_profile_values({**given, "profile": profile})
        if "epochs" in changes:
            given.pop("teacher_epochs", None)  # the teacher trains as long as all others
        return [make_parameters({**given, **changes, "seed": seed}) for seed in range(seeds)]
    except ValueError as error:
        raise ValueError(f"row '{row.title}' ({path.name}): {error}") from None


def difference(results: Results, row: Row, metric: str = "AP") -> Difference | None:
    """Of a row to the row that it is to beat; None if it has none, or nothing was run."""
    if row.against is None:
        return None
    return paired_difference(results.values(row.title, metric), results.values(row.against, metric))


def gains(results: Results) -> dict[str, tuple[float | None, tuple[float, float, float] | None]]:
    """Of every row that is to beat another: the published gain and ours, for `figures.draw_gains`."""
    found = {}
    for row in results.table.rows:
        if row.against is None:
            continue
        change = difference(results, row)
        ours = None
        if change is not None:
            low, high = (change.mean if bound is None else bound for bound in (change.low, change.high))
            ours = (change.mean, low, high)
        found[row.title] = (_published_gain(results.table, row), ours)
    return found


def summary(results: Results) -> pd.DataFrame:
    """The table, in words: per row the network, AP in percent as mean ± standard deviation over seeds and the means of
    the other five, the number of seeds, the difference to its baseline with a 95 % interval, and what was published.
    “–” where nothing was run: a reproduced number is never anything else than one that was run."""
    rows = {}
    for row, runs in results.runs.items():
        values = {column: list(results.values(row.title, column).values()) for column in COLUMNS}
        rows[row.title] = {
            "network": _network(next(iter(runs.values()))) if runs else "–",
            "AP": _mean_and_deviation(values["AP"]),
            **{HEADINGS.get(column, column): _mean(values[column]) for column in COLUMNS[1:]},
            "seeds": str(len(runs)),
            "difference [95 %]": _signed(difference(results, row)),
            "published, COCO": _published(row),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def published_table(table: Table) -> pd.DataFrame:
    """Everything that was published for a table, and its source; nothing of it was run here."""
    keys = [(row.title, key) for row in table.rows for key in row.published] + [(key, key) for key in table.others]
    lines = []
    for title, key in keys:
        one = PUBLISHED[key]
        six = (one.ap, one.ap50, one.ap75, one.ap_small, one.ap_medium, one.ap_large)
        numbers = {
            HEADINGS.get(column, column): _mean([] if x is None else [x])
            for column, x in zip(COLUMNS, six, strict=True)
        }
        lines.append({"": title, **numbers, "schedule": one.schedule or "–", "COCO": one.split, "source": one.source})
    return pd.DataFrame(lines).set_index("") if lines else pd.DataFrame()


def answer(results: Results) -> str:
    """What the table says, one sentence per row that was to beat another."""
    sentences = []
    for row in results.table.rows:
        change = difference(results, row)
        if change is None:
            continue
        lead = f"{row.title}: {_points(change.mean)} against {row.against}"
        if change.low is None or change.high is None:
            sentences.append(f"{lead}, from one seed: a difference of a point or two can be chance.")
        elif change.low > 0 or change.high < 0:
            direction = "better" if change.low > 0 else "worse"
            sentences.append(f"{lead} over {change.seeds} seeds, {direction} beyond chance: {_interval(change)}.")
        else:
            sentences.append(f"{lead} over {change.seeds} seeds, which can be chance: {_interval(change)}.")
    return "\n".join(sentences) or "Nothing to compare was run yet."


def verdicts(tables: Iterable[Results]) -> str:
    """One line per table: how many of the gains that were both run and published point the same way."""
    lines = []
    for results in tables:
        both = [(published, ours[0]) for published, ours in gains(results).values() if published is not None and ours]
        same = sum((published > 0) == (ours > 0) for published, ours in both)
        told = f"{same} of {len(both)} gains point as published" if both else "nothing run that has a published gain"
        lines.append(f"{results.table.name}: {told}")
    return "\n".join(lines)


def to_json(results: Results) -> dict[str, Any]:
    """All that the table was made from, for a file: per row and seed the run's name, the twelve COCO numbers and the
    hash of its weights. It holds no times: the same runs give the same file."""
    rows = []
    for row, runs in results.runs.items():
        change = difference(results, row)
        values = list(results.values(row.title).values())
        rows.append(
            {
                "title": row.title,
                "parameters": f"params/{results.table.name}/{row.file}.yaml",
                "network": _network(next(iter(runs.values()))) if runs else None,
                "AP_mean": statistics.fmean(values) if values else None,
                "AP_standard_deviation": statistics.stdev(values) if len(values) > 1 else None,
                "against": row.against,
                "difference": None if change is None else vars(change),
                "published": {key: vars(PUBLISHED[key]) for key in row.published},
                "runs": [
                    {
                        "seed": seed,
                        "name": run.parameters.run_name,
                        "epochs": run.parameters.epochs,
                        "metrics": run.metrics,
                        "weights_sha256": run.results["weights_sha256"],
                    }
                    for seed, run in runs.items()
                ],
            }
        )
    return {"table": results.table.name, "question": results.table.question, "profile": results.profile, "rows": rows}


def to_markdown(table: pd.DataFrame) -> str:
    """A table of words in Markdown."""
    heading = ["", *map(str, table.columns)]
    lines = [
        heading,
        ["---"] * len(heading),
        *([str(name), *map(str, row)] for name, row in zip(table.index, table.values, strict=True)),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _published_gain(table: Table, row: Row) -> float | None:
    (reference,) = (other for other in table.rows if other.title == row.against)
    if not row.published or not reference.published:
        return None
    one, other = PUBLISHED[row.published[0]], PUBLISHED[reference.published[0]]
    return one.ap - other.ap if one.split == other.split else None


def _network(run: Run) -> str:
    if run.partner is None:
        return run.backbone
    return f"{run.backbone} {'↔' if METHODS[run.parameters.method].trains_teacher else '←'} {run.partner}"


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.1f}" if values else "–"


def _mean_and_deviation(values: Sequence[float]) -> str:
    return f"{_mean(values)} ± {statistics.stdev(values):.1f}" if len(values) > 1 else _mean(values)


def _signed(change: Difference | None) -> str:
    if change is None:
        return "–"
    return (
        f"{change.mean:+.1f}" if change.low is None else f"{change.mean:+.1f} [{change.low:+.1f}, {change.high:+.1f}]"
    )


def _points(points: float) -> str:
    return f"{points:+.1f} points"


def _interval(change: Difference) -> str:
    return f"95 % interval {change.low:+.1f} to {change.high:+.1f}"


def _published(row: Row) -> str:
    def words(one: Published) -> str:
        return f"{one.ap} ({', '.join(part for part in (one.split, one.schedule) if part)})"

    return "; ".join(words(PUBLISHED[key]) for key in row.published) or "–"
