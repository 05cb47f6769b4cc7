"""Scores of the trained confidence heads, and the target that they learn."""

import jax
import jax.numpy as jnp

from failpred_jax.outcomes import at_label, true_class_probability
from failpred_jax.scores.score import ScoreInputs, score


@score(
    'confidnet',
    needs=['confidence_logit'],
    description='confidence head on the frozen classifier, trained on its true class probability',
    reference='Corbière et al., NeurIPS 2019, section 2.3',
    role='learned',
    is_probability=True,
    estimates='the true class probability',
)
def confidnet(inputs: ScoreInputs) -> jax.Array:
    """Return the confidence head's output, sigmoid(u).

    Args:
      inputs: reads `confidence_logit` [...].

    Returns:
      [...] float32 in [0, 1].

    Reference: Corbière et al., "Addressing failure prediction by learning model confidence", NeurIPS 2019, section 2.3.
    """
    return jax.nn.sigmoid(jnp.asarray(inputs.confidence_logit, jnp.float32))


@score(
    'confidnet_finetuned',
    needs=['finetuned_logit'],
    description='confidence head after fine-tuning it together with its own copy of the encoder',
    reference='Corbière et al., NeurIPS 2019, section 2.3 (learning scheme)',
    role='learned',
    is_probability=True,
    estimates='the true class probability',
)
def confidnet_finetuned(inputs: ScoreInputs) -> jax.Array:
    """Return the fine-tuned confidence network's output, sigmoid(u).

    Args:
      inputs: reads `finetuned_logit` [...].

    Returns:
      [...] float32 in [0, 1].

    Reference: Corbière et al., "Addressing failure prediction by learning model confidence", NeurIPS 2019, section 2.3.
    """
    return jax.nn.sigmoid(jnp.asarray(inputs.finetuned_logit, jnp.float32))


@score(
    'tcp',
    needs=['logits', 'labels'],
    description='true class probability: reads the label, so an upper bound and no score',
    reference='Corbière et al., NeurIPS 2019, section 2.2',
    role='bound',
)
def tcp(inputs: ScoreInputs) -> jax.Array:
    """Return p_y, the softmax output of the true class.

    Args:
      inputs: reads `logits` [..., C] and `labels` [...] int32 in [0, C).

    Returns:
      [...] float32 in [0, 1]; over 1/2 the prediction is right, under 1/C it is wrong.

    Reference: Corbière et al., "Addressing failure prediction by learning model confidence", NeurIPS 2019, section 2.2.
    """
    if inputs.probabilities is not None:
        return at_label(jnp.asarray(inputs.probabilities, jnp.float32), jnp.asarray(inputs.labels))
    return true_class_probability(jnp.asarray(inputs.logits, jnp.float32), jnp.asarray(inputs.labels))
