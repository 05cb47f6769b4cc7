"""Several classifiers, or dropout passes, as one classifier with its own predictions.

The main table compares confidences in one frozen classifier's predictions, and a sampled score speaks about those. What
a user of an ensemble would do instead, which is to take the ensemble's predictions too, has other errors, so it stands
in a separate table.
"""

from collections.abc import Mapping
from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from failpred_jax.config import EvaluateConfig
from failpred_jax.evaluate.measure import Measured, measure
from failpred_jax.evaluate.parts import Part, Parts
from failpred_jax.evaluate.scoring import Plan, make_plan
from failpred_jax.scores.score import SampleSummary, ScoreInputs

# Field of ScoreInputs -> what its samples are called.
SAMPLED: Mapping[str, str] = {'mc_dropout': 'dropout passes', 'ensemble': 'classifiers of several seeds'}


def of_samples(summary: SampleSummary, labels: np.ndarray, field: str) -> Part:
    """Return units as the mean of several predictive distributions classifies them.

    Args:
      summary: fields [N, ...].
      labels: [N] int32 in [0, C).
      field: of ScoreInputs, under which scores find the summary; one of SAMPLED.

    Returns:
      Part whose logits [N, C] float32 are the logarithms of the mean probabilities.
    """
    # float32's smallest normal number: a class that no sample thinks possible stays finite.
    probs = jnp.maximum(jnp.asarray(summary.mean_probs, jnp.float32), jnp.finfo(jnp.float32).tiny)
    return Part(ScoreInputs(np.asarray(jnp.log(probs)))._replace(**{field: summary}), labels)


def measure_own(parts: Parts, field: str, options: EvaluateConfig) -> Measured | None:
    """Measure several classifiers as one: its accuracy, its errors, and its own scores' ability to find them.

    Args:
      parts: the units of an evaluation, in memory.
      field: one of SAMPLED.
      options: what is measured.

    Returns:
      As `measure`, for the baseline, which reads the mean distribution here, and the scores of the samples; None where
      the units have no samples.
    """
    test, val = parts.test, parts.val
    if not isinstance(test, Part) or getattr(test.inputs, field) is None:
        return None
    own = replace(of_samples(getattr(test.inputs, field), test.labels, field), about=test.about)
    own_val = None
    if val is not None and getattr(val.inputs, field) is not None:
        own_val = replace(of_samples(getattr(val.inputs, field), val.labels, field), about=val.about)
    found = replace(parts, test=own, val=own_val, train=None, cal=None)
    plan = _plan(field, parts.task)
    return measure(found, plan, replace(options, reference_score=plan.scores[0].name))


def _plan(field: str, task: str) -> Plan:
    """Return the baseline, which reads the mean distribution here, and the scores of the samples themselves."""
    others = set(ScoreInputs._fields) - {'logits', field}
    plan = make_plan(('all',), dict.fromkeys(others, 'it is not of these classifiers together'), task)
    kept = [score for score in plan.scores if score.fit is None and (score.role == 'baseline' or field in score.needs)]
    # What a single classifier has and several have not needs no line in their table.
    return Plan(tuple(kept), {})
