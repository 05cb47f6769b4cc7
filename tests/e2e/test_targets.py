"""Targets from elsewhere than the training set, in whole runs on real digits."""

import json
import signal

import numpy as np
import pytest
from e2e.command import TINY, final_digests, run_well, start
from e2e.test_resume import SLOW, wait_for_checkpoint

from failpred_jax.files import read_npz

pytestmark = pytest.mark.long

CROSSFIT = (
    *TINY, '--config.confidence.targets=crossfit', '--config.confidence.folds=3', '--config.data.augment.flip=True',
)  # fmt: skip


def test_crossfit_killed_in_a_fold_and_resumed_ends_the_same(tmp_path):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    out = run_well(*CROSSFIT, f'--workdir={whole}')
    # Held-out predictions are of images as stored, so the head sees these: they can even be computed beforehand.
    assert 'crossfit: the head learns from images as stored' in out
    assert 'confidence: computes the frozen activations before the first dropout of 449 training images once' in out
    process = start(*CROSSFIT, *SLOW, f'--workdir={parts}')
    wait_for_checkpoint(process, parts / 'crossfit' / 'fold_1' / 'checkpoints', at_least=5)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (parts / 'crossfit' / 'fold_0' / 'result.json').exists()
    assert not (parts / 'crossfit' / 'logits.npz').exists()
    run_well(*CROSSFIT, f'--workdir={parts}', '--mode=train')
    assert final_digests(parts) == final_digests(whole)
    ours, theirs = (read_npz(w / 'crossfit' / 'logits.npz') for w in (parts, whole))
    assert np.array_equal(ours['logits'], theirs['logits'])
    # Held-out errors are what the page speaks of, and there are more of them than on what was seen.
    targets = json.loads((whole / 'confidence' / 'targets.json').read_text())
    labels = targets['num_units']
    assert targets['source'] == 'crossfit'
    assert labels == len(theirs['logits'])
    assert f'the head learns from {targets["num_errors"]:,} errors in {labels:,} units (crossfit)' in out
    assert (
        'each part is predicted by a classifier that has not seen it' in (whole / 'report' / 'index.html').read_text()
    )


def test_validation_targets_train_on_what_selects_nothing(tmp_path):
    workdir = tmp_path / 'run'
    run_well(*TINY, f'--workdir={workdir}', '--config.confidence.targets=validation', '--config.data.augment.flip=True')
    split = read_npz(workdir / 'split.npz')
    context = json.loads((workdir / 'evaluation' / 'context.json').read_text())
    targets = json.loads((workdir / 'confidence' / 'targets.json').read_text())
    assert targets['num_units'] == len(split['validation']) // 2
    assert context['dataset']['num_val'] == len(split['validation']) - len(split['validation']) // 2
    assert context['dataset']['num_train'] == len(split['train'])
    # A training set that changes at random is shown as it does.
    assert read_npz(workdir / 'evaluation' / 'augmentation.npz')['image'].shape == (4, 6, 8, 8, 1)
    assert ', as stored' in (workdir / 'report' / 'index.html').read_text()
