"""The page says what is promised, at which threshold, what happens to the rest, and how to deploy it."""

import json

import numpy as np

from failpred_jax.config import DecideConfig
from failpred_jax.decide.deciding import Given, make_decisions
from failpred_jax.decide.units import of_predictions
from failpred_jax.report import words
from failpred_jax.report.page import make_sections
from failpred_jax.report.view import View
from failpred_jax.results import DatasetDescription, Evaluation, Measures, Predictions, RunDescription, ScoreResult


def predictions(rng, num_units):
    probability = rng.beta(6, 0.8, num_units)
    correct = rng.random(num_units) < probability
    predicted = rng.integers(0, 3, num_units)
    labels = np.where(correct, predicted, (predicted + 1) % 3).astype(np.int32)
    logits = np.full((num_units, 3), -3.0, np.float32)
    logits[np.arange(num_units), predicted] = 0
    return Predictions(labels, logits, correct, {'mine': probability.astype(np.float32)})


def shown(rng, **options):
    """Return name -> text of the sections of a page with decisions, and the slider's data."""
    test, validation, calibration = (predictions(rng, n) for n in (1000, 500, 1500))
    units = (of_predictions(part) for part in (calibration, validation, test))
    decided, _ = make_decisions(Given(*units, 'image', ('a', 'b', '<b>')), DecideConfig(**options))
    dataset = DatasetDescription('data', num_classes=3, class_names=('a', 'b', '<b>'))
    evaluation = Evaluation(
        Measures(scores={'mine': ScoreResult({'aurc': 0.01})}), RunDescription(dataset=dataset), test, decisions=decided
    )
    sections = {section.name: section for section in make_sections(View(evaluation))}
    slider = json.loads(str(sections['threshold'].data[0]).split('>', 1)[1].rsplit('<', 1)[0])
    return {name: ' '.join(map(str, section.parts)) for name, section in sections.items()}, decided, slider


def test_promises_come_with_thresholds_the_rest_and_three_lines(rng):
    page, decided, slider = shown(rng, tiers=('accept', 'second_model'), risks=(0.06, 0.09))
    text = page['promises']
    accept, second = decided.guarantees[:2]
    assert words.number(accept.threshold, 4) in text and words.number(second.threshold, 4) in text
    order = [text.index(said) for said in ('at most 6 %', 'What happens to the rest', 'How to deploy it')]
    assert order == sorted(order)
    assert text.count('\n', text.index('<pre>'), text.index('</pre>')) == 3 and decided.model in text
    assert '&lt;b&gt;' in text and '<b>' not in text
    # A mark of the slider is the certified threshold, and one of the slider's places accepts just what lies over it.
    places = np.array(slider['scores']['mine']['threshold'])
    marks = slider['marks']['mine']
    assert accept.threshold in marks.values() and second.threshold in marks.values()
    accepted = slider['scores']['mine']['accepted'][int(np.argmax(places > accept.threshold))]
    assert accepted == decided.flow[0].units


def test_a_page_says_what_is_not_promised(rng):
    page, _, slider = shown(rng, risks=(0.001,), by='predicted', sets='none')
    assert 'needs' in page['promises'] and 'groups=predicted' in page['promises']
    assert not slider['marks']['mine'] or min(slider['marks']['mine'].values()) > 0
