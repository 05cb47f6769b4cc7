"""A run knows the network that it was evaluated with, though the code of it lies elsewhere and may be edited."""

import shutil
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen

import failpred_jax
from failpred_jax import session
from failpred_jax.config import ModelConfig, default_config
from failpred_jax.errors import UserError
from failpred_jax.evaluate.parts import Part
from failpred_jax.evaluate.probe import IMAGES, check_unchanged, is_made_elsewhere, take_probe
from failpred_jax.results import read_fits
from failpred_jax.scores.score import ScoreInputs
from failpred_jax.types import Examples


def module_of(activation, width=5):
    """Return a factory of a Flax module, as somebody may write it."""

    class Small(linen.Module):
        num_classes: int

        @linen.compact
        def __call__(self, images):
            features = activation(linen.Dense(width)(images.reshape(len(images), -1)))
            return features, linen.Dense(self.num_classes)(features)

    return Small


def function_of(activation, width=4):
    """Return a factory of a function that holds its parameters itself."""

    def make(num_classes):
        weights = np.random.default_rng(0).normal(size=(16 + width, num_classes)).astype(np.float32)

        def network(images):
            flat = images.reshape(len(images), -1)
            features = activation(jnp.concatenate([flat, flat[:, :width]], axis=1))
            return features, features @ weights

        return network

    return make


def config_of(path, is_trained):
    config = default_config()
    config.data.source, config.data.arrays.path = 'arrays', str(path)
    config.data.validation_fraction = 0.4
    config.model.name, config.model.custom.factory, config.model.head_units = 'custom', 'their_code:make', (4,)
    for stage, epochs in (('baseline', int(is_trained)), ('confidence', 1), ('finetune', 0)):
        config[stage].batch_size, config[stage].epochs = 8, epochs
    config.evaluate.batch_size, config.evaluate.scores, config.evaluate.resamples = 8, ('mcp', 'confidnet'), 0
    return config


@pytest.fixture(scope='module', params=['module', 'function'])
def made(request, tmp_path_factory):
    """Return the maker of factories, the config and the WORKDIR of an evaluated run of one; copy it to change it."""
    folder = tmp_path_factory.mktemp('elsewhere')
    rng = np.random.default_rng(3)
    train, images = rng.integers(0, 256, (2, 48, 4, 4)).astype(np.uint8)
    labels = np.arange(48) % 3
    np.savez(folder / 'd.npz', images_train=train, labels_train=labels, images_test=images, labels_test=labels)
    maker = {'module': module_of, 'function': function_of}[request.param]
    config = config_of(folder / 'd.npz', request.param == 'module')
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, 'their_code', code_of(maker(linen.relu)))
        with session.opened(config, folder / 'run') as run:
            run.train()
            run.evaluate()
    return maker, config, folder / 'run', images


def code_of(factory):
    module = types.ModuleType('their_code')
    module.make = factory
    return module


def test_the_same_code_predicts_and_changed_code_is_refused(made, monkeypatch):
    maker, _, workdir, images = made
    monkeypatch.setitem(sys.modules, 'their_code', code_of(maker(linen.relu)))
    same = failpred_jax.load(workdir, batch_size=3)
    assert len(same.predict(images[:5])) == 5
    kept = same.run.fits.probe
    assert len(kept[IMAGES]) == 8 and kept['logits'].shape == (8, 3)
    # No shape differs, and what is kept of other passes than those of the evaluation is compared too.
    for changed in (linen.tanh, lambda x: linen.relu(1.1 * x)):
        monkeypatch.setitem(sys.modules, 'their_code', code_of(maker(changed)))
        predictor = failpred_jax.load(workdir)
        for needed in (lambda p: p.predict(images[:5]), lambda p: p.reader(frozenset({'features'}))):
            with pytest.raises(UserError, match=r"factory='their_code:make' makes now is not the one .* of 8 test im"):
                needed(predictor)


def test_code_that_does_not_take_the_parameters_is_told_as_it_is_loaded_and_evaluated(made, monkeypatch, tmp_path):
    maker, config, workdir, _ = made
    shutil.copytree(workdir, tmp_path / 'run')
    monkeypatch.setitem(sys.modules, 'their_code', code_of(maker(linen.relu, 3)))
    words = r'makes now does not take the parameters of the run:(\n  - wrong shape: params/.*)+\nRestore the code'
    with pytest.raises(UserError, match=words):
        failpred_jax.load(tmp_path / 'run')
    # Else there is nothing to measure.
    shutil.rmtree(tmp_path / 'run' / 'evaluation')
    with pytest.raises(UserError, match=words), session.opened(config, tmp_path / 'run') as run:
        run.evaluate()


def test_a_run_of_an_earlier_version_kept_nothing_and_predicts(made, monkeypatch):
    maker, _, workdir, images = made
    monkeypatch.setitem(sys.modules, 'their_code', code_of(maker(linen.relu)))
    meta = dict(read_fits(workdir / 'evaluation').meta)
    assert meta.pop('probe')['dict']
    predictor = failpred_jax.load(workdir)
    object.__setattr__(predictor.run.fits, 'probe', {})
    assert len(predictor.predict(images[:2])) == 2


class Same:
    """A pass that says of any images what it was given."""

    def __init__(self, **fields):
        self.inputs = ScoreInputs(**fields)

    def batches(self, examples):
        yield self.inputs, len(examples.labels)


@pytest.mark.parametrize('shape', [(6, 3), (6, 40, 30, 3)])
def test_rounding_passes_more_is_told_and_another_network_is_refused(shape, rng, capsys):
    logits, confidence = rng.normal(size=shape).astype(np.float32), rng.normal(size=shape[:-1]).astype(np.float32)
    images = Examples(np.zeros((6, 2, 2, 1), np.uint8), np.zeros(6, np.int32))
    inputs = ScoreInputs(logits, confidence_logit=confidence)
    probe = take_probe(Part(inputs, images.labels), images)
    assert all(values.nbytes < 2**17 for values in probe.values())
    size = np.ptp(probe['logits'])

    def said(share, field='logits', **more):
        fields = {'logits': logits, 'confidence_logit': confidence, **more}
        check_unchanged(probe, Same(**fields | {field: fields[field] + share * size}), ModelConfig(name='custom'))
        return capsys.readouterr().out

    assert said(0) == said(1e-4) == said(1e-5, 'confidence_logit') == said(0, features=logits) == ''
    assert 'WARNING' in said(5e-3) and 'bfloat16' in said(5e-3)
    for field in ('logits', 'confidence_logit'):
        with pytest.raises(UserError, match='is not the one that was evaluated'):
            said(0.1, field)
    with pytest.raises(UserError, match='differ in shape, or by NaN'):
        said(np.nan)


def test_only_code_of_others_is_looked_at():
    assert is_made_elsewhere(ModelConfig(name='custom'))
    assert not is_made_elsewhere(ModelConfig(name='mlp'))
