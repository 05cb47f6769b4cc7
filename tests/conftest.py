"""A test environment harsher than production: eight fake devices, warnings as errors, no silent broadcasting."""

import os

from quick import QUICK, known

# Before jax is imported anywhere: the flags are read once. The workers of pytest-xdist inherit what was found. The
# processes of tests/e2e compile quickly too, but with --long as a user's run does.
TRIED = 'FAILPRED_TESTS_QUICK_FLAGS'
if TRIED not in os.environ:
    os.environ[TRIED] = known(QUICK)
FLAGS = f'--xla_force_host_platform_device_count=8 {os.environ[TRIED]}'
os.environ['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {FLAGS}'
os.environ['JAX_PLATFORMS'] = 'cpu'

import jax
import numpy as np
import pytest

jax.config.update('jax_numpy_rank_promotion', 'raise')


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--long', action='store_true', help='also run the tests marked long')


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked long, unless it is asked for."""
    if not config.getoption('--long'):
        left_out = [item for item in items if item.get_closest_marker('long')]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker('long')]


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled programs, for the other workers and the next time; `pytest --cache-clear` deletes them."""
    if not config.getoption('--long'):
        os.environ['FAILPRED_TESTS_XLA_FLAGS'] = os.environ[TRIED]
    if (cache := getattr(config, 'cache', None)) is not None:
        jax.config.update('jax_compilation_cache_dir', str(cache.mkdir('compiled')))
        jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
