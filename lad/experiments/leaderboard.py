"""Tables of what was run. `lad results [FOLDER]` prints the finished runs of a folder."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

from lad.distillation.methods import CO_LEARNING
from lad.experiments.run_store import Run, finished_runs
from lad.utils.paths import project_folder

COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
HEADINGS = {"APs": "S", "APm": "M", "APl": "L"}


def results_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """One row per named run: AP, AP50, AP75, AP of small, medium and large objects (NaN where there are none), and the
    minutes that training and evaluation took."""
    rows = {}
    for name, run in runs.items():
        metrics = run.metrics
        numbers = {
            HEADINGS.get(column, column): float("nan") if metrics[column] is None else metrics[column]
            for column in COLUMNS
        }
        sign = "↔" if run.parameters.method in CO_LEARNING else "←"
        taught = f"{run.backbone} {sign} {run.partner}" if run.partner else run.backbone
        rows[name] = {"network": taught, "method": run.parameters.method, **numbers, "min": run.results["seconds"] / 60}
    return pd.DataFrame.from_dict(rows, orient="index")


def style_table(table: pd.DataFrame, mark_best: bool = False) -> Styler:
    """The table for a notebook: AP in three decimals and, with `mark_best`, the best of each column in bold."""
    numbers = table.select_dtypes("float").columns
    formats = {column: "{:.1f}" if column == "min" else "{:.3f}" for column in numbers}
    styled = table.style.format(formats, na_rep="–", escape="html").format_index(escape="html", axis="index")
    scores = [column for column in numbers if column != "min"]
    return styled.highlight_max(scores, props="font-weight: bold") if mark_best else styled


def format_table(table: pd.DataFrame) -> str:
    """The table as text, AP in three decimals, minutes in one."""
    formats = {
        column: "{:.1f}".format if column == "min" else "{:.3f}".format for column in table.select_dtypes("number")
    }
    return table.to_string(formatters=formats, na_rep="–")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="lad results", description="Print the AP table of finished runs.")
    parser.add_argument(
        "folder", nargs="?", type=Path, default=project_folder() / "runs", help="folder of runs (default: runs/)"
    )
    folder = parser.parse_args(arguments).folder
    runs = {run.parameters.run_name: run for run in finished_runs(folder)}
    seconds = {
        f"{name} (teacher)": run.teacher_network() for name, run in runs.items() if run.parameters.method in CO_LEARNING
    }
    runs = dict(sorted({**runs, **seconds}.items(), key=lambda item: item[1].results["finished"]))
    if not runs:
        parser.exit(1, f"no finished run in {folder}\n")
    print(format_table(results_table(runs)))


if __name__ == "__main__":
    main()
