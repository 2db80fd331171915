"""The benchmarks run, at a small size; what they measure is not looked at here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def rows(script: str, *arguments: str) -> list[str]:
    """First cells of the table that a benchmark prints, without its title."""
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return re.findall(r"^\| ([^|]+) \|", done.stdout, re.MULTILINE)[1:]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_every_methods_step_is_measured(precision):
    # Not smaller: where P6 is a single location, the CPU's bfloat16 gradient of the layer after it can be NaN.
    size = ("--height", "128", "--width", "128", "--batch", "1")
    small = ("--student", "r18", "--teacher", "r18", *size, "--rounds", "1")
    assert rows("step", *small, "--precision", precision) == [
        "bare network", "assignment and loss", "baseline", "LAD", "LAD, teacher remembered", "CoLAD",
    ]  # fmt: skip


def test_an_epoch_with_a_remembered_teacher_has_the_losses_of_one_that_asks():
    """The benchmark itself compares them bit by bit."""
    small = ("--student", "r18", "--teacher", "r18", "--images", "16", "--rounds", "1")
    assert rows("epoch", *small) == ["plain student", "LAD", "LAD, teacher remembered"]


@pytest.mark.parametrize("script", ["kernels", "postprocess", "teacher"])
def test_parts_are_measured(script):
    small = {"kernels": ("--gts", "2"), "postprocess": ("--rounds", "1")}
    arguments = small.get(script, ("--teacher", "r18", "--height", "64", "--width", "64", "--rounds", "1"))
    assert len(rows(script, *arguments)) >= 2


def test_the_explorers_answers_are_measured():
    assert rows("explorer", "--run", "untrained", "--rounds", "1") == [
        "another assignment", "a level on or off", "another picture", "another object",
    ]  # fmt: skip
