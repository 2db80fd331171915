"""Progress bars in interactive sessions only, log lines everywhere."""

import sys

import pytest

from lad.utils.progress import format_duration, is_interactive, log, progress_bar


def test_a_non_interactive_session_has_log_lines_and_no_bar(capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert not is_interactive()  # pytest captures standard error, so it is not a terminal
    assert list(progress_bar(range(3), "epoch")) == [0, 1, 2]
    log("one line")
    captured = capsys.readouterr()
    assert captured.out == "one line\n" and captured.err == ""


def test_a_notebook_is_interactive_in_an_editor_and_not_under_papermill(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    for name in ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)
    assert not is_interactive()
    monkeypatch.setenv("JPY_SESSION_NAME", "run_lad.ipynb")
    assert is_interactive()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (44.6, "45 s"), (89, "89 s"), (91, "1.5 min"), (194, "3.2 min"), (1200, "20 min"), (9000, "2.5 h"),
     (50_000, "14 h")],
)  # fmt: skip
def test_durations_have_two_digits_of_a_fitting_unit(seconds, text):
    assert format_duration(seconds) == text
