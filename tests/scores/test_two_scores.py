"""Two scores as one: against all pairs counted at every angle, and against what is true of a stream."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from failpred_jax.errors import ScoreUnavailableError, UserError
from failpred_jax.metrics import ranking_metrics
from failpred_jax.registry import SCORES
from failpred_jax.scores.score import FitInputs, ScoreInputs, as_fit
from failpred_jax.scores.two_scores import PRICE, fit_two_scores


class Units:
    """Labeled units, strangers, and two scores of each: one tells errors, the other strangers."""

    def __init__(self, rng, count=90, num_strangers=30):
        self.ranker = rng.normal(size=count)
        # Of few levels, so that there are ties.
        self.stranger = np.round(2 * rng.normal(size=count) + self.ranker) / 2
        self.correct = self.ranker + 0.8 * rng.normal(size=count) > -1
        self.strange = rng.normal(size=num_strangers) + 0.5, np.round(2 * rng.normal(size=num_strangers) - 6) / 2

    @property
    def pair(self):
        return self.ranker, self.stranger

    def stream(self):
        """Return the labeled units themselves, and the strangers."""
        return tuple(np.concatenate(both) for both in zip(self.pair, self.strange, strict=True))


@pytest.fixture
def units(rng):
    return Units(rng)


def on_line(units, pair, degrees):
    angle = np.radians(degrees)
    r, s = ((x - own.mean()) / own.std() for x, own in zip(pair, units.pair, strict=True))
    # Equal up to rounding is equal.
    return np.round(np.cos(angle) * r + np.sin(angle) * s, 9)


def slow_risk(units, stream, degrees):
    """One half less how often a right unit ranks above one of the stream, over all pairs."""
    own, other = on_line(units, units.pair, degrees)[units.correct, None], on_line(units, stream, degrees)
    above = (own > other).sum() + (own == other).sum() / 2
    return 0.5 - above / len(units.correct) / len(other)


def augrc(confidence, right):
    """The area under the share of what is accepted and wrong, one threshold after another."""
    levels = np.unique(confidence)[::-1]
    coverage = np.array([0, *(np.mean(confidence >= level) for level in levels)])
    wrong = np.array([0, *(np.mean((confidence >= level) & ~right) for level in levels)])
    return float(np.sum(np.diff(coverage) * (wrong[1:] + wrong[:-1]) / 2))


def test_with_a_stream_it_is_the_angle_of_least_risk_over_all_pairs(units):
    fitted, notes = fit_two_scores(*units.pair, units.correct, units.stream())
    risks = [slow_risk(units, units.stream(), degrees) for degrees in range(91)]
    assert risks[round(fitted.angle)] == pytest.approx(min(risks), abs=1e-12)
    assert 5 < fitted.angle < 85
    assert fitted.angle == pytest.approx(round(fitted.angle), abs=1e-4)
    assert f'{round(fitted.angle)} degrees' in notes[0] and '120 units without labels' in notes[0]
    expected = on_line(units, units.stream(), fitted.angle)
    np.testing.assert_allclose(fitted.of(*units.stream()), expected, atol=1e-5)


def test_without_one_it_is_the_largest_angle_within_the_price(units):
    fitted, notes = fit_two_scores(*units.pair, units.correct)
    risks = [slow_risk(units, units.pair, degrees) for degrees in range(91)]
    at = round(fitted.angle)
    assert max(risks[int(np.argmin(risks)) : at + 1]) <= (1 + PRICE) * min(risks) + 1e-9
    assert at == 90 or risks[at + 1] > (1 + PRICE) * min(risks)
    assert '5 % above the least' in notes[0]


def test_the_risk_of_labeled_units_alone_is_their_augrc(units):
    for degrees in (0, 30, 90):
        expected = augrc(on_line(units, units.pair, degrees), units.correct)
        assert slow_risk(units, units.pair, degrees) == pytest.approx(expected, abs=1e-9)
    expected = float(ranking_metrics(units.stranger.astype(np.float32), units.correct)['augrc'])
    assert slow_risk(units, units.pair, 90) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('copies', [1, 4])
def test_nobody_has_to_know_how_many_strangers_came(units, copies):
    """The angle is that of the least AUGRC of the stream as it truly is, whatever share of it is strange."""
    of_own = tuple(np.tile(values, copies) for values in units.pair)
    stream = tuple(np.concatenate(both) for both in zip(of_own, units.strange, strict=True))
    right = np.concatenate([np.tile(units.correct, copies), np.zeros(len(units.strange[0]), bool)])
    fitted, _ = fit_two_scores(*units.pair, units.correct, stream)
    true = [augrc(on_line(units, stream, degrees), right) for degrees in range(91)]
    assert true[round(fitted.angle)] == pytest.approx(min(true), abs=1e-9)


def test_a_stream_of_own_units_alone_asks_for_the_best_ranking_of_errors(units):
    fitted, _ = fit_two_scores(*units.pair, units.correct, units.pair)
    risks = [slow_risk(units, units.pair, degrees) for degrees in range(91)]
    assert risks[round(fitted.angle)] == pytest.approx(min(risks), abs=1e-12)
    assert fitted.angle <= fit_two_scores(*units.pair, units.correct)[0].angle + 1e-6


def test_order_and_scale_do_not_matter(units, rng):
    stream = units.stream()
    fitted, notes = fit_two_scores(*units.pair, units.correct, stream)
    order, of_stream = rng.permutation(len(units.correct)), rng.permutation(len(stream[0]))
    moved = tuple(100 * values[of_stream] - 7 for values in stream)
    again, same = fit_two_scores(
        100 * units.ranker[order] - 7, 100 * units.stranger[order] - 7, units.correct[order], moved
    )
    assert same == notes
    np.testing.assert_allclose(again.of(*moved), np.asarray(fitted.of(*stream))[of_stream], atol=1e-4)


def test_on_new_units_it_rejects_strangers_and_errors(rng):
    seen, new = Units(rng, 800, 200), Units(rng, 800, 200)
    fitted, _ = fit_two_scores(*seen.pair, seen.correct, seen.stream())
    right = np.concatenate([new.correct, np.zeros(200, bool)])

    ranker, stranger = new.stream()
    found = augrc(np.asarray(fitted.of(ranker, stranger)), right)
    assert found < min(augrc(ranker, right), augrc(stranger, right)) - 0.005


def test_a_score_that_does_not_vary_changes_no_ranking(units):
    for stream in (None, (units.strange[0], np.ones(30))):
        fitted, _ = fit_two_scores(units.ranker, np.ones(90), units.correct, stream)
        found = np.asarray(fitted.of(units.ranker, np.ones(90)))
        assert np.isfinite(found).all()
        if fitted.angle < 90:
            assert (found.argsort() == units.ranker.argsort()).all()


def test_what_cannot_be_fitted(units):
    with pytest.raises(ScoreUnavailableError, match='the validation set holds no errors'):
        fit_two_scores(*units.pair, np.ones(90, bool))
    fit_two_scores(*units.pair, np.ones(90, bool), units.stream())
    with pytest.raises(ScoreUnavailableError, match='nothing is'):
        fit_two_scores(*units.pair, np.zeros(90, bool), units.stream())
    with pytest.raises(UserError, match=r"'correct' is int64 of shape \(90,\); it must be bool, \(90,\)"):
        fit_two_scores(*units.pair, units.correct.astype(int))
    with pytest.raises(UserError, match="the stream's scores hold NaN"):
        fit_two_scores(*units.pair, units.correct, (np.array([np.nan]), np.zeros(1)))
    with pytest.raises(UserError, match=r"the stream's scores have shapes \(0,\)"):
        fit_two_scores(*units.pair, units.correct, (np.zeros(0), np.zeros(0)))


def of_run(columns, rng):
    logits = rng.normal(size=(90, 4)).astype(np.float32)
    val = ScoreInputs(logits, columns=columns)
    return FitInputs(val, (logits.argmax(axis=1) + (rng.random(90) < 0.3)).astype(np.int32) % 4, None, None, None)


def test_in_a_run_it_takes_the_first_scores_that_are_there(rng):
    columns = {name: rng.normal(size=90) for name in ('residual', 'knn_distance', 'confidnet', 'mcp', 'two')}
    given = of_run(columns, rng)
    # No worse than mcp on these units.
    columns['confidnet'] = columns['mcp'] + (given.val.logits.argmax(axis=1) == given.val_labels)
    found = as_fit(SCORES['two_scores'].fit(given))
    assert list(found.fitted.axes) == ['confidnet', 'knn_distance'] and found.notes[0] == 'confidnet and knn_distance'
    assert not any(note.startswith('not ') for note in found.notes)
    alone = as_fit(SCORES['two_scores'].fit(of_run({'residual': columns['residual']}, rng)))
    assert list(alone.fitted.axes) == ['mcp', 'residual']
    with pytest.raises(ScoreUnavailableError, match='ask for one: knn_distance, residual'):
        SCORES['two_scores'].fit(of_run({'mcp': columns['mcp']}, rng))
    with pytest.raises(ScoreUnavailableError, match='fitted on knn_distance, which these units do not have'):
        SCORES['two_scores'].fn(ScoreInputs(np.zeros((3, 4)), columns={'confidnet': np.zeros(3)}), found.fitted)


@pytest.mark.parametrize('trained', ['confidnet', 'learned_from_features'])
def test_a_trained_ranker_is_chosen_where_it_ranks_validation_errors_no_worse_than_mcp(rng, trained):
    columns = {name: rng.normal(size=90) for name in ('knn_distance', 'mcp')}
    given = of_run(columns, rng)
    correct = given.val.logits.argmax(axis=1) == given.val_labels
    for values in [rng.normal(size=90) + shift * correct for shift in np.linspace(-1, 1, 21)] + [columns['mcp']]:
        columns[trained] = values
        found = as_fit(SCORES['two_scores'].fit(given._replace(val=given.val._replace(columns=columns))))
        # At one accuracy a smaller AUGRC is a greater AUROC.
        no_worse = roc_auc_score(correct, values) >= roc_auc_score(correct, columns['mcp'])
        assert next(iter(found.fitted.axes)) == (trained if no_worse else 'mcp')
        said = [note for note in found.notes if note.startswith(f'not {trained}, which ranks the')]
        assert len(said) == (0 if no_worse else 1)
