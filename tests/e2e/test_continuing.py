"""The same command with more epochs, or another head, goes on with a finished run; other data are refused."""

import json

import numpy as np
import pytest

from failpred_jax import session
from failpred_jax.config import default_config
from failpred_jax.errors import UserError
from failpred_jax.train.checkpoints import saved_digest


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {'images_train': rng.integers(0, 256, (48, 4, 4)).astype(np.uint8), 'labels_train': np.arange(48) % 3}
    np.savez(tmp_path / 'data.npz', **arrays)
    return tmp_path / 'data.npz', arrays


def config_of(path, **changes):
    """Return a tiny experiment of all stages, with changes by path such as baseline__epochs."""
    config = default_config()
    config.data.source, config.data.arrays.path = 'arrays', str(path)
    config.data.validation_fraction = 0.4
    config.model.mlp.hidden_units, config.model.head_units = 8, (8,)
    for stage in ('baseline', 'confidence'):
        config[stage].batch_size, config[stage].epochs, config[stage].learning_rate = 8, 2, 0.05
    config.finetune.epochs = 0
    config.evaluate.batch_size = 8
    for key, value in changes.items():
        section, name = key.split('__')
        config[section][name] = value
    return config


def train(workdir, config):
    with session.opened(config, workdir) as run:
        run.train()
        return run


def digests(workdir):
    """Return the digest of the last state of each stage."""
    stages = ('baseline', 'confidence')
    steps = [json.loads((workdir / stage / 'result.json').read_text())['step'] for stage in stages]
    return [saved_digest(workdir / s / 'checkpoints', n) for s, n in zip(stages, steps, strict=True)]


MORE = {'baseline__epochs': 4, 'baseline__schedule': 'exponential', 'baseline__decay': 0.7}


def test_extended_it_is_to_the_bit_what_it_would_have_been_at_once(data, tmp_path, capsys):
    path, _ = data
    train(tmp_path / 'once', config_of(path, **MORE))
    parts = tmp_path / 'parts'
    train(parts, config_of(path, **{**MORE, 'baseline__epochs': 2}))
    capsys.readouterr()
    # As an older version left it, which did not say in each folder what it was trained with.
    for file in [*parts.rglob('trained_with.json'), parts / 'data.json']:
        file.unlink()
    train(parts, config_of(path, **MORE))
    out = capsys.readouterr().out
    assert f'baseline: goes on from step 4 to 8; what was there is in {parts}/earlier/1' in out
    assert 'confidence: trained anew, since config.baseline.epochs: 2 there, 4 now' in out
    assert digests(parts) == digests(tmp_path / 'once')
    csvs = [(tmp_path / run / 'baseline' / 'metrics.csv').read_text().splitlines() for run in ('parts', 'once')]
    assert [[line.split(',')[:5] for line in csv] for csv in csvs][0] == [line.split(',')[:5] for line in csvs[1]]
    assert (parts / 'earlier' / '1' / 'baseline' / 'result.json').exists()
    assert json.loads((parts / 'earlier' / '2' / 'confidence' / 'result.json').read_text())['step'] == 4

    # Another head: the baseline stays, and so does what was there.
    train(parts, config_of(path, **MORE, confidence__learning_rate=0.01))
    out = capsys.readouterr().out
    assert 'confidence: trained anew, since config.confidence.learning_rate: 0.05 there, 0.01 now' in out
    assert 'baseline: goes' not in out
    before, now = digests(tmp_path / 'once'), digests(parts)
    assert (now[0] == before[0], now[1] == before[1]) == (True, False)

    # Measuring does not train, and says that it would have to.
    before = (parts / 'config.json').read_text()
    with (
        pytest.raises(UserError, match=r"'confidence' of .* was trained otherwise .*--mode=run goes on with it"),
        session.opened(config_of(path, **MORE, confidence__learning_rate=0.02), parts) as run,
    ):
        run.evaluate()
    assert (parts / 'config.json').read_text() == before

    # Fewer epochs, and a schedule that knew its end, are refused.
    with pytest.raises(UserError, match=r'epochs: 4 there, 3 now; a stage .* is not cut'):
        train(parts, config_of(path, **{**MORE, 'baseline__epochs': 3}))


def test_other_data_are_refused_by_content_and_another_path_is_not(data, tmp_path):
    path, arrays = data
    workdir = tmp_path / 'run'
    once = {'confidence__epochs': 0}
    train(workdir, config_of(path, **once))
    moved = path.rename(tmp_path / 'moved.npz')
    train(workdir, config_of(moved, **once))
    np.savez(moved, images_train=arrays['images_train'], labels_train=2 - arrays['labels_train'])
    before = {p: p.read_bytes() for p in workdir.rglob('*') if p.is_file()}
    with pytest.raises(UserError, match='the training part has the same images with other labels'):
        train(workdir, config_of(moved, **once))
    assert {p: p.read_bytes() for p in workdir.rglob('*') if p.is_file()} == before
    (workdir / 'data.json').unlink()
    train(workdir, config_of(moved, **once))
    np.savez(moved, images_train=arrays['images_train'][::-1], labels_train=2 - arrays['labels_train'])
    with pytest.raises(UserError, match='the training part has other images, or in another order, and the same labels'):
        train(workdir, config_of(moved, **once))
    with pytest.raises(UserError, match=r"config.baseline.epochs: 2 there, 4 now; a 'cosine' schedule ends with"):
        cosine = {**once, 'baseline__schedule': 'cosine'}
        train(tmp_path / 'cosine', config_of(path.parent / 'moved.npz', **cosine))
        train(tmp_path / 'cosine', config_of(path.parent / 'moved.npz', **cosine, baseline__epochs=4))
