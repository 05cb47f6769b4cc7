"""What every registered metric keeps to, whichever it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from metrics.inputs import KINDS, C, N, all_of, assert_like, assert_same, draw, evaluate, names_of

import failpred_jax.metrics as fm
from failpred_jax.registry import METRICS

FAMILIES = ('failure', 'selective', 'calibration', 'classification', 'segmentation')


@pytest.mark.parametrize('name', METRICS)
def test_entry_tells_what_a_reader_needs(name):
    metric = METRICS[name]
    assert metric.name == name
    assert metric.family in FAMILIES
    assert metric.inputs in KINDS
    assert metric.definition.endswith(('.', ')'))
    assert metric.reference
    assert metric.label
    assert '_' not in metric.label
    assert metric.low < metric.high
    assert not metric.is_share or -1 <= metric.low < metric.high <= 1
    assert metric.column is None or metric.inputs == 'ranking'
    assert metric.higher_is_better in (True, False, None)


@pytest.mark.parametrize('kind', KINDS)
def test_values_are_in_range(kind, rng):
    for right in (0.0, 0.5, 0.9, 1.0):
        for name, value in evaluate(kind, *draw(kind, rng, right=right)).items():
            metric = METRICS[name]
            assert value.shape == ((C,) if metric.per_class else ())
            value = value[~np.isnan(value)]
            assert ((value >= metric.low) & (value <= metric.high)).all(), name


@pytest.mark.parametrize('kind', KINDS)
def test_order_of_units_changes_nothing(kind, rng):
    a, b = draw(kind, rng)
    expected = evaluate(kind, a, b)
    # Among ties: correct ones first, errors first, and at random. A sort leaves not even a rounding.
    tolerance = 0 if kind in ('ranking', 'labels') else 1e-6
    for order in (np.argsort(b, kind='stable'), np.argsort(b)[::-1], rng.permutation(N)):
        assert_same(evaluate(kind, a[order], b[order]), expected, tolerance)


@pytest.mark.parametrize('kind', KINDS)
def test_masked_units_count_nowhere_whatever_they_hold(kind, rng):
    a, b = draw(kind, rng)
    mask = rng.random(N) < 0.7
    expected = evaluate(kind, a[mask], b[mask])
    for garbage_a, garbage_b in ((np.nan, 0), (np.inf, 1), (-np.nan, 255), (-7.0, -1)):
        bad_a, bad_b = a.copy(), b.copy()
        with np.errstate(invalid='ignore'):
            bad_a[~mask] = garbage_a if a.dtype.kind == 'f' else garbage_b
        bad_b[~mask] = garbage_b
        assert_same(evaluate(kind, bad_a, bad_b, mask), expected, 0 if kind in ('ranking', 'labels') else 1e-6)


@pytest.mark.parametrize('kind', KINDS)
def test_no_unit_is_undefined_and_not_a_number_made_up(kind, rng):
    for name, value in evaluate(kind, *draw(kind, rng), np.zeros(N, bool)).items():
        # What is defined even then says so.
        assert np.isnan(value).all() != METRICS[name].undefined.startswith('never'), name


def test_rankings_do_not_change_under_monotone_transforms(rng):
    a, b = draw('ranking', rng)
    expected = evaluate('ranking', a, b)
    tiny = np.float32(2.0**-149)  # Subnormal numbers are numbers like others.
    for transform in (np.exp, lambda x: 3 * x - 100, lambda x: x**3, lambda x: (16 * x).astype(np.int64) * tiny):
        assert_same(evaluate('ranking', transform(a).astype(np.float32), b), expected, 0)
    ends = np.where(a == a.max(), np.inf, np.where(a == a.min(), -np.inf, a))
    assert_same(evaluate('ranking', ends, b), expected, 0)


@pytest.mark.parametrize('kind', ['ranking', 'probability'])
def test_nan_confidence_makes_all_of_it_nan(kind, rng):
    a, b = draw(kind, rng)
    for nan in (np.nan, -np.nan):
        a[3] = nan
        assert all(np.isnan(value) for value in evaluate(kind, a, b).values())


@pytest.mark.parametrize('kind', KINDS)
def test_eight_devices_find_what_one_finds(kind, rng):
    a, b = draw(kind, rng)
    mask = rng.random(N) < 0.8
    mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))
    found = all_of(kind)(*(jax.device_put(x, spread) for x in (a, b, mask)))
    found = {name: np.asarray(value, np.float64) for name, value in found.items()}
    assert_same(found, evaluate(kind, a, b, mask), 0 if kind in ('ranking', 'labels') else 1e-6)


@pytest.mark.parametrize('kind', KINDS)
def test_without_jit_the_same(kind, rng):
    a, b = draw(kind, rng, size=6)
    mask = np.array([True, True, True, False, True, True])
    options = {'num_classes': C} if kind == 'labels' else {}
    names = names_of(kind)
    with jax.disable_jit():
        if kind == 'ranking':
            found = fm.ranking_metrics(a, b, mask)
        elif kind == 'probability':
            found = fm.confidence_calibration(a, b, mask)
        else:
            found = {name: METRICS[name].fn(a, b, mask, **options) for name in names}
    assert set(found) <= set(names)
    expected = evaluate(kind, a, b, mask)
    assert_like({name: np.asarray(value, np.float64) for name, value in found.items()}, expected)


def test_all_inputs_may_be_jax_arrays(rng):
    a, b = draw('ranking', rng)
    assert_same(fm.score_metrics(jnp.asarray(a), jnp.asarray(b)), fm.score_metrics(a, b), 0)
