"""The third stage: the head with its own encoder, which starts as a copy of the classifier's backbone."""

from failpred_jax.config import Config
from failpred_jax.stages.common import training
from failpred_jax.stages.confidence import confidence_loss
from failpred_jax.train.stage import Stage


def make_stage(config: Config, num_train: int) -> Stage:
    """Return the stage that trains encoder and head, all dropout off and BatchNorm statistics frozen.

    Predictions come from the classifier, which does not change by a single bit.

    Reference: Corbière et al., NeurIPS 2019, section 2.3.
    """
    trained = frozenset({'encoder', 'head'})
    return Stage(
        name='finetune',
        starts_from='confidence',
        trains=lambda path: path[0] in trained,
        batch_norm_in=frozenset(),
        dropout_in=frozenset(),
        with_confidence=True,
        fixed_in_training=frozenset({'logits'}),
        fixed_in_validation=frozenset({'logits'}),
        loss_fn=confidence_loss(config.finetune),
        select_by='aupr_error',
        **training('finetune', config.finetune, num_train),
    )
