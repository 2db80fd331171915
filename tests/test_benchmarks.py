"""The benchmarks run, at a small size; their measurements are not checked."""

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def rows(monkeypatch, capsys) -> Callable[..., list[str]]:
    """A function that runs a benchmark as a script and returns the first cells of the table that it prints."""

    def run(script: str, *arguments: str) -> list[str]:
        path = BENCHMARKS / f"{script}.py"
        monkeypatch.syspath_prepend(BENCHMARKS)
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        runpy.run_path(str(path), run_name="__main__")
        return re.findall(r"^\| ([^|]+) \|", capsys.readouterr().out, re.MULTILINE)[1:]

    return run


@pytest.mark.parametrize("precision", ["32-true", pytest.param("bf16-mixed", marks=pytest.mark.slow)])
def test_step_measures_every_method(precision, rows):
    # Not smaller: if P6 is a single location, the CPU's bfloat16 gradient of the layer after it can be NaN.
    size = ("--height", "128", "--width", "128", "--batch", "1")
    small = ("--student", "r18", "--teacher", "r18", *size, "--rounds", "1")
    assert rows("step", *small, "--precision", precision) == [
        "bare network", "assignment and loss", "baseline", "LAD", "LAD, teacher cached", "CoLAD",
    ]  # fmt: skip


def test_epoch_measures_epochs_whose_losses_are_equal_with_and_without_the_cache(rows):
    """The benchmark itself compares the losses bit by bit."""
    small = ("--student", "r18", "--teacher", "r18", "--images", "16", "--rounds", "1")
    assert rows("epoch", *small) == ["plain student", "LAD", "LAD, teacher cached"]


@pytest.mark.parametrize("script", ["kernels", "postprocess", "teacher"])
def test_benchmarks_of_single_parts_print_their_tables(script, rows):
    small = {"kernels": ("--gts", "2"), "postprocess": ("--rounds", "1")}
    arguments = small.get(script, ("--teacher", "r18", "--height", "64", "--width", "64", "--rounds", "1"))
    assert len(rows(script, *arguments)) >= 2


def test_explorer_measures_response_times(rows):
    assert rows("explorer", "--run", "untrained", "--rounds", "1") == [
        "another assignment", "a level on or off", "another image", "another object",
    ]  # fmt: skip


def test_busy_measures_an_epoch_beside_busy_processes(rows):
    small = ("--student", "r18", "--images", "16", "--rounds", "1", "--threads", "1")
    assert rows("busy", *small) == ["1", "1", "1"]
