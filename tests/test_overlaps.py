"""Units of two parts: copies are found whatever they are called, and chance says nothing."""

import numpy as np
import pytest

import failpred_jax
from failpred_jax.overlaps import known_of, shared_between


def known(values, ids=None, outputs=None):
    return known_of([values], [values if outputs is None else outputs], ids)


def numbered(size, first=0):
    return np.arange(first, first + size).astype(str)


DRAWS = {
    'full precision': lambda rng, size: rng.standard_normal((size, 3)).astype(np.float32),
    'two decimals': lambda rng, size: np.round(rng.beta(5, 1, (size, 1)), 2),
    'five decimals': lambda rng, size: np.round(rng.beta(5, 1, (size, 1)), 5),
    'shares of votes': lambda rng, size: rng.multinomial(6, [0.7, 0.2, 0.1], size) / 6,
    'one of two': lambda rng, size: rng.integers(0, 2, (size, 1)).astype(float),
    'constant': lambda rng, size: np.ones((size, 2)),
    'half saturated': lambda rng, size: np.where(rng.random((size, 1)) < 0.5, 1.0, rng.random((size, 2))),
}


@pytest.mark.parametrize('draw', DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize('sizes', [(400, 300), (100, 5000), (3000, 80)])
def test_units_drawn_apart_are_no_units_of_two_parts(draw, sizes, rng):
    wrong = 0
    for _ in range(40):
        own, theirs = (draw(rng, size) for size in sizes)
        for names in ((None, None), (numbered(sizes[0]), numbered(sizes[1])), (numbered(sizes[0], 10**6), numbered(9))):
            ids = names if names[1] is None or len(names[1]) == sizes[1] else (names[0], numbered(sizes[1]))
            found = shared_between(known(own, ids[0]), known(theirs, ids[1]))
            assert not found.is_most and not found.is_copy
            wrong += found.units > 0
    # Three standard deviations of a count, one side: of 120 comparisons 0.2 by a normal law.
    assert wrong <= 4


@pytest.mark.parametrize('draw', list(DRAWS.values())[:4], ids=list(DRAWS)[:4])
def test_copies_are_found_by_their_names_and_values(draw, rng):
    theirs = draw(rng, 1000)
    at = rng.permutation(1000)[:300]
    found = shared_between(known(theirs[at], numbered(1000)[at]), known(theirs, numbered(1000)))
    assert found.is_most and found.units == 300


def test_copies_under_other_names_are_found_where_values_identify(rng):
    theirs = rng.standard_normal((1000, 3))
    at = rng.permutation(1000)[:300]
    for ids in (None, numbered(300)):
        found = shared_between(known(theirs[at], ids), known(theirs, numbered(1000, 5000)))
        assert (found.units, found.is_most, found.by_name) == (300, True, False)
    # Also some of them.
    own = np.concatenate([theirs[:20], rng.standard_normal((380, 3))])
    found = shared_between(known(own), known(theirs))
    assert (found.units, found.is_most) == (20, False)


@pytest.mark.parametrize('kinds', [1, 3, 4])
def test_the_same_rows_in_the_same_order_are_a_copy_unless_of_few_kinds(kinds, rng):
    values = rng.permutation(np.arange(60) % kinds).astype(float)[:, None]
    assert shared_between(known(values), known(values)).is_copy == (kinds == 4)


def test_parts_of_any_size_are_compared():
    for sizes in ((0, 3), (3, 0), (0, 0), (1, 1)):
        found = shared_between(*(known(np.full((size, 1), 0.123456), numbered(size)) for size in sizes))
        assert not found.is_most and not found.is_copy


def test_confidences_alone_tell_units_of_two_parts(rng):
    values, correct = rng.random((2, 300)), rng.random(300) < 0.9
    at = rng.permutation(300)
    again = {'correct': correct[at], 'confidence_other': values[1][at], 'confidence_mine': values[0][at]}
    confidences = {'mine': values[0], 'other': values[1]}
    result = failpred_jax.evaluate_predictions(None, None, confidences, correct=correct, validation=again, resamples=0)
    words = '300 of the 300 evaluated units also stand among the validation units, with the same values'
    assert any(text.startswith(words) for text in result.evaluation.run.warnings)
