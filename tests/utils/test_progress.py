"""Progress bars in interactive sessions only, log lines everywhere."""

import re
import sys

import pytest

from lad.utils import progress
from lad.utils.progress import EpochBar, format_duration, is_interactive, log, progress_bar


def test_a_non_interactive_session_has_log_lines_and_no_bar(capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    assert not is_interactive()  # pytest captures standard error, so it is not a terminal
    assert list(progress_bar(range(3), "epoch")) == [0, 1, 2]
    log("one line")
    captured = capsys.readouterr()
    assert captured.out == "one line\n" and captured.err == ""


def test_a_run_has_a_bar_with_the_time_left_that_disappears_and_none_where_nobody_watches(capsys, monkeypatch):
    def train(epochs: int = 4) -> None:
        with EpochBar("a run", epochs=epochs, epochs_done=1) as bar:
            bar.on_epoch_end(None)
            bar.bar.refresh()

    monkeypatch.setattr(progress, "is_interactive", lambda: True)
    train()
    bars = capsys.readouterr().err.split("\r")
    assert any(re.fullmatch(r"a run: 2 of 4 epochs .* 00:\d\d left", bar.strip()) for bar in bars), bars
    assert bars[-1] == "" and bars[-2].strip() == ""
    train(epochs=0)
    monkeypatch.setattr(progress, "is_interactive", lambda: False)
    train()
    assert capsys.readouterr().err == ""


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
