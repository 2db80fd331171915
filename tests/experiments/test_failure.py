"""A failed run has its traceback in a file of its folder."""

import pytest
from tiny_runs import tiny

from lad.experiments import runner
from lad.experiments.failure import ERROR_FILE, keep_traceback, logs_of
from lad.experiments.processes import train_side_by_side
from lad.experiments.runner import run_experiment


def fail(*_arguments, **_options):
    raise ZeroDivisionError("a bug")


def test_the_traceback_is_kept_until_the_block_is_run_again(tmp_path):
    with pytest.raises(ZeroDivisionError) as caught, keep_traceback(tmp_path):
        fail()
    assert logs_of(caught.value) == [tmp_path / ERROR_FILE]
    traceback = (tmp_path / ERROR_FILE).read_text()
    assert "in fail" in traceback and traceback.endswith("ZeroDivisionError: a bug\n")
    with keep_traceback(tmp_path):
        pass
    assert not (tmp_path / ERROR_FILE).exists()


def test_an_interrupt_is_no_failure(tmp_path):
    with pytest.raises(KeyboardInterrupt) as caught, keep_traceback(tmp_path):
        raise KeyboardInterrupt
    assert logs_of(caught.value) == [] and not (tmp_path / ERROR_FILE).exists()


def test_a_teacher_that_fails_has_the_only_log(shapes, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "train", fail)
    lad = tiny(shapes, tmp_path, method="lad", teacher="r18")
    with pytest.raises(ZeroDivisionError) as caught:
        run_experiment(lad)
    log = tmp_path / lad.of_teacher().run_name / ERROR_FILE
    assert logs_of(caught.value) == list(tmp_path.rglob(ERROR_FILE)) == [log]


def test_a_run_that_fails_in_a_process_of_its_own_has_a_log(shapes, tmp_path):
    parameters = tiny(shapes, tmp_path, logger="csv")
    (tmp_path / parameters.run_name).mkdir()
    (tmp_path / parameters.run_name / "csv").touch()  # where the logger needs a folder
    with pytest.raises(RuntimeError, match="failed; see the output above") as caught:
        train_side_by_side([parameters])
    (log,) = logs_of(caught.value)
    assert log == tmp_path / parameters.run_name / ERROR_FILE and "logger 'csv' cannot be opened" in log.read_text()
