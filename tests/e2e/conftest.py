"""Whole runs that several files look at, and copy to change."""

from functools import partial

import pytest
from e2e.runs import made_once, make_everything, make_finished

import failpred_jax
from failpred_jax.data import load_data


@pytest.fixture(scope='session')
def finished(tmp_path_factory):
    """Return (WORKDIR, what was printed) of a run that nobody stopped."""
    folder = made_once(tmp_path_factory, 'finished', make_finished)
    return folder / 'run', (folder / 'out.txt').read_text()


@pytest.fixture(scope='session')
def everything(finished, tmp_path_factory):
    """Return the WORKDIR of that run with more scores evaluated, and its data."""
    workdir = made_once(tmp_path_factory, 'everything', partial(make_everything, finished[0])) / 'run'
    return workdir, load_data(failpred_jax.load(workdir).run.config.data)


@pytest.fixture(scope='session')
def predictor(everything):
    return failpred_jax.load(everything[0])


@pytest.fixture(scope='session')
def whole(predictor, everything):
    """Return the prediction of the whole test split, with every score."""
    return predictor.predict(everything[1].test.images, scores=['all'])
