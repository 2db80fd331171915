"""Sessions of runs that were trained once for all tests."""

import pytest

from lad.explorer.config import make_explorer_config
from lad.explorer.session import open_session


@pytest.fixture(scope="module")
def runs(trained_runs):
    """Finished runs by name: "plain", "without epochs", and the newest, "lad", with its "teacher"."""
    return trained_runs


@pytest.fixture(scope="module")
def config_for(runs):
    out = runs["plain"].folder.parent
    return lambda **given: make_explorer_config({"out": out, **given})


@pytest.fixture(scope="module")
def session(config_for):
    """The session of the run with a teacher."""
    return open_session(config_for())


@pytest.fixture(scope="module")
def plain(runs, config_for):
    return open_session(config_for(run=runs["plain"].folder.name))
