"""Tables of finished runs; `lad results [FOLDER]` prints those of a folder."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

from lad.config.checkpoints import checkpoint_title
from lad.distillation.methods import METHODS
from lad.experiments.run_store import Run, describe_code, finished_runs
from lad.utils.old_command import run_command
from lad.utils.tables import FORMATS, TableFormat

COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
BOXES_ONLY = ", boxes only"  # of an AP that ignores classes, which cannot be compared with the others
HEADINGS = {"APs": "S", "APm": "M", "APl": "L"}


def results_table(runs: Mapping[str, Run]) -> pd.DataFrame:
    """Return one row per run: network, method, COCO metrics, and minutes of training and evaluation.

    The metrics are AP, AP50, AP75, and AP of small, medium and large objects (S, M, L), in [0, 1]; NaN where the data
    set has no such objects. If different code made the runs, the table's title, `attrs["title"]`, says so.

    Args:
        runs: Finished runs by the name of their row.
    """
    rows = {}
    for name, run in runs.items():
        metrics = run.metrics
        numbers = {
            HEADINGS.get(column, column): float("nan") if metrics[column] is None else metrics[column]
            for column in COLUMNS
        }
        minutes = run.results["seconds"] / 60 if run.parameters.epochs else float("nan")
        method = run.parameters.method_name if run.parameters.epochs else "checkpoint"
        method += BOXES_ONLY if run.results.get("ignores_classes") else ""
        rows[name] = {"network": describe_network(run), "method": method, **numbers, "min": minutes}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.attrs["title"] = describe_code(runs.values())
    return table


def describe_network(run: Run) -> str:
    """Return the backbone and that of its teacher, such as "r50 ← r101", or "r50 ↔ r101" if both are trained.

    A checkpoint that it starts from, or that it is, is in parentheses: "r50 (paa_r50_1x)". A teacher from a checkpoint
    has the checkpoint's name: "r50 ← paa_r101_2x".
    """
    own = run.backbone
    if run.parameters.init is not None and run.network == "student":
        own += f" ({checkpoint_title(run.parameters.init)})"
    if run.partner is None:
        return own
    return f"{own} {'↔' if METHODS[run.parameters.method].trains_teacher else '←'} {run.partner}"


def style_table(table: pd.DataFrame, mark_best: bool = False) -> Styler:
    """Style a table for a notebook: three decimals and, with `mark_best`, the highest value of each column in bold."""
    numbers = table.select_dtypes("float").columns
    formats = {column: "{:.1f}" if column == "min" else "{:.3f}" for column in numbers}
    styled = table.style.format(formats, na_rep="–", escape="html").format_index(escape="html", axis="index")
    if table.attrs.get("title"):
        styled = styled.set_caption(table.attrs["title"])
    scores = [column for column in numbers if column != "min"]
    if not mark_best:
        return styled
    comparable = [not str(method).endswith(BOXES_ONLY) for method in table.get("method", [""] * len(table))]
    return styled.highlight_max(pd.IndexSlice[comparable, scores], props="font-weight: bold")


def format_table(table: pd.DataFrame, form: TableFormat = "text") -> str:
    """Format a table as text, CSV, LaTeX or Markdown: metrics with three decimals, minutes with one."""
    return FORMATS[form](table)


def runs_of_folder(folder: Path) -> dict[str, Run]:
    """Return the finished runs of a folder by name, oldest first; the second network of co-learning is another.

    Raises:
        ValueError: There is none.
    """
    runs = {run.name: run for run in finished_runs(folder)}
    for name, run in list(runs.items()):
        if METHODS[run.parameters.method].trains_teacher:
            runs[f"{name} (teacher)"] = run.teacher_network()
    if not runs:
        raise ValueError(f"{folder}: no finished run in this folder; train one with `make run`")
    return dict(sorted(runs.items(), key=lambda item: item[1].results["finished"]))


def runs_to_json(runs: Mapping[str, Run]) -> str:
    """Return runs as JSON: a list with title, folder, network, method, seed, the COCO metrics and seconds of each."""
    content = [
        {
            "title": title,
            "name": run.name,
            "folder": str(run.folder),
            "network": describe_network(run),
            "method": run.parameters.method_name if run.parameters.epochs else "checkpoint",
            "data": run.parameters.data,
            "epochs": run.parameters.epochs,
            "seed": run.parameters.seed,
            "ignores_classes": bool(run.results.get("ignores_classes")),
            "metrics": run.metrics,
            "seconds": run.results["seconds"],
            "finished": run.results["finished"],
        }
        for title, run in runs.items()
    ]
    return json.dumps(content, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(run_command("results"))
