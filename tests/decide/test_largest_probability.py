"""A certified policy for `mcp` of probabilities that were given is a rule for their largest, ties included."""

import numpy as np
import pytest

from failpred_jax import apply, evaluate_predictions
from failpred_jax.config import DecideConfig
from failpred_jax.decide import certify_selective
from failpred_jax.decide.deciding import Given, make_decisions
from failpred_jax.decide.units import of_predictions


def votes(rng, count):
    """Return labels and the shares of 20 votes among 5 classes, which tie often."""
    truth = rng.dirichlet(np.full(5, 0.25), size=count)
    labels = np.array([rng.choice(5, p=row) for row in truth])
    return {'labels': labels, 'logits': rng.multinomial(20, truth) / 20}


@pytest.mark.parametrize('dtype', [np.float64, np.float32])
@pytest.mark.parametrize('risk', [0.2, 0.25])
def test_the_rule_that_is_certified_is_the_one_for_the_largest_probability(rng, risk, dtype):
    parts = [votes(rng, count) for count in (500, 300, 900)]
    for part in parts:
        part['logits'] = part['logits'].astype(dtype)
    test, validation, calibration = parts
    found = evaluate_predictions(**test, validation=validation, calibration=calibration, resamples=0).evaluation
    given = Given(*(of_predictions(part) for part in (found.calibration, found.validation, found.test)), 'unit', ())
    decided, rows = make_decisions(given, DecideConfig(score='mcp', risks=(risk,)))
    of_rows = [row['decision'] for row in rows]
    policy = apply.parse_policy(decided.policy)
    largest = test['logits'].max(axis=1)
    assert len(np.unique(largest)) < 40 and 'accept' in of_rows
    assert of_rows == apply.decide(policy, largest).names().tolist()
    # As certified on the largest probabilities themselves.
    right = calibration['logits'].argmax(axis=1) == calibration['labels']
    alone = certify_selective(calibration['logits'].max(axis=1).astype(np.float32), right, risk)
    assert decided.policy['tiers'][0]['thresholds'] == [alone.threshold]
