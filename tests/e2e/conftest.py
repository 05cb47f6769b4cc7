"""A whole run that several files look at."""

import pytest
from e2e.command import TINY, run_well


@pytest.fixture(scope='session')
def finished(tmp_path_factory):
    """Return (WORKDIR, what was printed) of a run that nobody stopped."""
    workdir = tmp_path_factory.mktemp('finished') / 'run'
    return workdir, run_well(*TINY, f'--workdir={workdir}', tensorflow=True, browser=True)
