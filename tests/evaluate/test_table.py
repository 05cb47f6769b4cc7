"""The table: figures from the metrics, the best marked, and what cannot be shown said."""

import json
import math

import numpy as np
import pytest

from failpred_jax.config import EvaluateConfig
from failpred_jax.errors import UserError
from failpred_jax.evaluate.folder import read_results, without_nan, write_results
from failpred_jax.evaluate.seeds import summarize_ensemble, summarize_seeds
from failpred_jax.evaluate.seeds import to_markdown as seeds_to_markdown
from failpred_jax.evaluate.table import definitions, measure, to_markdown
from failpred_jax.metrics import FAILURE_METRICS, failure_metrics
from failpred_jax.results import Results


def measured(rng, accuracy=0.8, resamples=50, scale=1.0):
    labels = rng.integers(0, 3, 200)
    correct = rng.random(200) < accuracy
    predicted = np.where(correct, labels, (labels + 1) % 3)
    probs = np.full((200, 3), 0.1, np.float32)
    probs[np.arange(200), predicted] = 0.8
    noise = rng.random(200).astype(np.float32)
    confidences = {'mcp': noise, 'confidnet': np.clip(correct * scale + noise, 0, 1), 'tcp': correct.astype(np.float32)}
    options = EvaluateConfig(resamples=resamples)
    found = measure(
        probs, labels, correct, confidences, 'classification', options, {'mcp': ('a note',)}, {'energy': 'a reason'}
    )
    return found, confidences, correct, labels, probs


def context(found):
    return {
        'dataset': {'name': 'things', 'task': 'classification'},
        'definitions': definitions(found['scores']),
        'warnings': ['a warning'],
    }


def test_figures_are_those_of_the_metrics(rng):
    found, confidences, correct, *_ = measured(rng)
    for name, confidence in confidences.items():
        expected = failure_metrics(confidence, correct)
        assert {key: found['scores'][name][key] for key in FAILURE_METRICS} == expected
        low, high = found['scores'][name]['ci']['auroc']
        assert low <= expected['auroc'] <= high
    assert found['classifier']['num_errors'] == np.count_nonzero(~correct)


def test_the_upper_bound_never_counts_as_the_best(rng):
    found, *_ = measured(rng)
    assert all('tcp' not in names for names in found['best'].values())
    assert found['best']['auroc'][0] == 'confidnet'
    assert 'tcp' not in {name for row in found['comparisons'] for name in (row['a'], row['b'])}
    pairs = [(row['metric'], row['a'], row['b']) for row in found['comparisons']]
    assert len(pairs) == len(set(pairs))


def test_the_table_marks_the_best_and_says_what_is_not_there(rng):
    found, *_ = measured(rng)
    text = to_markdown(found, context(found))
    row = next(line for line in text.splitlines() if line.startswith('| confidnet'))
    assert '=' in row
    assert '| tcp *' in text
    for words in ('- mcp: a note', '- energy is not there: a reason', '- a warning'):
        assert words in text


def test_without_errors_the_table_says_undefined_and_why(rng):
    found, *_ = measured(rng, accuracy=1.0)
    text = to_markdown(found, context(found))
    assert 'undefined' in text
    assert '- auroc is undefined: there is no error, so nothing to find' in text
    written = json.loads(json.dumps(without_nan(found), allow_nan=False))
    assert written['scores']['mcp']['auroc'] is None
    assert to_markdown(written, context(found)) == text


def test_a_folder_is_read_back_as_it_was_written(rng, tmp_path):
    found, confidences, correct, labels, probs = measured(rng)
    images = rng.integers(0, 256, (200, 4, 4, 1)).astype(np.uint8)
    history = {'baseline': {'step': [0.0, 1.0], 'train_loss': [math.nan, 0.5]}}
    written = Results(found, context(found), labels, np.log(probs), correct, confidences, images, history)
    write_results(written, 'the table', tmp_path)
    back = read_results(tmp_path)
    assert back.metrics == without_nan(found)
    assert back.history == {'baseline': {'step': [0.0, 1.0], 'train_loss': [None, 0.5]}}
    assert np.array_equal(back.images, images)
    assert all(np.array_equal(back.confidences[name], value) for name, value in confidences.items())
    (tmp_path / 'predictions.npz').write_bytes(b'nothing')
    with pytest.raises(UserError, match='run --mode=evaluate again'):
        read_results(tmp_path)
    (tmp_path / 'metrics.json').unlink()
    with pytest.raises(UserError, match=r'holds no evaluation \(metrics\.json is missing\)'):
        read_results(tmp_path)


def test_seeds_are_summed_up(rng):
    found = {seed: measured(np.random.default_rng(seed))[0] for seed in (1, 2, 3)}
    summary = summarize_seeds(found)
    values = [m['scores']['confidnet']['aurc'] for m in found.values()]
    assert summary['scores']['confidnet']['aurc'] == pytest.approx(
        {'mean': np.mean(values), 'std': np.std(values, ddof=1)}
    )
    (row,) = [r for r in summary['paired'] if r['metric'] == 'auroc']
    assert (row['a'], row['b'], row['a_wins'], row['num_seeds']) == ('confidnet', 'mcp', 1.0, 3)
    text = seeds_to_markdown(summary, context(found[1]))
    assert 'seeds 1, 2, 3: accuracy' in text
    assert '±' in text


def test_an_ensemble_of_equals_agrees_with_itself(rng):
    probs = rng.dirichlet(np.ones(3), 7).astype(np.float32)
    summary = summarize_ensemble([{'test': probs}, {'test': probs}])['test']
    np.testing.assert_allclose(summary.mean_probs, probs, rtol=1e-6)
    np.testing.assert_allclose(summary.variance, 0, atol=1e-12)
