"""Provenance of an executed notebook."""

import pytest

from lad.report.provenance import execution_summary


@pytest.mark.parametrize(
    ("record", "summary"),
    [
        ({}, "execution time not recorded"),
        ({"duration": None}, "started 2030-01-02 03:04 UTC, not finished"),
        ({"duration": 7301, "exception": None}, "executed 2030-01-02 03:04 UTC, finished in 2.0 h"),
        ({"duration": 3.4, "exception": True}, "executed 2030-01-02 03:04 UTC, failed after 3 s"),
    ],
)
def test_the_execution_summary_shows_what_papermill_recorded(record, summary):
    papermill = {"start_time": "2030-01-02T03:04:05+00:00", **record} if record else {}
    assert execution_summary({"metadata": {"papermill": papermill}}) == summary
