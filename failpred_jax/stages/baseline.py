"""The first stage: the classifier itself."""

from collections.abc import Callable

from failpred_jax.config import BaselineConfig, Config
from failpred_jax.losses.classification import smooth
from failpred_jax.registry import CLASSIFIER_LOSSES
from failpred_jax.stages.common import training
from failpred_jax.train.stage import Stage
from failpred_jax.types import Array, Outputs


def make_stage(config: Config, num_train: int) -> Stage:
    """Return the stage that trains backbone and classifier; the best checkpoint has the highest validation accuracy."""
    classifier = frozenset({'backbone', 'classifier'})
    return Stage(
        name='baseline',
        starts_from=None,
        trains=lambda path: path[0] in classifier,
        batch_norm_in=classifier,
        dropout_in=classifier,
        with_confidence=False,
        fixed_in_training=frozenset(),
        fixed_in_validation=frozenset(),
        loss_fn=classifier_loss(config.baseline),
        select_by='accuracy',
        **training('baseline', config.baseline, num_train),
    )


def classifier_loss(config: BaselineConfig) -> Callable[[Outputs, Array, Array], Array]:
    """Return the configured loss as a Stage takes it: (outputs, labels or class shares, mask) -> per unit."""
    loss = CLASSIFIER_LOSSES[config.loss]
    options = config.options_of(config.loss)
    own = {} if options is None else {'options': options}

    def loss_fn(outputs: Outputs, labels: Array, mask: Array) -> Array:
        del mask
        logits = outputs.logits
        targets = smooth(labels, logits.shape[-1], config.label_smoothing) if config.label_smoothing else labels
        return loss(logits, targets, **own)

    return loss_fn
