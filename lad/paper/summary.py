"""A table as text: means over seeds and differences to the baseline, beside the published results."""

from collections.abc import Iterable

import pandas as pd

from lad.experiments.leaderboard import COLUMNS, HEADINGS, describe_network
from lad.paper.definitions import Row, Table, format_published, published_gain
from lad.paper.published import Published
from lad.paper.statistics import (
    Difference,
    format_difference,
    format_mean,
    format_mean_and_std,
    paired_difference,
)
from lad.paper.tables import Results
from lad.paper.teachers import teacher_aps


def difference(results: Results, row: Row, against: str | None = None) -> Difference | None:
    """Return the difference in AP of a row to its baseline, or to the row with the title `against`.

    Returns:
        The difference; None without a baseline or without runs of a common seed.
    """
    reference = against or row.against
    if reference is None:
        return None
    return paired_difference(results.values(row.title), results.values(reference))


def gains(results: Results) -> dict[str, tuple[float | None, tuple[float, float, float] | None]]:
    """Return the published and the reproduced AP gain of each row with a baseline, for `lad.figures.draw_gains`.

    Returns:
        By title, the published gain, and mean, lower and upper bound of the reproduced gain, all in points; None for a
        gain that was not published or not reproduced. With one seed the bounds are the mean.
    """
    rows = {}
    for row in results.table.rows:
        if row.against is None:
            continue
        change = difference(results, row)
        reproduced = None
        if change is not None:
            low, high = (change.mean if bound is None else bound for bound in (change.low, change.high))
            reproduced = (change.mean, low, high)
        rows[row.title] = (published_gain(results.table, row), reproduced)
    return rows


def summary(results: Results) -> pd.DataFrame:
    """Return the table as text, "–" where nothing was run.

    For each row: the network; the mean AP of its teachers, if those of any row are known; AP in percent as mean ±
    standard deviation over the seeds, and the mean of AP50, AP75 and the AP by size; the number of seeds; the
    difference to the baseline with its 95 % confidence interval; and the published AP.
    """
    rows = {}
    for row, runs in results.runs.items():
        values = {column: list(results.values(row.title, column).values()) for column in COLUMNS}
        rows[row.title] = {
            "network": describe_network(next(iter(runs.values()))) if runs else "–",
            "teacher's AP": format_mean(teacher_aps(runs.values())),
            "AP": format_mean_and_std(values["AP"]),
            **{HEADINGS.get(column, column): format_mean(values[column]) for column in COLUMNS[1:]},
            "seeds": str(len(runs)),
            "difference [95 %]": format_difference(difference(results, row)),
            "published, COCO": format_published(results.table, row),
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    if (table["teacher's AP"] == "–").all():
        del table["teacher's AP"]
    table.attrs["title"] = results.notes()
    return table


def published_table(table: Table) -> pd.DataFrame:
    """Return all published results of a table with their sources, including those that are not trained here.

    A column without any number is left out.
    """
    keys = [(row.title, key) for row in table.rows for key in row.published] + [(key, key) for key in table.not_trained]
    has_other_heads = any(table.published_result(key).head for _, key in keys)
    lines = []
    for title, key in keys:
        result = table.published_result(key)
        metrics = (result.ap, result.ap50, result.ap75, result.ap_small, result.ap_medium, result.ap_large)
        numbers = {
            HEADINGS.get(column, column): format_mean([] if value is None else [value])
            for column, value in zip(COLUMNS, metrics, strict=True)
        }
        origin = {"schedule": result.schedule or "–", "COCO": result.split, "source": result.source}
        others = _other_head(result) if has_other_heads else {}
        lines.append({"": title, "AP": numbers["AP"], **others, **origin, **numbers})
    frame = pd.DataFrame(lines).set_index("") if lines else pd.DataFrame()
    return frame.loc[:, (frame != "–").any()]


def _other_head(result: Published) -> dict[str, str]:
    """Return the columns that a table has only if it holds results with another head."""
    alone = format_mean([] if result.alone is None else [result.alone])
    if not result.head:
        return {"AP alone": alone, "head": "PAA", "teacher": "as in its row"}
    return {"AP alone": alone, "head": f"{result.head}, not PAA's", "teacher": result.teacher or "–"}


def agreement_summary(tables: Iterable[Results]) -> str:
    """Return one line per table: how many of the gains that are both published and reproduced have the same sign."""
    lines = []
    for results in tables:
        pairs = [
            (published, reproduced[0])
            for published, reproduced in gains(results).values()
            if published is not None and reproduced is not None
        ]
        same = sum((published > 0) == (reproduced > 0) for published, reproduced in pairs)
        text = f"{same} of {len(pairs)} gains have the published sign" if pairs else "no run has a published gain"
        lines.append(f"{results.table.name}: {text}")
    return "\n".join(lines)
