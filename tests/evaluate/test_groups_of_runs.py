"""What the images of a run belong to goes with them into its intervals, its files and its certificates."""

from types import SimpleNamespace

import jax
import numpy as np

from failpred_jax.config import EvaluateConfig
from failpred_jax.evaluate import evaluation
from failpred_jax.evaluate.measure import measure
from failpred_jax.evaluate.scoring import make_plan
from failpred_jax.scores.score import ScoreInputs
from failpred_jax.types import DatasetInfo, Examples


def test_images_of_one_patient_are_resampled_together(monkeypatch, rng):
    labels = np.repeat(rng.integers(0, 2, 40), 5)
    # The images of a patient are right or wrong together.
    logits = np.zeros((200, 2), np.float32)
    logits[np.arange(200), np.where(np.repeat(rng.random(40) < 0.8, 5), labels, 1 - labels)] = rng.random(200) * 3
    examples = Examples(np.zeros((200, 1, 1, 1), np.uint8), labels.astype(np.int32))
    patients = np.repeat([f'p{i}' for i in range(40)], 5)
    monkeypatch.setattr(evaluation, '_readers', lambda run: lambda needs, number: None)
    monkeypatch.setattr(evaluation, 'collect', lambda reader, examples, what: ScoreInputs(logits))
    monkeypatch.setattr(evaluation, 'evaluation_key', lambda seed, number: jax.random.key(number))
    plan, options = make_plan(['mcp'], {}, 'classification'), EvaluateConfig(resamples=200)
    widths = {}
    for groups in ({}, dict.fromkeys(('validation', 'test', 'calibration'), patients)):
        data = SimpleNamespace(
            info=DatasetInfo('x', 'classification', (1, 1, 1), ('a', 'b')),
            train=examples, val=examples, test=examples, calibration=examples, groups=groups,
        )  # fmt: skip
        run = SimpleNamespace(data=data, ensemble=None, config=SimpleNamespace(seed=0))
        found = measure(evaluation._images_of(run, plan), plan, options)
        low, high = found.measures.scores['mcp'].intervals['aurc']
        widths[bool(groups)] = high - low
        for part in (found.test, found.validation, found.calibration):
            assert (part.about.group is not None) == bool(groups)
    assert any('intervals resample 40 groups, not 200 units' in note for note in found.measures.notes)
    assert widths[True] > 1.5 * widths[False]
