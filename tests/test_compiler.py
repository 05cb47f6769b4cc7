"""What XLA is asked for: options that it has, and none where it has them not."""

import jax
import pytest
from quick import known

from failpred_jax import compiler


@pytest.fixture(autouse=True)
def _ask_anew():
    compiler.options.cache_clear()
    yield
    compiler.options.cache_clear()


def test_matrix_products_are_left_to_xla_itself():
    if not compiler.options():
        pytest.skip('this release of XLA does not have the option')
    x = jax.ShapeDtypeStruct((256, 256), 'float32')
    program = jax.jit(lambda x: x @ x, compiler_options=compiler.options()).lower(x).compile().as_text()
    assert ' dot(' in program
    assert 'ynn_fusion' not in program


def test_an_option_that_is_no_more_is_done_without(monkeypatch):
    monkeypatch.setattr(compiler, '_CPU_OPTIONS', {'xla_cpu_option_of_the_past': 'YES'})
    assert compiler.options() == {}


def test_accelerators_are_left_alone(monkeypatch):
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    assert compiler.options() == {}


def test_flags_that_are_no_more_are_left_out_for_tests():
    assert known(['--xla_backend_optimization_level=0', '--xla_cpu_flag_of_the_past=1']) in (
        '--xla_backend_optimization_level=0', '',
    )  # fmt: skip
