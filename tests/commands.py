"""Commands of `lad`, called in this process."""

import pytest

from lad.cli import main


def run(*words: object) -> None:
    """Run a command that succeeds."""
    assert main([str(word) for word in words]) == 0


def error_line(capsys: pytest.CaptureFixture, *words: object, status: int = 1) -> str:
    """Return the one line on standard error with which a command fails, before it prints anything."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == status
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert printed.out == ""
    return line
