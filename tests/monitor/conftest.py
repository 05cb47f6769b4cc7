"""A policy, and streams of tables fed to a monitor of it."""

import pytest
from monitor.population import written

from failpred_jax.monitor import running


@pytest.fixture
def policy(rng, tmp_path):
    return written(tmp_path / 'decisions', rng, 500)


@pytest.fixture
def fed(policy, tmp_path):
    """Return a function that feeds a table to a state and returns what ended."""

    def feed(table, state=tmp_path / 'monitor.json', form='csv'):
        path = tmp_path / f'stream.{form}'
        table.to_csv(path, index=False) if form == 'csv' else table.to_parquet(path, index=False)
        return running.run_monitor(policy, path, state, {'window': 50})

    return feed
