"""Write the committed tables of results/ into their pages, and into the blocks of README.md and docs/: `make results`.

A block is all between two such comments; `rows` has the APs, `claims` every comparison, `figure` the picture:

    <!-- rows: toy/table2_soft_label_vs_lad -->
    <!-- end -->
"""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from lad.experiments.run_store import Run
from lad.paper.claims import claims, claims_table
from lad.paper.output import DETECTORS
from lad.paper.results_files import to_page
from lad.paper.summary import summary
from lad.paper.tables import Results, open_table
from lad.utils.tables import to_markdown

PROJECT = Path(__file__).parents[1]
BLOCK = re.compile(r"^<!-- (\w+): (\w+)/(\w+) -->\n.*?^<!-- end -->$", re.MULTILINE | re.DOTALL)
COLUMNS = ["network", "AP", "seeds", "difference [95 %]", "verdict", "published, COCO"]  # of a block's rows


def read_results(path: Path) -> Results:
    """Return a table's results from its JSON file, with metrics but without fingerprints, epochs, weights and changes.

    Raises:
        ValueError: The rows of the file are not those of the table.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    table = PROJECT / "params" / content["table"] / "table.yaml"
    experiments = open_table(str(table), content["profile"], len(content["seeds"]))
    written = {row["title"]: {run["seed"]: run for run in row["runs"]} for row in content["rows"]}
    if list(written) != [row.title for row in experiments.table.rows]:
        raise ValueError(f"{path}: has other rows than the table {content['table']}; run the table again")
    runs = {}
    detectors = {name: content["changes"][name] for name in DETECTORS if name in content["changes"]}
    for row, of_row in experiments.parameters.items():
        runs[row] = {
            parameters.seed: Run(
                parameters.model_copy(update=detectors),
                Path(run["name"]),
                {**run, "teacher_metrics": run["metrics"], "teacher": _teacher(run["teacher_AP"])},
                "teacher" if row.is_teacher_network else "student",
            )
            for parameters in of_row
            if (run := written[row.title].get(parameters.seed))
        }
    return Results(experiments.table, experiments.profile, runs, content["seeds"])


def _teacher(ap: float | None) -> dict[str, float] | None:
    """Return what a run's results say of its teacher, from its AP in percent."""
    return None if ap is None else {"AP": ap / 100}


def rows_block(path: Path, page: Path) -> str:
    """Return the table's rows, and a link to all numbers."""
    results = read_results(path)
    table = summary(results)
    verdicts = {claim.title: claim.verdict for claim in reversed(claims(results))}  # that against the baseline
    table["verdict"] = [verdicts.get(title, "–") for title in table.index]
    return f"{to_markdown(table[COLUMNS])}\n\n{_link_to_numbers(path, page)}"


def claims_block(path: Path, page: Path) -> str:
    """Return the table's comparisons with all of their statistics, and a link to all numbers."""
    return f"{to_markdown(claims_table(read_results(path)))}\n\n{_link_to_numbers(path, page)}"


def figure_block(path: Path, page: Path) -> str:
    """Return the table's picture."""
    return f"![AP of each seed]({_link(path.with_suffix('.png'), page)})"


BLOCKS: dict[str, Callable[[Path, Path], str]] = {"rows": rows_block, "claims": claims_block, "figure": figure_block}


def fill(text: str, page: Path, folder: Path = PROJECT / "results") -> str:
    """Return the text of a page with the present content of its blocks.

    Args:
        text: Text of the page.
        page: Path of the page, for links.
        folder: Folder of the committed tables.

    Raises:
        ValueError: A block is of an unknown kind.
    """

    def write(block: re.Match[str]) -> str:
        kind, profile, name = block.groups()
        if kind not in BLOCKS:
            raise ValueError(f"{page}: block '{kind}' is not one of {', '.join(BLOCKS)}")
        path = folder / profile / f"{name}.json"
        content = (
            BLOCKS[kind](path, page)
            if path.is_file()
            else f"*Not run yet: no {path.relative_to(folder.parent).as_posix()}*"
        )
        return f"<!-- {kind}: {profile}/{name} -->\n\n{content}\n\n<!-- end -->"

    return BLOCK.sub(write, text)


def pages() -> dict[Path, str]:
    """Return the text that each page should have: the tables' own pages, and those that can have blocks."""
    own = {
        path.with_suffix(".md"): to_page(read_results(path), json.loads(path.read_text(encoding="utf-8"))["command"])
        for path in sorted((PROJECT / "results").glob("*/*.json"))
    }
    others = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
    return own | {page: fill(page.read_text(encoding="utf-8"), page) for page in others}


def _link_to_numbers(path: Path, page: Path) -> str:
    return f"[All numbers]({_link(path.with_suffix('.md'), page)})"


def _link(file: Path, page: Path) -> str:
    return Path(os.path.relpath(file, page.parent)).as_posix()


def main() -> None:
    """Write the pages that differ from their results."""
    for page, text in pages().items():
        if page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
            print(page)


if __name__ == "__main__":
    main()
