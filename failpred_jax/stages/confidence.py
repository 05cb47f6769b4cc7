"""The second stage: the confidence head, on the frozen classifier.

Reference: Corbière et al., "Addressing Failure Prediction by Learning Model Confidence", NeurIPS 2019, section 2.
"""

import functools

from failpred_jax.config import Config, HeadConfig
from failpred_jax.registry import LOSSES
from failpred_jax.stages.common import training
from failpred_jax.train.stage import Stage


def make_stage(config: Config, num_train: int) -> Stage:
    """Return the stage that trains the head alone; the best checkpoint has the highest validation AUPR-Error.

    The backbone's dropout stays on while training (unless `backbone_dropout` is False), so that the head learns the
    true class probability of the same perturbed pass that made its features. Everything is off in evaluation.
    """
    perturbed = config.confidence.backbone_dropout and config.model.dropout
    whole = frozenset({'features', 'logits'})
    return Stage(
        name='confidence',
        starts_from='baseline',
        trains=lambda path: path[0] == 'head',
        batch_norm_in=frozenset(),
        dropout_in=frozenset({'backbone'}) if perturbed else frozenset(),
        with_confidence=True,
        fixed_in_training=frozenset({'hidden'}) if perturbed else whole,
        fixed_in_validation=whole,
        loss_fn=confidence_loss(config.confidence),
        select_by='aupr_error',
        **training('confidence', config.confidence, num_train),
    )


def confidence_loss(config: HeadConfig) -> functools.partial:
    """Return the configured loss as a Stage takes it: (outputs, labels, mask) -> per unit."""
    options = config.options_of(config.loss)
    own = {} if options is None else {'options': options}
    loss = LOSSES[config.loss]
    return functools.partial(loss, error_weight=config.error_weight, temperature=config.temperature, **own)
