"""What is said of prediction sets is true: the law of their coverage, and that a healthy run is no contradiction."""

import csv
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.special import softmax

from failpred_jax import decided as decided_room
from failpred_jax.config import DecideConfig
from failpred_jax.decide import certify_expected
from failpred_jax.decide.applied import _quoted
from failpred_jax.decide.certificate import accepts
from failpred_jax.decide.set_limits import coverage_law, missed_by_chance
from failpred_jax.decide.set_results import fit_rule, make_sets
from failpred_jax.decide.set_scores import Constants, strangeness
from failpred_jax.decide.statements import Part, verdict_on, verdict_on_average
from failpred_jax.decide.units import Units
from failpred_jax.report.sections.promises import _verdict
from failpred_jax.results.decisions import Decided


def part(rng, num_units, margin, digits=None, shift=0.0):
    """Return units of three classes of two sites, more accurate with more margin; a shift misplaces the labels."""
    labels = rng.integers(0, 3, num_units)
    probs = softmax(rng.normal(size=(num_units, 3)) + margin * np.eye(3)[labels], axis=1)
    labels = np.where(rng.random(num_units) < shift, (labels + 1) % 3, labels)
    probs = probs if digits is None else np.round(probs, digits)
    correct = probs.argmax(axis=1) == labels
    site = np.where(rng.random(num_units) < 0.3, 'north', 'south')
    return Units({'mcp': probs.max(axis=1)}, correct, labels, np.log(probs + 1e-9), None, columns={'site': site},
                 given_probs=probs)  # fmt: skip


def made(calibration, test, **options):
    return make_sets(calibration, None, test, test, DecideConfig(**options), ('a', 'b', 'c'), 'image', '')[0]


def test_chance_of_two_draws_is_that_of_ranks():
    for num_units, alpha, num_new in ((9, 0.1, 5), (40, 0.1, 30), (40, 0.35, 1), (100, 0.05, 60)):
        rank = math.floor((num_units + 1) * alpha + 1e-9)
        ways = [
            math.comb(j + rank - 1, j) * math.comb(num_new - j + num_units - rank, num_new - j)
            for j in range(num_new + 1)
        ]
        assert sum(ways) == math.comb(num_units + num_new, num_new)
        slow = [float(Fraction(sum(ways[: j + 1]), sum(ways))) for j in range(num_new + 1)]
        np.testing.assert_allclose(missed_by_chance(num_units, alpha, num_new), slow, rtol=1e-9)
    assert missed_by_chance(8, 0.1, 3).tolist() == [1, 1, 1, 1]
    large = missed_by_chance(10**6, 0.1, 10**6)
    assert large[100_000] == pytest.approx(0.5, abs=2e-3) and large[98_500] < 1e-3 and large[101_500] > 0.999


@pytest.mark.parametrize(
    ('method', 'margin', 'digits', 'empty_sets', 'is_exact'),
    [
        ('lac', 5.0, None, True, True),
        ('lac', 5.0, None, False, False),
        ('lac', 2.0, None, False, False),
        ('lac', 2.0, 1, True, False),
        ('aps', 3.0, 1, True, True),
    ],
)
def test_the_law_of_coverage_is_kept(method, margin, digits, empty_sets, is_exact, rng):
    """The ends hold a share of draws of 90 % where the law is exact, and the low one 95 % or more in any case."""
    pool, num_units, draws = part(rng, 100_000, margin, digits), 200, 400
    strange = strangeness(method, pool.probs, rng.random(len(pool)), Constants(), pool.labels)
    is_in_anyway = pool.correct & (not empty_sets)
    coverage, laws = [], []
    for seed in range(draws):
        options = DecideConfig(sets=method, empty_sets=empty_sets, seed=seed)
        calibration = part(rng, num_units, margin, digits)
        found = make_sets(calibration, None, None, None, options, (), 'image', '')[0]
        coverage.append(np.mean((strange <= fit_rule(calibration, None, options).limits[0]) | is_in_anyway))
        laws.append(found.law)
        assert ('at least 90.05 % on average' in found.law_says) == math.isnan(found.law[2])
    mean, low, high = coverage_law(num_units, 0.1)
    coverage, laws = np.array(coverage), np.array(laws)
    slack = 4 * math.sqrt(0.05 * 0.95 / draws)
    assert (laws[:, :2] == (mean, low)).all() and (np.isnan(laws[:, 2]) != is_exact).mean() > 0.95
    assert (coverage >= low).mean() > 0.95 - slack and coverage.mean() > mean - 0.005
    if is_exact:
        assert abs((coverage > high).mean() - 0.05) < slack and abs(coverage.mean() - mean) < 0.005
    elif margin == 5 or digits:
        # Stated with both ends, the law would be false.
        assert (coverage > high).mean() > 0.05 + slack


@pytest.mark.parametrize(
    ('sizes', 'options'),
    [
        ((60, 2000), {'empty_sets': True}),
        ((225, 900), {'empty_sets': True}),
        ((200, 3000), {'empty_sets': True, 'sets': 'aps'}),
        ((225, 900), {}),
        ((300, 1500), {'empty_sets': True, 'sets_by': 'class'}),
        ((200, 1500), {'empty_sets': True, 'sets_by': 'group', 'by': 'site'}),
    ],
    ids=str,
)
def test_sets_of_a_healthy_run_are_hardly_ever_contradicted(sizes, options, rng):
    draws, words, alone = 400, [], 0
    units = part(rng, draws * sum(sizes), 1.0)
    for first in range(0, len(units), sum(sizes)):
        rows = np.arange(first, first + sum(sizes))
        found = made(units.take(rows[: sizes[0]]), units.take(rows[sizes[0] :]), **options)
        seen = found.promise.verdict
        words.append(seen.word)
        alone += seen.interval.high < 0.9
        # The word and the range that it is explained by are the same thing.
        assert (seen.word == 'contradicted') == (seen.value < seen.chance.low - 1e-9)
        assert (seen.together > 1) == bool(seen.of) == ('sets_by' in options)
    assert words.count('contradicted') <= 0.025 * draws + 4 * math.sqrt(0.025 * draws)
    # One draw compared with the limit would be called a contradiction far too often: these runs can tell.
    assert options == {} or alone > words.count('contradicted') + 0.05 * draws


@pytest.mark.parametrize('options', [{}, {'sets_by': 'class'}, {'sets_by': 'group', 'by': 'site'}], ids=str)
def test_sets_of_other_units_are_contradicted(options, rng):
    words = [
        made(part(rng, 500, 1.0), part(rng, 2000, 1.0, shift=0.4), empty_sets=True, **options).promise.verdict.word
        for _ in range(20)
    ]
    assert words == ['contradicted'] * 20
    better = made(part(rng, 500, 1.0), part(rng, 2000, 3.0), empty_sets=True, **options).promise.verdict
    assert better.word == 'confirmed' and better.value > better.chance.high


def test_a_promise_on_average_of_errors_is_judged_by_both_draws(rng):
    draws, words, alone = 1000, [], 0
    for _ in range(draws):
        (calibration, is_right), (new, truth) = (
            (confidence, rng.random(n) < 0.6 + 0.4 * confidence) for n in (200, 2000) for confidence in [rng.random(n)]
        )
        found = certify_expected(calibration, is_right, 0.05)
        seen = verdict_on(found, new, truth)
        words.append(seen.word)
        alone += seen.interval.low > 0.05
        assert seen.value == (accepts(new, found.threshold) & ~truth).mean()
    assert words.count('contradicted') <= 0.025 * draws + 4 * math.sqrt(0.025 * draws) < 0.1 * draws < alone
    assert verdict_on(found, new, np.zeros(2000, bool)).word == 'contradicted'
    assert verdict_on(found, new, np.ones(2000, bool)).word == 'confirmed'


def test_parts_share_the_chance_of_a_false_word():
    """A class that alone would be a contradiction is none as the worst of a hundred, unless it is far off."""
    off, fine = Part('odd', 100, 21, 200), Part('even', 100, 10, 200)
    assert verdict_on_average([off], 0.1).word == 'contradicted'
    of_many = verdict_on_average([fine] * 99 + [off], 0.1)
    assert (of_many.word, of_many.of, of_many.together) == ('consistent', 'odd', 100)
    assert verdict_on_average([fine] * 99 + [off._replace(broken=60)], 0.1).word == 'contradicted'
    assert verdict_on_average([off._replace(calibration=5, broken=0)], 0.1).word == 'confirmed'
    assert verdict_on_average([off._replace(units=0, broken=0)], 0.1).word == 'nothing to judge'


def test_page_and_terminal_say_what_the_record_says(rng):
    found = made(part(rng, 300, 5.0), part(rng, 600, 5.0))
    lines = decided_room.summary(Decided('mcp', unit='image', sets=found))
    assert lines[-1].strip() == found.law_says and 'a set always holds the most probable class' in found.law_says
    assert lines[-2].startswith('  sets (LAC): ') and lines[-2].endswith(f', {found.promise.verdict.word}')
    assert 'better than the ' in _verdict(found.promise, 'image')
    by_class = made(part(rng, 300, 1.0), part(rng, 600, 1.0), sets_by='class', empty_sets=True).promise
    assert f'test images of {by_class.verdict.of}, the furthest from it of 3: ' in _verdict(by_class, 'image')


def test_a_set_of_any_names_is_read_back_from_its_cell(rng):
    names = ('cat', 'polar bear', 'dog "big"', '"', '', 'a,b', 'two\nlines', 'tab\there', "it's", '数字')
    for _ in range(200):
        inside = [name for name in names if rng.random() < 0.5]
        assert next(csv.reader([' '.join(map(_quoted, inside))], delimiter=' '), []) == inside


@pytest.mark.parametrize(
    ('by', 'names'),
    [('site', ['north', 'south']), ('predicted', ['cat', 'dog', 'polar bear']), ('', None)],
)
def test_sets_are_measured_in_each_group(by, names, rng):
    calibration, test = part(rng, 300, 2), part(rng, 500, 2)
    classes = ('cat', 'dog', 'polar bear')
    found, sets = make_sets(calibration, None, test, test, DecideConfig(by=by), classes, 'unit', '')
    if names is None:
        assert 'group' not in found.rows
        return
    of = test.columns['site'] if by == 'site' else np.array(classes)[test.predicted]
    holds = sets[np.arange(500), test.labels]
    assert [row.name for row in found.rows['group']] == names
    assert [(r.units, r.coverage) for r in found.rows['group']] == [
        ((of == name).sum(), holds[of == name].mean()) for name in names
    ]
