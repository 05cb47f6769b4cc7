"""A few rows that are not as all others: they are named as the file has them, and what is advised works."""

import re
import shlex

import numpy as np
import pandas as pd
import pytest

from failpred_jax.commands.score import ignored
from failpred_jax.errors import UserError
from failpred_jax.evaluate.parts import Parts
from failpred_jax.prediction_file import parse_arrays, read_predictions
from failpred_jax.prediction_file.file import ARGUMENTS
from failpred_jax.scored_parts import TABLE, part_of, plan_of

N, C = 60, 3
BREAK = {
    'sums': lambda probs, rows: probs.__setitem__((rows, 0), probs[rows, 0] + 0.3),
    'signs': lambda probs, rows: probs.__setitem__((rows, 0), -0.5),
    'zeros': lambda probs, rows: probs.__setitem__(rows, 0.0),
    'gaps': lambda probs, rows: probs.__setitem__((rows, 2), np.nan),
}


def told(*given, **how):
    with pytest.raises(UserError) as error:
        (read_predictions if len(given) == 1 else parse_arrays)(*given, **how)
    return str(error.value)


def named(rows):
    """Return how rows, from 0, are named."""
    shown = ', '.join(str(row + 1) for row in rows[:5]) + (', ...' if len(rows) > 5 else '')
    return f'({"row" if len(rows) == 1 else "rows"} {shown})'


@pytest.mark.parametrize('how', BREAK)
@pytest.mark.parametrize('form', ['arrays', 'table', 'parts', 'masked', 'samples', 'pixels'])
def test_rows_that_are_no_probabilities_are_named_where_the_file_has_them(how, form, rng, tmp_path):
    for count in (1, 3, 8):
        rows = np.sort(rng.choice(N, count, replace=False))
        probs, labels = rng.dirichlet(np.ones(C), N), rng.integers(0, C, N)
        BREAK[how](probs, rows)
        expected = rows
        if form in ('table', 'parts'):
            frame = pd.DataFrame(probs, columns=[f'probs_{i}' for i in range(C)]).assign(labels=labels)
            if form == 'parts':
                # All of one part, in any order among those of another.
                order = rng.permutation(2 * N)
                others = frame.assign(**{f'probs_{i}': np.eye(C)[labels][:, i] for i in range(C)}, part='test')
                frame = pd.concat([frame.assign(part='val'), others], ignore_index=True).iloc[order]
                expected = np.flatnonzero(np.isin(order, rows))
            frame.to_csv(tmp_path / 'x.csv', index=False)
            text = told(tmp_path / 'x.csv')
        elif form == 'masked':
            mask = np.ones(N, bool)
            mask[rows[0]] = False
            expected = rows[1:]
            if count == 1:
                parse_arrays({'labels': labels, 'probs': probs, 'mask': mask}, 'x')
                continue
            text = told({'labels': labels, 'probs': probs, 'mask': mask}, 'x')
        elif form == 'samples':
            good = rng.dirichlet(np.ones(C), N)
            text = told({'labels': labels, 'probs': good, 'mc_probs': np.stack([good, probs, good], axis=1)}, 'x')
        elif form == 'pixels':
            # Each row is a picture of 2 x 2 pixels, of which one is broken.
            whole = np.repeat(rng.dirichlet(np.ones(C), N)[:, None], 4, axis=1)
            whole[:, 3] = probs
            text = told({'labels': np.repeat(labels, 4).reshape(N, 2, 2), 'probs': whole.reshape(N, 2, 2, C)}, 'x')
        else:
            text = told({'labels': labels, 'probs': probs}, 'x')
        assert named(expected) in text and 'logits' not in text
        # Where they are probabilities by their name alone, the same rows are said to be odd.
        if how in ('sums', 'zeros') and form == 'arrays':
            notes = parse_arrays({'labels': labels, 'logits': probs}, 'x')['evaluated'].notes
            assert any(named(expected) in note and "name them 'probs'" in note for note in notes)


def test_what_is_no_probability_in_most_rows_is_told_of_all(rng):
    labels, logits = rng.integers(0, C, N), rng.normal(size=(N, C))
    assert 'are they logits?' in told({'labels': labels, 'probs': logits}, 'x')
    assert not parse_arrays({'labels': labels, 'logits': logits}, 'x')['evaluated'].notes
    assert 'sigmoids' in told({'labels': labels, 'probs': 1 / (1 + np.exp(-logits))}, 'x')


@pytest.mark.parametrize('odd', ['??', "don't know", 'n.a.', '-', 'x y'])
@pytest.mark.parametrize('is_named', [False, True])
def test_a_few_labels_in_other_words_are_named_and_left_out_as_is_advised(odd, is_named, rng, tmp_path):
    rows, labels = np.sort(rng.choice(N, 4, replace=False)), rng.integers(0, C, N)
    names = ['cat', 'dog', 'owl'] if is_named else ['0', '1', '2']
    frame = pd.DataFrame(rng.dirichlet(np.ones(C), N), columns=[f'probs_{name}' for name in names])
    frame['labels'] = np.array(names)[labels]
    frame.drop(index=rows).to_csv(tmp_path / 'without.csv', index=False)
    frame.loc[rows, 'labels'] = odd
    frame.to_csv(tmp_path / 'x.csv', index=False)
    text = told(tmp_path / 'x.csv')
    assert repr(odd) in text and f'for 4 units {named(rows)}' in text and 'mend them' in text
    flag = shlex.split(text[text.index('--ignore_label=') :])[0]
    found = read_predictions(tmp_path / 'x.csv', ignored({'ignore_label': flag.partition('=')[2]}))['evaluated']
    expected = read_predictions(tmp_path / 'without.csv')['evaluated']
    assert np.array_equal(found.labels, expected.labels) and np.array_equal(found.logits, expected.logits)
    # Of arrays, the same is an argument.
    arrays = {'labels': frame['labels'].to_numpy(str), 'probs': frame[frame.columns[:C]].to_numpy()}
    arrays |= {'class_names': np.array(names)} if is_named else {}
    text = told(arrays, ARGUMENTS)
    assert f'ignore_label={odd!r}' in text
    assert '--' not in text


def test_a_missing_label_is_told_of_the_argument_in_python(rng):
    arrays = {'labels': np.where(np.arange(N) == 9, np.nan, 1), 'probs': rng.dirichlet(np.ones(C), N)}
    text = told(arrays, ARGUMENTS)
    assert '(row 10)' in text and "ignore_label=''" in text and '--' not in text
    assert parse_arrays(arrays, ARGUMENTS, '')['evaluated'].num_units == N - 1
    assert '--ignore_label=' in told(arrays, 'x')


def test_ids_that_a_few_rows_share_are_told_and_those_of_many_are_groups(rng):
    arrays = {'correct': rng.random(N) < 0.5, 'confidence_a': rng.random(N)}
    for num in (0, 1, 7):
        twice = np.r_[np.arange(N - num), rng.choice(N - num, num, replace=False)]
        order = rng.permutation(N)
        ids = np.array([f'u{i}' for i in twice])[order]
        notes = [note for note in parse_arrays({**arrays, 'id': ids}, 'x')['evaluated'].notes if "'id'" in note]
        assert len(notes) == (num > 0)
        if num:
            word = re.search(r"such as '(u\d+)'", notes[0])
            assert word and named(np.flatnonzero(ids == word[1])) in notes[0]
            assert notes[0].startswith(f'{num} value')
    notes = parse_arrays({**arrays, 'id': np.arange(N) // 3}, 'x')['evaluated'].notes
    assert not any("'id'" in note for note in notes)


def planned(given, of):
    parts = Parts(
        'classification',
        part_of(given['evaluated']),
        part_of(given['validation']) if 'validation' in given else None,
        part_of(given['training']) if 'training' in given else None,
    )
    return plan_of(given, parts, of=of).unavailable


@pytest.mark.parametrize('outputs', ['probs', 'logits'])
@pytest.mark.parametrize('of', [ARGUMENTS, TABLE, ''])
def test_what_a_score_lacks_is_said_as_it_can_be_given_and_then_it_is_there(of, outputs, rng, tmp_path):
    labels = rng.integers(0, C, N)
    values = rng.dirichlet(np.ones(C), N) if outputs == 'probs' else rng.normal(size=(N, C))
    arrays = {'labels': labels, outputs: values}
    before = planned(parse_arrays(arrays, 'x'), of)
    assert not any('log-probabilities' in reason for reason in before.values())
    assert any('probabilities' in reason for reason in before.values()) == (outputs == 'probs')
    advice = next(reason for reason in before.values() if 'other units' in reason and 'train' not in reason)
    if of == TABLE:
        assert "'val' in a column 'part'" in advice
        frame = pd.DataFrame(values, columns=[f'{outputs}_{i}' for i in range(C)]).assign(labels=labels)
        frame = pd.concat([frame.assign(part='test'), frame.assign(part='val')])
        frame.to_csv(tmp_path / 'x.csv', index=False)
        given = read_predictions(tmp_path / 'x.csv')
    elif of == ARGUMENTS:
        assert "validation={'labels': ..., 'logits': ...}" in advice
        given = parse_arrays({**arrays, 'val_labels': labels, 'val_logits': values}, 'x')
    else:
        names = re.findall(r"'(val_\w+)'", advice)
        assert names == ['val_labels', f'val_{outputs}']
        given = parse_arrays({**arrays, **dict(zip(names, (labels, values), strict=True))}, 'x')
    after = planned(given, of)
    assert {name for name, reason in before.items() if reason == advice and name not in after}
    assert advice not in after.values()
