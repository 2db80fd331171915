"""Tables of finished runs."""

import math
from pathlib import Path

from commands import error_line
from commands import run as run_command

from lad.config.experiment import make_parameters
from lad.experiments.leaderboard import format_table, results_table, style_table
from lad.experiments.run_store import Run


def run(ap: float, **given) -> Run:
    metrics = {"AP": ap, "AP50": 0.7, "AP75": 0.5, "APs": 0.2, "APm": 0.4, "APl": None}
    return Run(make_parameters(given), Path("nowhere"), {"metrics": metrics, "seconds": 90.0})


def test_a_row_has_network_method_metrics_and_minutes():
    runs = {
        "teacher": run(0.61, method="baseline", student="r101"),
        "LAD student": run(0.5625, student="r50", teacher="r101"),
    }
    table = results_table(runs)
    assert list(table.columns) == ["network", "method", "AP", "AP50", "AP75", "S", "M", "L", "min"]
    assert table.loc["LAD student", "network"] == "r50 ← r101"
    assert table.loc["teacher", "min"] == 1.5 and math.isnan(table.loc["teacher", "L"])
    text = format_table(table)
    assert "0.562" in text and "–" in text and "1.5" in text
    html = style_table(table, mark_best=True).to_html()
    assert "0.610" in html and "font-weight: bold" in html


def test_the_command_prints_the_table_of_a_folder(trained_runs, capsys):
    run_command("results", trained_runs["plain"].folder.parent)
    printed = capsys.readouterr().out
    assert "baseline" in printed and "AP50" in printed


def test_a_folder_without_runs_is_an_error(tmp_path, capsys):
    assert (
        error_line(capsys, "results", tmp_path)
        == f"lad results: {tmp_path}: no finished run in this folder; train one with `make run`"
    )
