"""Labels and outputs in the forms in which people have them mean the same units; what means nothing is refused."""

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch

from failpred_jax.errors import UserError
from failpred_jax.prediction_file import parse_arrays, rows

RNG = np.random.default_rng(0)
N, C = 40, 4
LOGITS = RNG.normal(size=(N, C)) * 3
LABELS = np.where(RNG.random(N) < 0.7, LOGITS.argmax(1), RNG.integers(0, C, N))
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
NAMES = np.array(['ant', 'bee', 'cat', 'dog'])


def parse(**arrays):
    return parse_arrays(arrays, 'the arguments')['evaluated']


@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('form', ['logits', 'probs', 'rounded', 'log_probs', 'half'])
def test_rows_looked_at_a_few_at_a_time_are_the_same_units(form, masked, monkeypatch):
    outputs = {
        'logits': {'logits': LOGITS}, 'probs': {'probs': PROBS}, 'rounded': {'probs': PROBS.round(2)},
        'log_probs': {'log_probs': np.log(PROBS)}, 'half': {'logits': LOGITS.astype(np.float16)},
    }[form]  # fmt: skip
    given = {'labels': LABELS, **outputs} | ({'mask': np.arange(N) % 3 > 0} if masked else {})
    whole = parse(**given)
    monkeypatch.setattr(rows, '_BLOCK_VALUES', 3 * C)
    parts = parse(**given)
    assert (parts.notes, parts.outputs_are) == (whole.notes, whole.outputs_are)
    assert parts.logits.tobytes() == whole.logits.tobytes()
    np.testing.assert_array_equal(parts.labels, whole.labels)


LABEL_FORMS = {
    'int64': LABELS,
    'uint8': LABELS.astype(np.uint8),
    'float': LABELS.astype(np.float32),
    'column': LABELS[:, None],
    'one-hot': np.eye(C, dtype=int)[LABELS],
    'numerals': LABELS.astype(str),
    'jax': jnp.asarray(LABELS),
    'torch': torch.from_numpy(LABELS),
    'list': LABELS.tolist(),
    'objects': LABELS.astype(object),
}


@pytest.mark.parametrize('form', LABEL_FORMS)
def test_labels_of_every_form_are_the_same_classes(form):
    found = parse(labels=LABEL_FORMS[form], logits=LOGITS)
    assert found.labels.dtype == np.int32
    assert np.array_equal(found.labels, LABELS)


@pytest.mark.parametrize('words', [NAMES[LABELS], NAMES.astype('S3')[LABELS], NAMES[LABELS].astype(object)])
def test_words_are_classes_where_the_names_are_given(words):
    found = parse(labels=words, logits=LOGITS, class_names=NAMES.astype('S3'))
    assert np.array_equal(found.labels, LABELS)
    assert found.class_names == tuple(NAMES)
    with pytest.raises(UserError, match='class_names'):
        parse(labels=words, logits=LOGITS)


OUTPUT_FORMS = {
    'logits': (LOGITS, 'logits'),
    'float16': (LOGITS.astype(np.float16), 'logits'),
    'bfloat16': (LOGITS.astype(ml_dtypes.bfloat16), 'logits'),
    'quantized': (np.round(LOGITS * 10).astype(np.int8), 'logits'),
    'probabilities under logits': (PROBS, 'probabilities'),
    'log-probabilities under logits': (np.log(PROBS), 'log-probabilities'),
}


@pytest.mark.parametrize('form', OUTPUT_FORMS)
def test_outputs_are_recognized_by_their_values(form):
    values, kind = OUTPUT_FORMS[form]
    found = parse(labels=LABELS, logits=values)
    assert found.outputs_are == kind
    assert found.logits.dtype == np.float32
    assert np.array_equal(found.logits.argmax(1), np.asarray(values, np.float64).argmax(1))
    assert bool(found.notes) == (kind != 'logits')


@pytest.mark.parametrize('dtype', [np.float64, np.float32])
@pytest.mark.parametrize('classes', [2, 4, 50])
@pytest.mark.parametrize('decimals', [1, 2, 3, 4, 6])
def test_probabilities_are_the_same_under_every_name_however_rounded(decimals, classes, dtype):
    probs = np.round(np.random.default_rng(decimals).dirichlet(np.ones(classes), size=300), decimals).astype(dtype)
    probs = probs[probs.sum(axis=1) > 0]
    labels = probs.argmax(axis=1)
    as_probs = parse(labels=labels, probs=probs)
    np.testing.assert_array_equal(as_probs.probs, probs.astype(np.float32))
    for name in ('logits', 'log_probs'):
        found = parse(labels=labels, **{name: probs})
        assert found.outputs_are == 'probabilities' and f'not as {name}' in found.notes[0]
        np.testing.assert_array_equal(found.logits, as_probs.logits)
        np.testing.assert_array_equal(found.probs, as_probs.probs)


def test_a_row_without_any_probability_is_refused_and_divided_by_nothing():
    probs = np.round(RNG.dirichlet(np.ones(300), size=30), 2)
    probs[7] = 0
    with pytest.raises(UserError, match=r'of 1 unit of 30 \(row 8\) do not sum to 1 \(but to 0\)'):
        parse(labels=np.zeros(30, int), probs=probs)


@pytest.mark.parametrize('dtype', [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_rounded_probabilities_are_normalized(dtype):
    found = parse(labels=LABELS, probs=PROBS.astype(dtype))
    assert np.allclose(np.exp(found.logits), PROBS, atol=0.01)
    assert np.allclose(np.exp(found.logits).sum(1), 1, atol=1e-6)


def test_decimals_of_many_classes_are_rounding():
    probs = RNG.dirichlet(np.ones(1000), size=20)
    labels = RNG.integers(0, 1000, 20)
    rounded = np.round(probs, 3)
    assert np.abs(rounded.sum(1) - 1).max() > 0.01
    found = parse(labels=labels, probs=rounded)
    assert 'rounded' in found.notes[0] and np.array_equal(found.probs, rounded.astype(np.float32))
    assert np.allclose(np.exp(found.logits).sum(1), 1, atol=1e-5)


@pytest.mark.parametrize('name', ['probs', 'logits', 'log_probs'])
def test_one_column_is_class_1_of_two(name):
    one = {'probs': PROBS[:, 0], 'logits': np.log(PROBS[:, 0] / (1 - PROBS[:, 0])), 'log_probs': np.log(PROBS[:, 0])}
    found = parse(labels=(LABELS == 0).astype(int), **{name: one[name]})
    assert found.logits.shape == (N, 2)
    softmax = np.exp(found.logits[:, 1]) / np.exp(found.logits).sum(1)
    assert np.allclose(softmax, PROBS[:, 0], atol=1e-6)
    assert found.are_raw_logits == (name == 'logits')


def test_one_column_of_probabilities_is_recognized_under_the_name_of_logits():
    """As logits, which are above 0 for class 1, all of it would predict class 1."""
    found = parse(labels=(LABELS == 0).astype(int), logits=PROBS[:, 0])
    assert found.outputs_are == 'probabilities'
    assert np.array_equal(found.logits.argmax(1), PROBS[:, 0] > 0.5)
    assert 'not as logits' in found.notes[0]
    raw = parse(labels=(LABELS == 0).astype(int), logits=LOGITS[:, 0])
    assert np.array_equal(raw.logits.argmax(1), LOGITS[:, 0] > 0)


def test_masked_classes_have_no_probability():
    logits = LOGITS.copy()
    logits[:, 3] = -np.inf
    labels = logits.argmax(1)
    found = parse(labels=labels, logits=logits)
    assert not found.are_raw_logits
    assert np.isfinite(found.logits).all()
    assert np.exp(found.logits[:, 3]).max() == 0
    kept = np.exp(LOGITS[:, :3])
    assert np.allclose(np.exp(found.logits[:, :3]), kept / kept.sum(1, keepdims=True), atol=1e-6)


def test_only_probabilities_can_be_0_for_a_label():
    hard = np.eye(C)[LOGITS.argmax(1)]
    assert any('the probability 0' in note for note in parse(labels=LABELS, probs=hard).notes)
    # Far apart, but no probability was given: the NLL is that of the logits.
    assert parse(labels=LABELS, logits=LOGITS * 1000).notes == ()


def test_a_tie_made_by_float32_keeps_the_prediction():
    logits = np.array([[0.0, 1000.00001, 1000.00002], [5.0, 1.0, 0.0]])
    assert parse(labels=[2, 0], logits=logits).logits.argmax(1).tolist() == [2, 0]


@pytest.mark.parametrize('dtype', [np.float64, np.int64, np.uint64, np.float32, np.float16, bool])
def test_scores_keep_their_type(dtype):
    values = (np.arange(N) % 2 if dtype is bool else np.arange(N)).astype(dtype)
    assert parse(labels=LABELS, logits=LOGITS, confidence_a=values).confidences['a'].dtype == dtype


def test_left_out_units_are_declared():
    labels = np.where(np.arange(N) < 5, -1, LABELS)
    with pytest.raises(UserError, match='ignore_label=-1'):
        parse(labels=labels, logits=LOGITS)
    found = parse_arrays({'labels': labels, 'logits': LOGITS}, 'x', ignore_label=-1)['evaluated']
    assert np.array_equal(found.labels, LABELS[5:])
    assert len(found.logits) == N - 5
    masked = parse(labels=np.where(labels < 0, np.nan, labels), logits=LOGITS, mask=labels >= 0)
    assert np.array_equal(masked.labels, LABELS[5:])


def test_correct_can_be_read_alone_and_may_be_graded():
    found = parse(correct=[0.5, 1, 0], confidence_a=[1.0, 2.0, 3.0], site=['x', 'y', 'x'])
    assert found.labels is None
    assert found.logits is None
    assert found.correct.tolist() == [0.5, 1.0, 0.0]
    assert found.slices['site'].tolist() == ['x', 'y', 'x']
    assert parse(correct=['True', 'False'], confidence_a=[1, 2]).correct.tolist() == [True, False]


def test_labels_from_1_are_noticed_where_the_largest_is_missing():
    labels = LOGITS[:, :3].argmax(1) + 1
    found = parse(labels=labels, logits=np.concatenate([LOGITS[:, :3], LOGITS[:, :1] - 9], axis=1))
    assert 'numbered from 1?' in found.notes[-1]


def test_samples_and_groups_go_through():
    mc = np.stack([PROBS, PROBS[:, ::-1]], axis=1)
    found = parse(labels=LABELS, logits=LOGITS, mc_probs=mc, group=[f'p{i // 4}' for i in range(N)], id=range(N))
    assert np.allclose(found.samples['mc_probs'], mc, atol=1e-6)
    assert len(np.unique(found.group)) == 10
    assert found.ids[3] == '3'


REFUSED = {
    'labels from 1': ({'labels': np.arange(N) % C + 1}, 'subtract 1'),
    'a huge label': ({'labels': np.where(np.arange(N) == 3, 2**40, LABELS)}, 'out of range'),
    'an unsigned -1': ({'labels': np.where(np.arange(N) == 3, 2**32 - 1, LABELS).astype(np.uint32)}, 'ignore_label'),
    'halves': ({'labels': LABELS + 0.5}, 'whole number'),
    'NaN': (
        {'labels': np.where(np.arange(N) == 3, np.nan, LABELS)},
        r".labels. is missing for 1 unit \(row 4\).*with ignore_label='', or with an array 'mask'",
    ),
    'percent': ({'probs': PROBS * 100, 'logits': None}, 'divide by it'),
    'percent under logits': ({'logits': PROBS * 100}, 'sums to about 100 in every row.*logits / logits.sum'),
    'whole percent under logits': ({'logits': np.round(PROBS * 100)}, 'sums to about 100 in every row'),
    'bytes under logits': ({'logits': np.round(PROBS * 255).astype(np.uint8)}, 'sums to about 255 in every row'),
    'sigmoids': ({'probs': 1 / (1 + np.exp(-LOGITS)), 'logits': None}, 'yes-or-no'),
    'logits as probs': ({'probs': LOGITS, 'logits': None}, 'are they logits'),
    'logits as log-probs': ({'log_probs': LOGITS, 'logits': None}, 'no log-probabilities'),
    'NaN in logits': ({'logits': np.where(np.arange(N)[:, None] == 3, np.nan, LOGITS)}, r'\(row 4\)'),
    'numbers beyond all bounds': ({'logits': LOGITS * 1e300}, 'no softmax tells apart'),
    'signs for two classes': ({'labels': LABELS // 2 * 2 - 1, 'logits': LOGITS[:, :2]}, r'\(labels \+ 1\) // 2'),
    'transposed': ({'logits': LOGITS.T}, 'transpose it'),
    'a masked array': ({'labels': np.ma.masked_equal(LABELS, 1)}, 'it is a masked array'),
    'no names': ({'arr_0': LABELS}, 'saved without a name'),
    'a table of scores alone': ({'logits': None, 'site': LABELS}, "what is there: 'labels', 'site'"),
    'two outputs': ({'probs': PROBS[::-1]}, 'do not agree'),
    'a misspelling': ({'lables': LABELS}, "did you mean 'labels'"),
    'two names for one': ({'y_true': LABELS}, 'mean the same'),
    'weights': ({'sample_weight': np.ones(N)}, 'not ignored'),
    'correct that contradicts': ({'correct': LOGITS.argmax(1) != LABELS}, 'contradicts'),
    'correct as signs': ({'correct': np.where(LOGITS.argmax(1) == LABELS, 1, -1)}, 'it holds -1, 1'),
    'raw words': ({'features': np.zeros((N, 2), 'V2')}, 'bfloat16'),
    'names of other number': ({'class_names': NAMES[:3]}, '3 names'),
    'a NaN score': ({'confidence_a': np.full(N, np.nan)}, 'a ranking needs numbers'),
    'short scores': ({'confidence_a': np.zeros(3)}, 'must be'),
    'objects': ({'confidence_a': np.array([{}] * N, object)}, 'Python objects'),
}


@pytest.mark.parametrize('case', REFUSED)
def test_what_means_nothing_is_refused_with_the_remedy(case):
    changed, words = REFUSED[case]
    arrays = {k: v for k, v in {'labels': LABELS, 'logits': LOGITS, **changed}.items() if v is not None}
    with pytest.raises(UserError, match=words):
        parse(**arrays)
