"""The command `lad`: one command with a subcommand for each task."""

import importlib
import subprocess
import sys

import pytest

from lad.cli import COMMANDS, main


def test_help_lists_every_subcommand(capsys):
    assert main(["--help"]) == main(["-h"]) == 0
    printed = capsys.readouterr()
    assert all(f"\n  {name} " in printed.out for name in COMMANDS) and printed.err == ""


def test_without_a_subcommand_the_help_is_an_error(capsys):
    assert main([]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("usage: lad COMMAND") and printed.out == ""


@pytest.mark.parametrize(("word", "hint"), [("reslts", "; did you mean 'results'?"), ("x", "")])
def test_an_unknown_subcommand_is_one_line_with_the_nearest(word, hint, capsys):
    assert main([word]) == 2
    expected = f"lad: error: unknown command '{word}': choose from {', '.join(COMMANDS)}{hint}\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_subcommand_shows_its_full_name(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert not stop.value.code
    assert capsys.readouterr().out.startswith(f"usage: lad {name} ")


def test_the_exit_status_is_the_subcommands(monkeypatch):
    received = []
    module = importlib.import_module(COMMANDS["report"])
    for status, expected in ((None, 0), (0, 0), (3, 3)):
        monkeypatch.setattr(module, "main", lambda words, status=status: received.append(words) or status)
        assert main(["report", "a", "-o", "b"]) == expected
    assert received == 3 * [["a", "-o", "b"]]


def test_python_m_runs_the_same_command(tmp_path):
    command = [sys.executable, "-m", "lad.cli", "results", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    (line,) = result.stderr.splitlines()
    assert result.returncode == 1 and str(tmp_path) in line and result.stdout == ""
