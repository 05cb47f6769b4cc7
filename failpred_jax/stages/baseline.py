"""The first stage: the classifier itself, by cross-entropy."""

from failpred_jax.config import Config
from failpred_jax.losses.classification import cross_entropy
from failpred_jax.stages.common import timing
from failpred_jax.train.stage import Stage


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
        loss_fn=lambda outputs, labels, mask: cross_entropy(outputs.logits, labels),
        select_by='accuracy',
        **timing(config.baseline, num_train),
    )
