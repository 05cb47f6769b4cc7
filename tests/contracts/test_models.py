"""What every architecture in the registry keeps to."""

import dataclasses
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from failpred_jax.config import ModelConfig
from failpred_jax.errors import UserError
from failpred_jax.models import convolution, layers
from failpred_jax.models.network import ANY_TASK, make_network
from failpred_jax.registry import MODELS
from failpred_jax.types import Cached, DatasetInfo

CLASSES = ('a', 'b', 'c', 'd', 'e')
BATCH = 3
BACKBONE_AND_CLASSIFIER = frozenset({'backbone', 'classifier'})


def info_for(name, size=(32, 37)):
    return DatasetInfo('made up', MODELS.fact(name, 'task') or 'classification', (*size, 3), CLASSES)


def build(name, **options):
    return make_network(ModelConfig(name=name, owned=small_options(name), **options), info_for(name))


def small_options(name):
    """Return a model's own options with every whole number as small as its rule allows, from 4 up."""
    kind = MODELS.options().get(name)
    if kind is None:
        return {}

    def smallest(field):
        return next(v for v in range(min(4, field.default), field.default + 1) if field.metadata['rule'].holds(v))

    whole = [field for field in dataclasses.fields(kind) if type(field.default) is int]
    return {name: kind(**{field.name: smallest(field) for field in whole})}


@pytest.fixture(autouse=True, scope='module')
def native_convolutions():
    """These laws are about networks; the convolutions have their own tests, and compile three times as long."""
    with pytest.MonkeyPatch.context() as patch:
        for form in ('conv3x3', 'conv3x3_keeping_ties', 'strided3x3'):
            patch.setattr(layers, form, convolution.native)
        yield


@cache
def passes(name):
    """Return one network's parameters and all kinds of passes over the same images, from one compilation."""
    network = build(name)
    params, stats = network.init(jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (BATCH, *network.image_shape))

    @jax.jit
    def run(params, stats, images):
        keys = jax.random.split(jax.random.key(2))
        hidden = network.prefix(params, stats, images)

        def dropped(key):
            return network.apply(params, stats, images, dropout_key=key, dropout_in=BACKBONE_AND_CLASSIFIER)[0]

        def given(name):
            cached = network.precompute(params, stats, images, {name, 'features'} if name == 'logits' else {name})
            return network.apply(params, stats, None, cached=cached, with_confidence=True)[0]

        return {
            'eval': network.apply(params, stats, images, with_confidence=True)[0],
            'eval_stats': network.apply(params, stats, images)[1],
            'suffix': network.suffix(params, stats, hidden, with_confidence=True),
            **{f'cached {name}': given(name) for name in Cached._fields},
            'dropped': dropped(keys[0]),
            'dropped_suffix': network.suffix(params, stats, hidden, keys[0]),
            'dropped_again': dropped(keys[1]),
        }

    return network, params, stats, images, run(params, stats, images)


@pytest.mark.parametrize('name', MODELS)
def test_outputs_have_their_shapes_in_float32(name):
    network, params, _, _, out = passes(name)
    units = (BATCH, *network.image_shape[:2]) if MODELS.fact(name, 'task') == 'segmentation' else (BATCH,)
    assert set(params) == {'backbone', 'classifier', 'head'}
    assert out['eval'].logits.shape == (*units, len(CLASSES))
    assert out['eval'].features.shape[:-1] == units
    assert out['eval'].confidence_logit.shape == units
    assert out['dropped'].confidence_logit is None
    for leaf in jax.tree.leaves((out['eval'], params)):
        assert leaf.dtype == jnp.float32
        assert bool(jnp.isfinite(leaf).all())


@pytest.mark.parametrize('name', MODELS)
def test_prefix_and_suffix_make_the_whole(name):
    *_, out = passes(name)
    jax.tree.map(np.testing.assert_array_equal, out['suffix'], out['eval'])
    jax.tree.map(np.testing.assert_array_equal, out['dropped_suffix'], out['dropped'])


@pytest.mark.parametrize('name', MODELS)
def test_what_is_known_is_taken_as_given_and_the_rest_follows(name):
    *_, out = passes(name)
    for field in Cached._fields:
        jax.tree.map(np.testing.assert_array_equal, out[f'cached {field}'], out['eval'])


@pytest.mark.parametrize('name', MODELS)
def test_dropout_varies_with_the_key_where_there_is_any(name):
    network, *_, out = passes(name)
    assert not build(name, dropout=False).has_dropout
    if network.has_dropout:
        assert float(jnp.abs(out['dropped'].logits - out['dropped_again'].logits).max()) > 1e-6
        assert float(jnp.abs(out['dropped'].logits - out['eval'].logits).max()) > 1e-6
    else:
        jax.tree.map(np.testing.assert_array_equal, out['dropped'].logits, out['eval'].logits)


@pytest.mark.parametrize('name', MODELS)
def test_a_network_without_dropout_is_untouched_by_keys(name):
    network = build(name, dropout=False)
    templates = jax.eval_shape(network.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((BATCH, *network.image_shape), jnp.float32)

    def run(params, stats, images):
        key = jax.random.key(0)
        return network.apply(params, stats, images, dropout_key=key, dropout_in=BACKBONE_AND_CLASSIFIER)[0]

    assert 'rng_bit_generator' not in str(jax.make_jaxpr(run)(*templates, images))


@pytest.mark.parametrize('name', MODELS)
def test_batch_norm_outside_the_set_stays_as_it_is(name):
    network, params, stats, images, out = passes(name)
    jax.tree.map(np.testing.assert_array_equal, out['eval_stats'], stats)
    params, stats = network.with_encoder(params, stats)
    changed = jax.jit(lambda p, s, x: network.apply(p, s, x, batch_norm_in=frozenset({'backbone'}))[1])(
        params, stats, images
    )
    assert jax.tree.structure(changed) == jax.tree.structure(stats)
    for tree in stats:
        if tree == 'backbone':
            moved = jax.tree.map(lambda a, b: bool((a != b).any()), changed[tree], stats[tree])
            assert all(jax.tree.leaves(moved))
        else:
            jax.tree.map(np.testing.assert_array_equal, changed[tree], stats[tree])


@pytest.mark.parametrize('name', MODELS)
def test_the_heads_loss_reaches_the_backbone_only_through_an_encoder(name):
    network, params, stats, images, _ = passes(name)

    def loss(params, stats):
        return jnp.sum(network.apply(params, stats, images, with_confidence=True)[0].confidence_logit)

    def reached(params, stats):
        # Traced, not run: whatever the loss does not depend on has a gradient of constant zeros.
        jaxpr, grads = jax.make_jaxpr(jax.grad(loss), return_shape=True)(params, stats)
        inner = jaxpr.jaxpr
        made_by = {var: eqn for eqn in inner.eqns for var in eqn.outvars}
        paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(grads)]
        return {
            path[0].key
            for path, var in zip(paths, inner.outvars, strict=True)
            if var in made_by and made_by[var].primitive.name not in ('broadcast_in_dim', 'zeros_like')
        }

    assert reached(params, stats) == {'head'}
    assert reached(*network.with_encoder(params, stats)) == {'encoder', 'head'}


@pytest.mark.parametrize('name', MODELS)
def test_bfloat16_computes_but_does_not_show(name):
    network = build(name, dtype='bfloat16')
    params, stats = jax.eval_shape(network.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((BATCH, *network.image_shape), jnp.float32)

    def run(params, stats, images):
        return network.apply(params, stats, images, with_confidence=True)[0]

    assert {leaf.dtype for leaf in jax.tree.leaves((params, stats))} == {jnp.dtype('float32')}
    assert {leaf.dtype for leaf in jax.eval_shape(run, params, stats, images)} == {jnp.dtype('float32')}
    assert 'bf16' in str(jax.make_jaxpr(run)(params, stats, images))


@pytest.mark.parametrize('name', MODELS)
def test_bfloat16_does_not_round_what_leaves_the_network(name):
    """Confidences of bfloat16's 8 bits would be some sixty values, full of ties."""
    network = build(name, dtype='bfloat16')
    params, stats = network.init(jax.random.key(0))
    like = jax.eval_shape(network.apply, params, stats, jnp.zeros((BATCH, *network.image_shape)))[0].features
    features = jax.random.normal(jax.random.key(1), like.shape).astype(jnp.bfloat16)

    @jax.jit
    def run(params, stats, features):
        return network.apply(params, stats, None, cached=Cached(features=features), with_confidence=True)[0]

    out = run(params, stats, features)
    for values in (out.logits, out.confidence_logit):
        shown = np.asarray(values)[np.asarray(values) != 0]
        assert np.mean(shown == shown.astype(jnp.bfloat16).astype(np.float32)) < 0.1


@pytest.mark.parametrize('name', MODELS)
def test_networks_are_values(name):
    assert build(name) == build(name)
    assert hash(build(name)) == hash(build(name))


@pytest.mark.parametrize('name', [n for n in MODELS if MODELS.fact(n, 'min_size') > 1])
def test_too_small_images_are_refused_in_words_and_the_smallest_are_not(name):
    smallest = MODELS.fact(name, 'min_size')
    with pytest.raises(UserError, match=f"model '{name}' needs images of at least .* are {smallest - 1} x 40"):
        make_network(ModelConfig(name=name), info_for(name, size=(smallest - 1, 40)))
    network = make_network(ModelConfig(name=name), info_for(name, size=(smallest, smallest)))
    params, stats = jax.eval_shape(network.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((1, *network.image_shape), jnp.float32)
    assert jax.eval_shape(lambda p, s, x: network.apply(p, s, x)[0], params, stats, images).logits.size > 0


@pytest.mark.parametrize('name', [n for n in MODELS if MODELS.fact(n, 'task') != ANY_TASK])
def test_the_wrong_task_is_refused_in_words(name):
    info = info_for(name)
    other = 'classification' if info.task == 'segmentation' else 'segmentation'
    with pytest.raises(UserError, match=f"model '{name}' is for {info.task}, but data set 'made up' is for {other}"):
        make_network(ModelConfig(name=name), DatasetInfo('made up', other, info.image_shape, CLASSES))
