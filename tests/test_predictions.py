"""Anybody's predictions: what is read, what is refused, and that the figures are those of the metrics."""

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import failpred_jax
from failpred_jax.errors import UserError
from failpred_jax.metrics import failure_metrics
from failpred_jax.prediction_file import parse_arrays, read_predictions

# The scores that the logits alone give.
FROM_LOGITS = {'mcp', 'margin', 'entropy', 'max_logit', 'energy', 'doctor_alpha', 'doctor_beta', 'tcp'}


@pytest.fixture
def arrays(rng):
    logits = rng.normal(size=(60, 3)).astype(np.float32)
    labels = np.where(rng.random(60) < 0.7, logits.argmax(-1), rng.integers(0, 3, 60))
    return {'labels': labels, 'logits': logits, 'confidence_mine': rng.normal(size=60).astype(np.float32)}


def problems_of(arrays) -> str:
    with pytest.raises(UserError) as error:
        parse_arrays(arrays, "'file.npz'")
    assert str(error.value).startswith("the predictions in 'file.npz' have problems:")
    return str(error.value)


def test_figures_are_those_of_the_metrics(arrays):
    table = failpred_jax.evaluate_predictions(
        arrays['labels'], arrays['logits'], {'mine': arrays['confidence_mine']}, resamples=20
    )
    correct = arrays['logits'].argmax(-1) == arrays['labels']
    found = table.evaluation.scores
    assert FROM_LOGITS | {'mine'} <= set(found)
    expected = failure_metrics(arrays['confidence_mine'], correct)
    assert {name: found['mine'].metrics[name] for name in expected} == expected
    assert '| mine' in str(table)
    assert 'temperature_mcp unavailable: it is fitted on other units' in str(table)
    assert 'trust_score unavailable: it reads features' in str(table)
    assert found['mine'].intervals['aurc'].low <= expected['aurc'] <= found['mine'].intervals['aurc'].high


def test_held_out_units_make_fitted_scores_possible(arrays):
    validation = {'labels': arrays['labels'][:30], 'logits': arrays['logits'][:30]}
    table = failpred_jax.evaluate_predictions(arrays['labels'], arrays['logits'], validation=validation, resamples=0)
    assert {'temperature_mcp', 'max_logit_pnorm'} <= set(table.evaluation.scores)


def test_probabilities_serve_as_logits(arrays):
    probs = np.exp(arrays['logits']) / np.exp(arrays['logits']).sum(-1, keepdims=True)
    units = parse_arrays({'labels': arrays['labels'], 'probs': probs}, 'x')['evaluated']
    back = np.exp(units.logits)
    np.testing.assert_allclose(back, probs, rtol=1e-5)


def test_masked_pixels_are_left_out(rng):
    labels = rng.integers(0, 2, (2, 3, 4))
    mask = rng.random((2, 3, 4)) < 0.5
    logits = rng.normal(size=(2, 3, 4, 2))
    labels[~mask] = 99
    units = parse_arrays({'labels': labels, 'logits': logits, 'mask': mask}, 'x')['evaluated']
    assert units.is_segmentation
    assert np.array_equal(units.labels, labels[mask])
    np.testing.assert_array_equal(units.logits, logits[mask].astype(np.float32))


def test_pixels_get_iou_and_no_intervals(rng):
    labels = rng.integers(0, 3, (2, 6, 5))
    table = failpred_jax.evaluate_predictions(labels, rng.normal(size=(2, 6, 5, 3)))
    found = table.evaluation
    predicted = found.test.logits.argmax(-1)
    iou = [
        np.sum((predicted == k) & (labels.ravel() == k)) / np.sum((predicted == k) | (labels.ravel() == k))
        for k in range(3)
    ]
    assert found.classifier.metrics['mean_iou'] == pytest.approx(np.mean(iou))
    assert not found.scores['mcp'].intervals
    assert 'no intervals are given: neighboring pixels err together' in str(table)


def test_csv_holds_the_same_as_npz(arrays, tmp_path):
    header = ['labels', 'logits_0', 'logits_1', 'logits_2', 'confidence_mine']
    rows = np.column_stack([arrays['labels'], arrays['logits'], arrays['confidence_mine']])
    text = '\n'.join([','.join(header), *(','.join(repr(float(v)) for v in row) for row in rows)])
    (tmp_path / 'p.csv').write_text(text)
    np.savez(tmp_path / 'p.npz', **arrays)
    one, other = (read_predictions(tmp_path / name)['evaluated'] for name in ('p.csv', 'p.npz'))
    assert np.array_equal(one.labels, other.labels)
    assert np.array_equal(one.logits, other.logits)
    assert np.array_equal(one.confidences['mine'], other.confidences['mine'])


def test_everything_wrong_is_named_at_once(arrays):
    bad = dict(arrays)
    bad['labels'] = bad['labels'].copy()
    bad['labels'][3] = 7
    bad['logits'] = bad['logits'].copy()
    bad['logits'][5, 1] = np.nan
    bad['confidence_mine'] = np.full(60, np.nan)
    bad['confidnce_other'] = np.zeros(60)
    bad['val_labels'] = np.zeros(4, int)
    text = problems_of(bad)
    assert "'labels' has 1 values out of range, such as 7 (row 4); with 3 classes they must be 0 to 2" in text
    assert "'logits' holds 1 value that is NaN or +infinity (row 6)" in text
    assert "'confidence_mine' is missing for 60 units (rows 1, 2, 3, 4, 5, ...)" in text
    assert "unknown array 'confidnce_other'" in text
    assert "'val_logits' (or probs, or log_probs) with 'val_labels' is missing" in text


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'labels': None}, "'labels' is missing"),
        ({'logits': None}, "'logits' (or probs, or log_probs) with 'labels' is missing"),
        ({'probs': np.zeros((60, 3))}, 'do not agree in rows 1, 2, 3, 4, 5, ...; keep one'),
        ({'probs': np.zeros((60, 4))}, 'are both there; keep one'),
        ({'labels': np.full(60, 0.5)}, 'a label is a whole number'),
        ({'labels': np.zeros((60, 2), int)}, 'it must be (N,) or (N, H, W)'),
        ({'labels': np.zeros(0, int), 'logits': np.zeros((0, 3)), 'confidence_mine': np.zeros(0)}, "'labels' is empty"),
        (
            {'logits': np.zeros((59, 3))},
            "'logits' has shape (59, 3); it must be (60, 'C'), the shape of labels and classes",
        ),
        ({'logits': np.zeros((60, 0))}, 'there must be at least 2'),
        ({'logits': np.full((60, 3), 'x')}, "'logits' has type <U1; it must hold numbers"),
        (
            {'confidence_mine': np.zeros((60, 2))},
            "'confidence_mine' has shape (60, 2); it must be (60,), as the labels",
        ),
        ({'features': np.zeros((59, 4))}, "'features' has shape (59, 4)"),
        ({'features': np.full((60, 4), np.inf)}, "'features' holds values that are not finite"),
        ({'mask': np.zeros(60, bool)}, 'no unit of the evaluated part is left after the mask'),
        ({'val_labels': np.zeros(2, int), 'val_logits': np.zeros((2, 4))}, 'the validation part has 4 classes'),
        (
            {'val_labels': np.zeros(2, int), 'val_logits': np.zeros((2, 3)), 'val_features': np.zeros((2, 3))},
            "has features, but the evaluated part has no 'features'",
        ),
    ],
)
def test_what_is_refused(arrays, change, words):
    assert words in problems_of({k: v for k, v in {**arrays, **change}.items() if v is not None})


@pytest.mark.parametrize(
    ('probs', 'words'),
    [
        (np.full((4, 2), 0.4), "'probs' does not sum to 1 for 4 units (rows 1, 2, 3, 4), such as 0.8"),
        (
            np.array([[1.5, -0.5]] * 4),
            "values outside [0, 1], from -0.5 to 1.5; are they logits? Then name them 'logits'",
        ),
    ],
)
def test_probabilities_that_are_none(probs, words):
    assert words in problems_of({'labels': np.zeros(4, int), 'probs': probs})


def test_files_that_are_none(tmp_path, arrays):
    with pytest.raises(UserError, match='there is no file'):
        read_predictions(tmp_path / 'none.npz')
    (tmp_path / 'p.txt').write_text('x\n1\n')
    with pytest.raises(UserError, match='has one column'):
        read_predictions(tmp_path / 'p.txt')
    (tmp_path / 'p.npz').write_bytes(b'PK\x03\x04 no archive')
    with pytest.raises(UserError, match='is no npz archive, or is damaged'):
        read_predictions(tmp_path / 'p.npz')
    np.savez(tmp_path / 'half.npz', **arrays)
    whole = (tmp_path / 'half.npz').read_bytes()
    (tmp_path / 'half.npz').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match='damaged'):
        read_predictions(tmp_path / 'half.npz')
    (tmp_path / 'p.csv').write_text('labels,logits_0,logits_1\n0,1.0\n')
    with pytest.raises(UserError, match='Expected 3 columns, got 2'):
        read_predictions(tmp_path / 'p.csv')
    (tmp_path / 'p.csv').write_text('labels,logits_0,logits_1\n0,1.0,high\n')
    with pytest.raises(UserError, match="the columns of 'logits' must hold one number per row"):
        read_predictions(tmp_path / 'p.csv')


@pytest.mark.parametrize(
    ('wrong', 'words'),
    [
        ({'confidences': [1.0, 2.0]}, 'confidences is a list; give a dict'),
        ({'validation': (1, 2)}, 'validation is a tuple; give a dict'),
        ({'resamples': -1}, 'resamples is -1'),
    ],
)
def test_arguments_of_another_kind_are_refused(arrays, wrong, words):
    with pytest.raises(UserError, match=words):
        failpred_jax.evaluate_predictions(arrays['labels'], arrays['logits'], **wrong)


def test_object_arrays_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ('it was unpickled',))

    np.savez(tmp_path / 'p.npz', labels=np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="array 'labels' holds Python objects, which are never unpickled"):
        read_predictions(tmp_path / 'p.npz')


NAMES = st.sampled_from(
    ['labels', 'logits', 'probs', 'features', 'mask', 'confidence_a', 'val_labels', 'val_logits', 'x']
)
SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)
TYPES = st.sampled_from(['f4', 'f8', 'i4', 'u1', '?', 'U1'])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(NAMES, st.tuples(SHAPES, TYPES), max_size=5), st.integers(0, 9))
# Beyond 1, and the first row sums to 0.
@example({'labels': ((2,), 'f4'), 'val_labels': ((), 'f4'), 'val_logits': ((), 'f4'), 'probs': ((2, 2), 'f4')}, 1)
def test_any_arrays_are_either_read_or_refused_in_words(described, seed):
    rng = np.random.default_rng(seed)
    arrays = {name: rng.integers(0, 3, shape).astype(kind) for name, (shape, kind) in described.items()}
    try:
        units = parse_arrays(arrays, 'x')['evaluated']
    except UserError as error:
        assert str(error).count('\n') >= 1
    else:
        assert units.logits is None or len(units.labels) == len(units.logits) > 0


@pytest.fixture(scope='module')
def file_bytes(tmp_path_factory):
    """Return a folder, and the bytes of a good file of each kind."""
    folder = tmp_path_factory.mktemp('fuzz')
    np.savez_compressed(folder / 'good.npz', labels=np.arange(6) % 2, logits=np.zeros((6, 2)), features=np.ones((6, 3)))
    text = 'labels,logits_0,logits_1\n' + '0,1.5,2.5\n1,0.5,0.25\n' * 3
    return folder, {'.npz': (folder / 'good.npz').read_bytes(), '.csv': text.encode()}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(['.npz', '.csv']),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    keep=st.floats(0, 1) | st.just(1.0),
    added=st.binary(max_size=20),
)
def test_a_file_with_any_damage_is_either_read_or_refused_in_words(file_bytes, kind, flips, keep, added):
    folder, good = file_bytes
    content = bytearray(good[kind][: round(keep * len(good[kind]))])
    for place, value in flips:
        if content:
            content[int(place * len(content))] = value
    file = folder / f'damaged{kind}'
    file.write_bytes(bytes(content) + added)
    try:
        units = read_predictions(file)['evaluated']
    except UserError as error:
        assert 'damaged' in str(error)  # in the name of the file
    else:
        assert len(units.labels) == len(units.logits) > 0


def test_validation_units_that_are_the_evaluated_ones_are_told(rng):
    labels, logits = rng.integers(0, 3, 60), rng.standard_normal((60, 3))
    logits[:20] = [20, 0, 0]  # Saturated alike: these say nothing.
    held_out = {'labels': rng.integers(0, 3, 50), 'logits': rng.standard_normal((50, 3))}
    held_out['logits'][:10] = [20, 0, 0]

    def warnings(**parts):
        return failpred_jax.evaluate_predictions(labels, logits, resamples=0, **parts).evaluation.run.warnings

    assert warnings(validation=held_out) == ()
    (text,) = warnings(validation={'labels': labels, 'logits': logits})
    assert text.startswith('the validation units are the evaluated ones, number by number')
    mixed = {key: np.concatenate([held_out[key], own[40:45]]) for key, own in (('labels', labels), ('logits', logits))}
    (text,) = warnings(validation=mixed)
    assert text.startswith('5 of the 60 evaluated units also stand among the validation units')
    # Other names do not make the same numbers, to the last digit, another unit's.
    named = {name: [f'{name}{i}' for i in range(number)] for name, number in (('test', 60), ('val', 60))}
    (text,) = warnings(validation={**mixed, 'ids': named['val'][:55]}, ids=named['test'])
    assert text.startswith('5 of the 60 evaluated units also stand among the validation units')
    (text,) = warnings(validation={'labels': labels, 'logits': logits, 'ids': named['val']}, ids=named['test'])
    assert text.startswith('the validation units are the evaluated ones, number by number')
    own = {'labels': labels + 0, 'logits': logits + 1}
    (text,) = warnings(validation=held_out, calibration={'labels': held_out['labels'], 'logits': held_out['logits']})
    assert text.startswith('the validation units are the calibration ones, number by number')
    assert warnings(validation=held_out, calibration=own) == ()


def test_units_that_tie_are_told_apart_by_their_ids(rng):
    def votes(number):
        return rng.integers(0, 3, number), rng.multinomial(6, [0.5, 0.3, 0.2], number) / 6

    (labels, probs), (val_labels, val_probs) = votes(400), votes(300)

    def warnings(ids, val_ids, rows=val_probs, of=val_labels):
        held_out = {'labels': of, 'logits': rows, 'ids': val_ids}
        found = failpred_jax.evaluate_predictions(labels, probs, validation=held_out, ids=ids, resamples=0)
        return [text for text in found.evaluation.run.warnings if 'also stand' in text or 'number by number' in text]

    ids = [f'a{i}' for i in range(400)]
    assert warnings(ids, [f'b{i}' for i in range(300)]) == []
    rows, of = (np.concatenate([x[:290], y[40:50]]) for x, y in ((val_probs, probs), (val_labels, labels)))
    (text,) = warnings(ids, [*(f'b{i}' for i in range(290)), *ids[40:50]], rows, of)
    assert text.startswith(
        '10 of the 400 evaluated units also stand among the validation units, with the same id and values'
    )


def test_arrays_that_are_not_used_are_named(arrays, tmp_path):
    file = tmp_path / 'p.npz'
    held_out = {'val_labels': arrays['labels'][:30], 'val_logits': arrays['logits'][:30] + 1, 'val_site': np.zeros(30)}
    more = {'group': np.arange(60), 'id': np.arange(60), 'age': np.arange(60)}
    for_certificates = {
        'cal_labels': arrays['labels'][:9],
        'cal_logits': arrays['logits'][:9] + 2,
        'cal_age': np.arange(9),
    }
    np.savez(file, **arrays, **held_out, **more, **for_certificates)
    table = failpred_jax.predictions.evaluate_file(file)
    assert table.evaluation.run.warnings == ("given, but not used: 'val_site'",)
    assert table.evaluation.test.about.columns['age'].tolist() == list(range(60))


def test_a_score_that_decides_and_is_not_there_is_told_before_anything_is_measured(arrays, tmp_path, monkeypatch):
    file = tmp_path / 'p.npz'
    np.savez(file, **arrays, confidence_product=np.linspace(0, 1, 60))
    monkeypatch.setattr(failpred_jax.predictions, 'measure', None)
    with pytest.raises(UserError, match="there is no score 'prodct'; did you mean 'product'\\? The scores of these"):
        failpred_jax.predictions.evaluate_file(file, must_have='prodct')
    with pytest.raises(UserError, match="there is no score 'fusion' .it is fitted on other units"):
        failpred_jax.predictions.evaluate_file(file, must_have='fusion')


@pytest.mark.parametrize('resamples', [0, 100])
def test_a_confidence_that_ranks_backwards_is_told(resamples, rng):
    logits = 3 * rng.standard_normal((400, 3))
    labels = np.where(rng.random(400) < 0.8, logits.argmax(1), rng.integers(0, 3, 400))
    right = (logits.argmax(1) == labels) + rng.standard_normal(400)
    given = {'mine': right, 'uncertainty': -right, 'chance': rng.random(400)}
    found = failpred_jax.evaluate_predictions(labels, logits, given, resamples=resamples)
    (text,) = (text for text in found.evaluation.run.warnings if 'ranks errors above' in text)
    assert text.startswith("'uncertainty' ranks errors above what is right (AUROC")
