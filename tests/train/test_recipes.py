"""Each shipped recipe does what its paper says, and nothing where its options say nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from train.tiny import BATCH_SIZE, NUM_TRAIN, Tiny, equal, leaves

from failpred_jax import devices
from failpred_jax.config import default_config, read_config
from failpred_jax.errors import UserError
from failpred_jax.train import loop
from failpred_jax.train.recipe import Setting, make_recipes
from failpred_jax.train.recipes.crl import CrlOptions
from failpred_jax.train.recipes.ema import EmaOptions
from failpred_jax.train.recipes.mixup import MixupOptions
from failpred_jax.train.recipes.regmixup import RegMixupOptions
from failpred_jax.train.recipes.sam import SamOptions
from failpred_jax.train.recipes.swa import SwaOptions
from failpred_jax.train.step import make_outcome_step, merge_params
from failpred_jax.train.validate import collect_units
from failpred_jax.types import Batch, Outputs

SETTING = Setting('baseline', NUM_TRAIN, BATCH_SIZE, steps_per_epoch=3, num_steps=12)


def recipe(name, options):
    return make_recipes([(name, options)], SETTING)[name]


@pytest.fixture(scope='module')
def plain():
    return Tiny().steps(6)


def test_options_that_ask_for_nothing_change_no_bit(plain):
    nothing = {
        'mixup': {'alpha': 0.0},
        'regmixup': {'weight': 0.0},
        'crl': {'weight': 0.0},
        'sam': {'rho': 0.0},
        'ema': {'decay': 0.0},
    }
    found = Tiny(nothing).steps(6)
    assert equal(found.trained, plain.trained)
    assert equal(found.opt_state, plain.opt_state)
    assert equal(found.recipe_states['ema']['mean'], plain.trained)


@pytest.mark.parametrize(
    'recipes', [{'mixup': {'alpha': 1e-4}, 'sam': {'rho': 1e-6}}, {'regmixup': {'alpha': 1e-4}}], ids='+'.join
)
def test_towards_nothing_they_come_close_to_none(recipes, plain):
    found = Tiny(recipes).steps(6)
    for ours, theirs in zip(leaves(found.replace(recipe_states={})), leaves(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_sam_steps_by_the_gradient_where_the_loss_is_higher():
    a = jnp.array([[3.0, 1.0], [1.0, 0.5]])
    optimizer = recipe('sam', SamOptions(rho=0.3)).change_optimizer(
        optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.2))
    )
    x = jnp.array([1.0, -2.0])
    updates, _ = optimizer.update(a @ x, optimizer.init(x), x, grad_fn=lambda there: a @ there)
    gradient = np.asarray(a @ x, np.float64)
    there = np.asarray(x) + 0.3 * gradient / np.linalg.norm(gradient)
    np.testing.assert_allclose(updates, -0.2 * (np.asarray(a) @ there + 0.1 * np.asarray(x)), rtol=1e-5)
    # Where the gradient vanishes there is nowhere to go.
    updates, _ = optimizer.update(0 * x, optimizer.init(x), 0 * x, grad_fn=lambda there: a @ there)
    assert not updates.any()


def weights_after(step):
    return {'w': jnp.float32([np.sin(step), step])}


def test_swa_is_the_mean_of_the_last_epochs_ends():
    swa = recipe('swa', SwaOptions(start=0.5))
    own = swa.init(weights_after(0))
    for step in range(1, 13):
        assert swa.evaluated(own, step - 1) is (own['mean'] if step - 1 >= 6 else None)
        own = swa.after_step(own, weights_after(step), jnp.int32(step))
    expected = np.mean([weights_after(step)['w'] for step in (6, 9, 12)], axis=0)
    np.testing.assert_allclose(own['mean']['w'], expected, rtol=1e-6)
    last = recipe('swa', SwaOptions(start=0.99))
    own = last.after_step(last.init(weights_after(0)), weights_after(12), jnp.int32(12))
    assert equal(last.evaluated(own, 12), weights_after(12))


@pytest.mark.parametrize(
    ('recipes', 'values', 'epoch'),
    [
        ({}, [0.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4], 1),
        ({'swa': {'start': 0.6}}, [0.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4], 4),
        ({'swa': {'start': 0.6}}, [0.1, 0.2, 0.3, 0.3, 0.3, 0.5, 0.4], 5),
        ({'sam': {}, 'swa': {'start': 0.99}}, [0.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4], 6),
        # What a stage starts from stays a candidate.
        ({'swa': {'start': 0.6}}, [0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], 0),
    ],
)
def test_what_is_selected_with_swa_is_an_average(recipes, values, epoch, tmp_path, monkeypatch):
    seen, measured = iter(values), loop.validation_metrics

    def said(units):
        return {**measured(units), 'val_accuracy': next(seen)}

    monkeypatch.setattr(loop, 'validation_metrics', said)
    tiny = Tiny(recipes, epochs=6)
    found = tiny.run(tmp_path)
    assert found.best_step == epoch * tiny.stage.steps_per_epoch
    assert found.best_value == values[epoch]


def test_swa_moves_the_learning_rate_by_a_cosine():
    swa = recipe('swa', SwaOptions(start=0.5, learning_rate=0.5, anneal_epochs=1.0))
    rates = [float(swa.change_schedule(lambda step: 1.0 - 0.01 * step)(step)) for step in (0, 6, 7.5, 9, 12)]
    np.testing.assert_allclose(rates, [1, 0.94, 0.72, 0.5, 0.5], rtol=1e-6)


def test_ema_is_the_slow_recursion():
    ema = recipe('ema', EmaOptions(decay=0.3))
    own, expected = ema.init(weights_after(0)), np.asarray(weights_after(0)['w'], np.float64)
    assert ema.evaluated(own, 0) is None
    for step in range(1, 8):
        own = ema.after_step(own, weights_after(step), jnp.int32(step))
        past = min(0.3, (1 + step) / (10 + step))
        expected = past * expected + (1 - past) * np.asarray(weights_after(step)['w'])
    np.testing.assert_allclose(own['mean']['w'], expected, rtol=1e-5)


def test_the_averaged_weights_are_validated_selected_and_restored(tmp_path):
    tiny = Tiny({'ema': {'decay': 0.9}})
    result = tiny.run(tmp_path)
    goes_on, evaluated, rows = tiny.checkpoints(tmp_path)
    assert equal(evaluated.trained, goes_on.recipe_states['ema']['mean'])
    assert not equal(evaluated.trained, goes_on.trained)
    outcomes = devices.map_over_devices(make_outcome_step(tiny.network.apply, tiny.program.prepare_eval_fn, None))
    params = devices.replicate(merge_params(evaluated.trained, evaluated.frozen))
    units = collect_units(outcomes, params, devices.replicate(evaluated.batch_stats), tiny.val, 8)
    assert float(rows[-1]['val_accuracy']) == pytest.approx(np.mean(units.correct))
    assert result.best_value == max(float(row['val_accuracy']) for row in rows)


def batch_of(rng, **fields):
    image = rng.normal(size=(BATCH_SIZE, 2, 2, 1)).astype(np.float32)
    label, index = (rng.integers(0, n, BATCH_SIZE).astype(np.int32) for n in (3, NUM_TRAIN))
    return Batch(image, label, np.ones(BATCH_SIZE, bool), index=index, **fields)


def changed(name, options, batch):
    """Return the batch that a recipe makes on eight devices, with each device's rows apart: [8, rows, ...]."""
    own = recipe(name, options)
    change = devices.map_over_devices(lambda batch, key: own.change_batch((), batch, key, 3))
    found = change(devices.shard(batch), devices.replicate(jax.random.key(1)))
    return jax.tree.map(np.asarray, found)


def test_mixup_mixes_each_example_with_the_next(rng):
    batch = batch_of(rng)
    found = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), changed('mixup', MixupOptions(alpha=1.0), batch))
    following = np.roll(batch.image, -1, axis=0)
    share = (found.image - following)[0, 0, 0, 0] / (batch.image - following)[0, 0, 0, 0]
    assert 0.5 <= share < 1
    np.testing.assert_allclose(found.image, share * batch.image + (1 - share) * following, rtol=1e-4, atol=1e-6)
    shares = np.eye(3, dtype=np.float32)[batch.label]
    np.testing.assert_allclose(found.targets, share * shares + (1 - share) * np.roll(shares, -1, axis=0), rtol=1e-4)
    assert np.array_equal(found.label, batch.label)


def test_regmixup_adds_mixtures_after_the_examples(rng):
    batch = batch_of(rng)
    found = changed('regmixup', RegMixupOptions(alpha=1.0, weight=0.5), batch)
    mixed = changed('mixup', MixupOptions(alpha=1.0), batch)
    half = BATCH_SIZE // 8
    assert np.array_equal(found.image[:, :half].reshape(batch.image.shape), batch.image)
    np.testing.assert_allclose(found.image[:, half:], mixed.image, rtol=1e-5)
    np.testing.assert_allclose(found.targets[:, half:], mixed.targets, rtol=1e-5)
    assert np.array_equal(found.index[:, :half].reshape(-1), batch.index)
    assert (found.index[:, half:] == -1).all()
    np.testing.assert_allclose(found.weights[:, :half], 1 / 1.5, rtol=1e-6)
    np.testing.assert_allclose(found.weights[:, half:], 0.5 / 1.5, rtol=1e-6)


@pytest.mark.parametrize('kind', ['softmax', 'margin', 'entropy'])
def test_crl_is_the_slow_loop_over_neighbors(kind, rng):
    crl = recipe('crl', CrlOptions(weight=0.7, confidence=kind))
    batch = batch_of(rng)._replace(mask=rng.random(BATCH_SIZE) < 0.8)
    logits = rng.normal(size=(BATCH_SIZE, 3)).astype(np.float32)
    history = rng.integers(1, 5, NUM_TRAIN).astype(np.int32)
    own = {'num_correct': history, 'step': np.int32(15)}

    def on_each(own, logits, batch):
        outputs = Outputs(logits, logits)
        loss = crl.loss(own, lambda outputs, batch, mask: jnp.zeros(mask.shape), outputs, batch, batch.mask)
        return loss, crl.observe(own, outputs, batch, batch.mask)

    found, seen = devices.map_over_devices(on_each)(devices.replicate(own), *devices.shard((logits, batch)))
    probs = np.asarray(jax.nn.softmax(logits), np.float64)
    ordered = np.sort(probs, axis=1)
    k = {
        'softmax': ordered[:, -1],
        'margin': ordered[:, -1] - ordered[:, -2],
        'entropy': np.sum(probs * np.log(probs), axis=1) / np.log(3),
    }[kind]
    # Five epochs of three steps have passed.
    c = (history - history.min()) / (5 - history.min())
    for i in range(BATCH_SIZE):
        j = (i + 1) % BATCH_SIZE
        c_i, c_j = c[batch.index[i]], c[batch.index[j]]
        expected = max(0, -np.sign(c_i - c_j) * (k[i] - k[j]) + abs(c_i - c_j)) if c_i != c_j else 0
        expected *= 0.7 * (batch.mask[i] and batch.mask[j])
        assert np.asarray(found).reshape(-1)[i] == pytest.approx(expected, abs=1e-5)
    for i in np.flatnonzero(batch.mask & (logits.argmax(axis=1) == batch.label)):
        history[batch.index[i]] += 1
    assert all(np.array_equal(own, history) for own in np.asarray(seen['num_correct']))


def test_crl_counts_every_example_of_every_epoch():
    state = Tiny({'crl': {}}, epochs=10).steps(30)
    own = state.recipe_states['crl']
    assert int(own['step']) == 30
    # 480 examples were seen, each 12 times.
    assert 0 < own['num_correct'].max() <= 12


def test_recipes_that_do_not_fit_are_named_at_once():
    made = default_config()
    made.data.source = 'digits'
    made.baseline.recipes = ('swa', 'sam', 'ema')
    made.confidence.recipes = ('sam', 'mixup')
    with pytest.raises(UserError) as raised:
        read_config(made)
    assert 'config.baseline.recipes has swa and ema, which each choose the weights' in str(raised.value)
    assert "config.confidence.recipes has 'mixup', which is not for this stage; allowed: ema, sam, swa" in str(
        raised.value
    )
