"""A whole run that several files look at."""

import pytest
from e2e.command import NO_BROWSER, TINY, run_well


@pytest.fixture(scope='package', autouse=True)
def _no_browser():
    """Runs in this process make no PNGs."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in NO_BROWSER.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope='session')
def finished(tmp_path_factory):
    """Return (WORKDIR, what was printed) of a run that nobody stopped."""
    workdir = tmp_path_factory.mktemp('finished') / 'run'
    return workdir, run_well(*TINY, f'--workdir={workdir}', tensorflow=True, browser=True)
