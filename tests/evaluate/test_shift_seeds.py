"""Shifted inputs over several seeds: against the files of the seeds, one figure after another."""

import csv
import json
import math
import statistics

import numpy as np
import pytest
from report.filling import fill, rows_of, text_of

from failpred_jax.errors import UserError
from failpred_jax.evaluate.shift_seeds import seeds_to_table, summarize_shifted
from failpred_jax.evaluate.shifted import Evaluator, ShiftUnits
from failpred_jax.results import Evaluation, Measures, Predictions, RunDescription
from failpred_jax.results.shift_choice import recommend_over_seeds
from failpred_jax.results.shift_seeds import read_shifted_seeds, write_shifted_seeds
from failpred_jax.results.shifted import write_shifted

SEEDS = (0, 1, 2)
LOWER = ('fpr_at_95tpr', 'aurc', 'augrc', 'risk_at_80coverage')


def units(rng, count, strange=False):
    correct = np.zeros(count, bool) if strange else rng.random(count) < 0.8
    confidences = {
        name: np.round(weight * correct + rng.normal(size=count), 1) for name, weight in (('mcp', 1), ('other', 1.1))
    }
    return Predictions(np.zeros(count, np.int32), np.zeros((count, 2), np.float32), correct, confidences)


def shifted(seed, sets=('ood_far', 'corrupted')):
    rng = np.random.default_rng(seed)
    evaluator = Evaluator(units(rng, 200), None, 'mcp', resamples=0)
    found = {name: units(rng, 120, name.startswith('ood')) for name in ('ood_far', 'corrupted')}
    measured = [evaluator.measured(ShiftUnits(name, found[name], name.startswith('ood'))) for name in sets]
    return evaluator.summary(measured)


@pytest.fixture(scope='module')
def found():
    return {seed: shifted(seed) for seed in SEEDS}


def values_of(path):
    """Return (set, setting, score, metric) -> value of one seed's file."""
    content = json.loads(path.read_text())
    alone = {score: {'errors': values} for score, values in content['errors'].items()}
    every = [('test', alone), *((one['name'], one['scores']) for one in content['sets'])]
    return {
        (name, setting, score, metric): value
        for name, scores in every
        for score, settings in scores.items()
        for setting, of in settings.items()
        for metric, value in of['metrics'].items()
    }


def test_means_spreads_and_wins_are_those_of_the_files_of_the_seeds(found, tmp_path):
    for seed, one in found.items():
        write_shifted(one, '', tmp_path / str(seed))
    files = [values_of(tmp_path / str(seed) / 'shift.json') for seed in SEEDS]
    summary = summarize_shifted(found)
    assert write_shifted_seeds(summary, seeds_to_table(summary, 'things'), tmp_path)
    rows = list(csv.DictReader((tmp_path / 'seeds.csv').read_text().splitlines()))
    assert {(r['shift'], r['setting'], r['score'], r['metric']) for r in rows} == files[0].keys()
    for row in rows:
        key = row['shift'], row['setting'], row['score'], row['metric']
        of = [file[key] for file in files]
        assert float(row['mean']) == pytest.approx(statistics.mean(of), abs=1e-12)
        assert float(row['std']) == pytest.approx(statistics.stdev(of), abs=1e-12)
        both = [[file[(*key[:2], score, key[3])] for score in ('mcp', 'other')] for file in files]
        # Beyond what sums round.
        sign = -1 if row['metric'] in LOWER else 1
        better = [sign * (own - ref) > 1e-12 for ref, own in both]
        assert row['better_than_reference'] == ('' if row['score'] == 'mcp' else f'{float(sum(better))}')
    assert read_shifted_seeds(tmp_path).sets[0].scores['other']['joint_10']['aurc'].mean == pytest.approx(
        statistics.mean(file['ood_far', 'joint_10', 'other', 'aurc'] for file in files)
    )
    # What is there already is not written again, so the page stays up to date.
    assert not write_shifted_seeds(summary, '', tmp_path)


def test_the_order_of_seeds_does_not_matter(found):
    turned = {seed: found[seed] for seed in reversed(SEEDS)}
    # NaN is not equal to itself; what is written is.
    assert repr(summarize_shifted(turned)) == repr(summarize_shifted(found))


def test_wins_and_losses_and_ties_are_all_seeds(found):
    """As seen from the other score, what is not won is lost or tied; and some score is the best in every seed."""
    seen = summarize_shifted(found)
    for one in seen.sets:
        for setting in one.scores['mcp']:
            for metric, other in one.scores['other'][setting].items():
                best = one.scores['mcp'][setting][metric].best
                assert other.wins == len(SEEDS) - best
                assert other.best + best >= len(SEEDS)


def test_one_seed_is_itself(found):
    alone = summarize_shifted({7: found[1]})
    for one, own in zip(alone.sets, found[1].sets, strict=True):
        value = one.scores['other']['errors' if not one.is_strangers else 'strangers']['auroc']
        assert value.mean == own.scores['other']['errors' if not one.is_strangers else 'strangers'].metrics['auroc']
        assert math.isnan(value.std)
        assert one.accuracy.mean == own.accuracy or (math.isnan(one.accuracy.mean) and math.isnan(own.accuracy))


def test_what_some_seed_lacks_is_left_out_and_named(found):
    summary = summarize_shifted({**found, 3: shifted(3, ('corrupted',))})
    assert [one.name for one in summary.sets] == ['corrupted']
    assert summary.strangers == {} and recommend_over_seeds(summary) == ''
    assert summary.notes == ('left out, since not every seed was measured on it: ood_far',)


def test_the_page_shows_matrix_wins_and_the_recommendation(found):
    summary = summarize_shifted(found)
    evaluation = Evaluation(Measures(), RunDescription(), found_units(), shifted_seeds=summary)
    section = fill('shifts_of_seeds', evaluation)
    text = text_of(section)
    assert recommend_over_seeds(summary) in text and 'of 3' in text
    rows = rows_of(section, 'shifted_sets_of_seeds')
    (row,) = [r for r in rows if (r['set'], r['rejects'], r['score']) == ('ood_far', '10 % shifted', 'other')]
    value = summary.sets[0].scores['other']['joint_10']['aurc']
    assert (float(row['aurc']), float(row['aurc_std']), float(row['aurc_wins'])) == pytest.approx(
        (value.mean, value.std, value.wins)
    )
    assert not fill('shifts_of_seeds', Evaluation(Measures(), RunDescription(), found_units())).parts


def found_units():
    return units(np.random.default_rng(9), 20)


def test_a_damaged_file_is_named(found, tmp_path):
    write_shifted_seeds(summarize_shifted(found), '', tmp_path)
    (tmp_path / 'seeds.json').write_text('{"seeds": [0')
    with pytest.raises(UserError, match=r'seeds\.json cannot be read .* remove it'):
        read_shifted_seeds(tmp_path)
    assert write_shifted_seeds(summarize_shifted(found), '', tmp_path)
