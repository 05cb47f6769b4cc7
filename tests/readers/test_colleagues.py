"""Tables and tensors as colleagues send them: separators and percentages of Excel, one column of Keras, no names."""

import numpy as np
import pytest
import torch

from failpred_jax.errors import UserError
from failpred_jax.metrics import calibration_metrics, classifier_metrics
from failpred_jax.prediction_file import parse_arrays, read_predictions


@pytest.mark.parametrize('first', ['sep=;\r\n', '"SEP=;"\n', ''])
def test_the_line_in_which_excel_names_its_separator_is_none_of_the_table(first, tmp_path):
    rows = 'label;probs_Katze;probs_Hund;Prüfer\r\nKatze;0,9;0,1;Jörg\r\nHund;0,2;0,8;Jörg\r\n'
    (tmp_path / 'a.csv').write_bytes((first + rows).encode('cp1252'))
    found = read_predictions(tmp_path / 'a.csv')['evaluated']
    assert found.class_names == ('Katze', 'Hund')
    assert found.labels.tolist() == [0, 1]
    np.testing.assert_allclose(np.exp(found.logits), [[0.9, 0.1], [0.2, 0.8]], rtol=1e-6)
    assert found.slices['Prüfer'].tolist() == ['Jörg', 'Jörg']


@pytest.mark.parametrize(('separator', 'cells'), [(';', ('97,3%', '55,0 %')), (',', ('97.3%', '55%'))])
def test_percentages_are_fractions_and_it_is_said(separator, cells, tmp_path):
    rows = [('label', 'prediction', 'confidence'), ('cat', 'cat', cells[0]), ('dog', 'cat', cells[1])]
    (tmp_path / 'a.csv').write_text('\n'.join(separator.join(row) for row in rows))
    found = read_predictions(tmp_path / 'a.csv')['evaluated']
    np.testing.assert_allclose(found.confidences['confidence'], [0.973, 0.55])
    assert any("'confidence' holds percentages" in note for note in found.notes)


@pytest.mark.parametrize('name', ['confidence', 'Confidence Mine', 'confidence_mine'])
@pytest.mark.parametrize(
    ('cells', 'told'),
    [
        ('"1,299.99"\n0,"2,000.50"', r"'1,299\.99' \(rows 1, 2\)"),
        ('97.3%\n0,high', r"'97\.3%' \(rows 1, 2\)"),
        ('0.97\n0,12%\n1,0.5\n1,3%', r"'12%' \(rows 2, 4\)"),
        # Two files one after the other, with the header of each.
        ('0.97\ncorrect,confidence\n1,0.5', r"'confidence' \(row 2\)"),
    ],
)
def test_the_first_cell_that_is_no_number_is_shown_with_its_row_and_column(cells, told, name, tmp_path):
    (tmp_path / 'a.csv').write_text(
        f'predicted,label,{name}\n' + ''.join(f'a,{row}\n' for row in f'1,{cells}'.split('\n'))
    )
    with pytest.raises(UserError, match=rf"'{name}' holds words, such as {told}; it must hold"):
        read_predictions(tmp_path / 'a.csv')


@pytest.mark.parametrize('shape', [(4,), (4, 1)])
def test_what_one_sigmoid_predicts_is_a_probability_and_classes_stay_classes(shape):
    sigmoid = np.array([0.2, 0.7, 0.4, 1.0], np.float32).reshape(shape)
    found = parse_arrays({'y_true': np.array([0, 1, 1, 1]), 'y_pred': sigmoid}, 'x')['evaluated']
    np.testing.assert_allclose(np.exp(found.logits[:, 1]), [0.2, 0.7, 0.4, 1.0], rtol=1e-6)
    arrays = {'labels': np.array([0, 1, 1, 1]), 'y_pred': np.array([0.0, 1.0, 0.0, 1.0]), 'confidence_mine': sigmoid}
    assert parse_arrays(arrays, 'x')['evaluated'].correct.tolist() == [True, True, False, True]


def test_tensors_without_names_are_told_how_to_be_saved(tmp_path):
    for number, content in enumerate(((torch.zeros(3, 2), torch.zeros(3)), torch.zeros(3, 2))):
        torch.save(content, tmp_path / f'{number}.pt')
        with pytest.raises(UserError, match='without names; save a dict of tensors'):
            read_predictions(tmp_path / f'{number}.pt')


def test_half_precision_counts_as_any_other():
    probs = np.array([0.5015, 0.5068, 0.4597, 0.5176, 0.5063, 0.4873, 0.5073, 0.5049, 0.4871, 0.4939, 0.5132, 0.5151,
                      0.5269, 0.5229, 0.4797, 0.5435], np.float16)  # fmt: skip
    labels = np.array([1, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0])
    found = parse_arrays({'labels': labels, 'probs': probs}, 'x')['evaluated']
    assert np.mean(found.logits.argmax(1) == found.labels) == 0.625
    top = classifier_metrics(np.array([[0.5, 0.2, 0.3]], np.float16), np.array([2]), top_k=(2,))
    assert top['top_2_accuracy'] == 1


def test_a_sure_and_wrong_binary_model_is_badly_calibrated_and_1_is_in_the_last_bin():
    found = parse_arrays({'labels': [1, 1, 1], 'probs': np.array([0.01, 0.001, 0.005])}, 'x')['evaluated']
    sure, right = np.exp(found.logits).max(1), found.logits.argmax(1) == found.labels
    assert calibration_metrics(np.minimum(sure, 1), right)['ece'] == pytest.approx(0.9947, abs=1e-4)
    assert calibration_metrics(np.array([0.95, 1.0]), np.array([True, False]))['mce'] == pytest.approx(0.475)
