"""Every public function says what is wrong with arrays of the wrong kind; no function is named here."""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import failpred_jax.calibrate
import failpred_jax.metrics
from failpred_jax.errors import UserError

N, C = 12, 3
_RNG = np.random.default_rng(0)
PROBS = _RNG.dirichlet(np.ones(C), N)
# What an argument of each name may be; a function is tried where all that it needs is among them.
GOOD = {
    'confidence': _RNG.random(N),
    'correct': _RNG.random(N) < 0.6,
    'mask': np.ones(N, bool),
    'val_confidence': _RNG.random(N),
    'val_correct': _RNG.random(N) < 0.6,
    'labels': _RNG.integers(0, C, N),
    'classes': _RNG.integers(0, C, N),
    'predicted': _RNG.integers(0, C, N),
    'probs': PROBS,
    'logits': np.log(PROBS),
    'confidences': {'a': _RNG.random(N)},
    'num_classes': C,
    'num_resamples': 3,
    'num_bins': 4,
    'alpha': 0.1,
    'coverage': 0.9,
    'target_risk': 0.1,
}


def _public() -> dict:
    modules = [failpred_jax.metrics] + [
        importlib.import_module(f'{failpred_jax.calibrate.__name__}.{module.name}')
        for module in pkgutil.iter_modules(failpred_jax.calibrate.__path__)
    ]
    found = {}
    for module in modules:
        names = getattr(module, '__all__', [name for name in vars(module) if not name.startswith('_')])
        for name in names:
            function = getattr(module, name)
            own = module is failpred_jax.metrics or getattr(function, '__module__', '') == module.__name__
            if inspect.isfunction(function) and own:
                found[f'{module.__name__}.{name}'] = function
    return found


def _arguments(function) -> dict | None:
    """Return what a function needs, and the mask; None where it takes something else than arrays of units."""
    needed = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if (parameter.default is parameter.empty and parameter.kind != parameter.VAR_KEYWORD) or name == 'mask'
    }
    is_of_units = needed and needed.keys() <= GOOD.keys() and any(np.ndim(GOOD[name]) for name in needed)
    return {name: GOOD[name] for name in needed} if is_of_units else None


FUNCTIONS = {name: function for name, function in _public().items() if _arguments(function)}


def _bad(name: str, good) -> dict:
    if isinstance(good, dict):
        return {
            'a list': [1.0],
            'nothing': {},
            'a number': {'a': 0.5},
            'words': {'a': np.array(['x'] * N)},
            'too few': {'a': np.ones(5)},
        }
    if isinstance(good, int):
        return {'negative': -1, 'a fraction': 1.5, 'a word': 'x'}
    if isinstance(good, float):
        return {}
    found = {
        'a number': good.flat[0],
        'words': np.full(good.shape, 'x'),
        'objects': np.full(good.shape, {}, object),
        'complex': good.astype(complex),
        'ragged': [[1.0], [1.0, 2.0]],
    }
    return found | ({} if name == 'mask' else {'nothing': None})


@pytest.mark.parametrize('function', FUNCTIONS)
def test_arguments_of_the_wrong_kind_are_refused_in_words(function):
    arguments = _arguments(FUNCTIONS[function])
    arrays = [name for name, value in arguments.items() if np.ndim(value)]
    for name, good in arguments.items():
        bad = _bad(name, good)
        others = {'confidence', 'correct', 'mask', 'labels', 'predicted', 'classes', 'probs', 'logits'} & {*arrays} - {
            name
        }
        if name in others | {name} and others and not name.startswith('val_') and np.ndim(good):
            bad['too few'] = good[:5]
        for what, value in bad.items():
            with pytest.raises(UserError) as error:
                FUNCTIONS[function](**{**arguments, name: value})
            assert 5 < len(str(error.value)) < 400, what


def test_most_functions_are_tried():
    assert len(FUNCTIONS) > 25
