"""The claims of a table: each comparison of two rows, with its verdict by a rule and as a sentence."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from lad.paper.statistics import (
    SIGNIFICANCE,
    Difference,
    format_difference,
    format_p,
    format_signed,
    holm,
    min_permutation_p,
)
from lad.paper.summary import difference
from lad.paper.tables import Results
from lad.utils.messages import counted

PHRASES = {"better": "better than", "worse": "worse than", "open": "compared with"}
VERDICTS = ("supported", "contradicted", "differs", "not distinguished", "one seed")


@dataclass(frozen=True)
class Claim:
    """A comparison of two rows that have runs of common seeds.

    Attributes:
        title: Title of the row.
        against: Title of the row that it is compared with.
        claim: What the table claims of the row: it is better, or worse, or that is an open question.
        difference: The difference in AP, in percentage points.
        p_adjusted: p-value of the paired t test, adjusted by Holm's method for all comparisons of the table; None with
            one seed.
    """

    title: str
    against: str
    claim: Literal["better", "worse", "open"]
    difference: Difference
    p_adjusted: float | None

    @property
    def verdict(self) -> str:
        """Return one of `VERDICTS`, by the adjusted p-value and the sign of the difference."""
        if self.p_adjusted is None:
            return "one seed"
        if self.p_adjusted >= SIGNIFICANCE:
            return "not distinguished"
        if self.claim == "open":
            return "differs"
        return "supported" if (self.difference.mean > 0) == (self.claim == "better") else "contradicted"

    def __str__(self) -> str:
        verb = "" if self.claim == "open" else "is "
        sentence = f"{self.title} {verb}{PHRASES[self.claim]} {self.against}: {self.verdict}, "
        change = self.difference
        if self.p_adjusted is None:
            return f"{sentence}{format_signed(change.mean)} points."
        return (
            f"{sentence}{format_difference(change)} points over {change.seeds} seeds (p {format_p(self.p_adjusted)}, "
            f"permutation p {format_p(change.permutation_p)}, effect {_format_effect(change)})."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of a JSON file."""
        numbers = asdict(self.difference) | {"p_adjusted": self.p_adjusted}
        return {"against": self.against, "claim": self.claim, "verdict": self.verdict, **numbers}


def claims(results: Results) -> list[Claim]:
    """Return the comparisons of a table whose two rows have a common seed, in the order of the rows."""
    compared = [
        (row, against, change)
        for row in results.table.rows
        for against in row.compared_with
        if (change := difference(results, row, against)) is not None
    ]
    adjusted = iter(holm([change.p for _, _, change in compared if change.p is not None]))
    return [
        Claim(row.title, against, row.claim, change, None if change.p is None else next(adjusted))
        for row, against, change in compared
    ]


def claims_table(results: Results) -> pd.DataFrame:
    """Return the comparisons of a table with all of their statistics as text; empty if there is none.

    For each: the verdict, the difference in AP with its 95 % t interval, the p-value of the t test adjusted by Holm's
    method, that of the permutation test, the effect size d_z and the number of seeds.
    """
    made = claims(results)
    columns = {
        "claim": [f"{PHRASES[claim.claim]} {claim.against}" for claim in made],
        "verdict": [claim.verdict for claim in made],
        "difference [95 %]": [format_difference(claim.difference) for claim in made],
        "p, Holm": [format_p(claim.p_adjusted) for claim in made],
        "p, permutation": [format_p(claim.difference.permutation_p) for claim in made],
        "effect d_z": [_format_effect(claim.difference) for claim in made],
        "seeds": [str(claim.difference.seeds) for claim in made],
    }
    return pd.DataFrame(columns, index=[claim.title for claim in made])


def conclusions(results: Results) -> str:
    """Return the table's answer in lines: a count of the verdicts, a sentence on each comparison, how to read them."""
    made = claims(results)
    if not made:
        return "No runs to compare yet."
    return "\n".join([count_verdicts(made), *map(str, made), *_how_to_read(made)])


def count_verdicts(made: Sequence[Claim]) -> str:
    """Return one line on how many comparisons have which verdict."""
    counts = Counter(claim.verdict for claim in made)
    listed = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    listed = listed.replace("one seed", "with one seed")
    return f"{counted(len(made), 'comparison')}: {listed}."


def _how_to_read(made: Sequence[Claim]) -> list[str]:
    """Return a line on the statistics, one on what few seeds cannot show, and one on what one seed cannot."""
    lines = []
    tested = [claim.difference for claim in made if claim.p_adjusted is not None]
    if tested:
        compared = counted(len(tested), "comparison")
        lines.append(
            "Differences in AP, paired by seed, each with its own 95 % t interval. p is of the t test, adjusted for "
            f"{compared} (Holm), and decides at {_short(SIGNIFICANCE)}; intervals and permutation p are not adjusted. "
            "Effect: the mean difference, divided by the standard deviation of the differences over the seeds."
        )
        seeds = min(change.seeds for change in tested)
        if min_permutation_p(seeds) > SIGNIFICANCE:
            lines.append(
                f"With {seeds} seeds, a permutation p cannot be below {format_p(min_permutation_p(seeds))}, so that "
                f"it cannot decide; one comparison takes 6 seeds to reach {_short(SIGNIFICANCE)}."
            )
    if len(tested) < len(made):
        lines.append("With one seed, a difference of one or two points may be due to chance.")
    return lines


def _short(p: float) -> str:
    """Format a probability with the digits that it has."""
    return f"{p:g}".removeprefix("0")


def _format_effect(change: Difference) -> str:
    return "–" if change.effect is None else format_signed(change.effect)
