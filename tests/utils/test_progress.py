"""Progress bars in interactive sessions only, log lines everywhere."""

import sys

from lad.utils.progress import is_interactive, log, progress_bar


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
