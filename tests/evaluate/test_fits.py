"""Fits go to a folder and come back the same, and nothing there is trusted."""

import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from failpred_jax.calibrate.confidence import METHODS, fit_confidence
from failpred_jax.errors import UserError
from failpred_jax.evaluate.fits import Fits, keep_fits, kept_fits
from failpred_jax.results import read_fits
from failpred_jax.results.fits import write_fits
from failpred_jax.scores.fusion import Fusion
from failpred_jax.scores.mahalanobis import Gaussians


def kept_and_read(fits, folder):
    write_fits(keep_fits(fits, {'seed': 3}), folder)
    return read_fits(folder)


def test_every_kind_of_fit_comes_back_to_the_bit(tmp_path, rng):
    gaussians = Gaussians(*(jnp.asarray(rng.normal(size=(3, 2)), jnp.float32) for _ in range(3)))
    values = {
        'mahalanobis': gaussians,
        'relative_mahalanobis': (gaussians, gaussians),
        'fusion': Fusion({'mcp': np.sort(rng.normal(size=5))}, {'mcp': np.float32(0.25)}, np.asarray(1.5)),
        'rel_u': {'list': [1, 2.5, None, 'word', True, float('inf')], 'empty': np.empty((0, 3), np.int64)},
    }
    confidence, correct = rng.random(200), rng.random(200) < 0.7
    calibrators = {name: fit_confidence(confidence, correct, name) for name in METHODS}
    read = kept_and_read(Fits(tuple(values), values, {'tcp': 'no label'}, calibrators), tmp_path)
    back = kept_fits(read)
    assert read.meta['run'] == {'seed': 3}
    assert (back.scores, back.unavailable) == (tuple(values), {'tcp': 'no label'})
    for name, value in values.items():
        assert jax.tree.structure(back.values[name]) == jax.tree.structure(value)
        for a, b in zip(jax.tree.leaves(back.values[name]), jax.tree.leaves(value), strict=True):
            assert isinstance(a, jax.Array) == isinstance(b, jax.Array)
            assert np.asarray(a).dtype == np.asarray(b).dtype
            np.testing.assert_array_equal(a, b)
    for name, found in calibrators.items():
        np.testing.assert_array_equal(back.calibrators[name](confidence), found(confidence))
        assert back.calibrators[name].to_dict() == found.to_dict()


def test_a_fit_that_no_file_can_hold_is_left_out_with_the_reason(tmp_path):
    class Local(NamedTuple):
        x: int

    values = {'rel_u': {'key': jax.random.key(0)}, 'energy': object(), 'entropy': Local(1), 'margin': np.zeros(2)}
    back = kept_fits(kept_and_read(Fits(tuple(values), values), tmp_path))
    assert back.scores == ('margin',)
    assert 'random key' in back.unavailable['rel_u']
    assert 'a object is neither' in back.unavailable['energy']
    assert "'test_a_fit_that_no" in back.unavailable['entropy']


def test_a_file_names_no_class_but_those_that_are_loaded(tmp_path):
    kept = keep_fits(Fits(('margin',), {'margin': Gaussians(*[np.zeros(1)] * 3)}), {})
    for name in ('os:system', 'antigravity:Thing', 'failpred_jax.errors:UserError', 'builtins:tuple', 'x'):
        kept.meta['fits']['margin']['type'] = name
        with pytest.raises(UserError, match=f"score 'margin' is a '{name}', which is not loaded"):
            kept_fits(kept)


def test_what_was_changed_or_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match='was not evaluated yet; evaluate it with --config=FILE --mode=evaluate --work'):
        read_fits(tmp_path)
    (tmp_path / 'metrics.json').touch()
    with pytest.raises(
        UserError, match='is not there: what the evaluation fitted was not kept; make it again with --c'
    ):
        read_fits(tmp_path)
    kept_and_read(Fits(('margin',), {'margin': np.arange(3.0)}), tmp_path)
    file = tmp_path / 'fitted' / 'fitted.json'
    good = file.read_text()
    for change, words in (
        (lambda meta: meta | {'scores': ['mcp']}, 'is damaged: its content is not what was written'),
        (lambda meta: meta | {'format': 'failpred_jax fits 9'}, "of another version .'failpred_jax fits 9'"),
    ):
        file.write_text(json.dumps(change(json.loads(good))))
        with pytest.raises(UserError, match=words):
            read_fits(tmp_path)
    file.write_text(good)
    arrays = tmp_path / 'fitted' / 'fits.npz'
    arrays.write_bytes(arrays.read_bytes()[:-30])
    with pytest.raises(UserError, match='cannot be read'):
        read_fits(tmp_path)
    write_fits(None, tmp_path)
    assert list((tmp_path / 'fitted').iterdir()) == []
