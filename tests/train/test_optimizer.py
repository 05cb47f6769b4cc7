"""Optimizers step as PyTorch's do, and schedules count in epochs."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from failpred_jax.config import StageConfig
from failpred_jax.train.optimizer import make_optimizer, make_schedule


@pytest.mark.parametrize('name', ['sgd', 'adam', 'adamw'])
def test_equals_pytorch_with_weight_decay(name, rng):
    torch = pytest.importorskip('torch', reason='equality with PyTorch needs the extra [torch]')
    start = rng.normal(size=5).astype(np.float32)
    stage = StageConfig(optimizer=name, learning_rate=0.1, momentum=0.9, weight_decay=0.01)
    optimizer = make_optimizer(stage, make_schedule(stage, 10))
    theirs = torch.nn.Parameter(torch.tensor(start))
    kinds = {'sgd': torch.optim.SGD, 'adam': torch.optim.Adam, 'adamw': torch.optim.AdamW}
    more = {'momentum': 0.9} if name == 'sgd' else {}
    other = kinds[name]([theirs], lr=0.1, weight_decay=0.01, **more)
    ours, state = jnp.asarray(start), optimizer.init(jnp.asarray(start))
    for _ in range(5):
        updates, state = optimizer.update(2 * ours, state, ours)
        ours = optax.apply_updates(ours, updates)
        other.zero_grad()
        (theirs**2).sum().backward()
        other.step()
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-4, atol=1e-5)


def rates(epochs, **options):
    stage = StageConfig(epochs=10, learning_rate=1.0, **options)
    schedule = make_schedule(stage, steps_per_epoch=4)
    return [float(schedule(round(epoch * 4))) for epoch in epochs]


def test_schedules():
    assert rates((0, 3, 10)) == [1, 1, 1]
    got = rates((0, 2.75, 3, 6, 9), schedule='multi_step', milestones=(3, 6), decay=0.1)
    np.testing.assert_allclose(got, [1, 1, 0.1, 0.01, 0.01], rtol=1e-6)
    np.testing.assert_allclose(rates((0, 5, 10), schedule='cosine'), [1, 0.5, 0], atol=1e-6)
    got = rates((0, 0.75, 1, 1.75, 2), schedule='exponential', decay=0.5)
    np.testing.assert_allclose(got, [1, 1, 0.5, 0.5, 0.25], rtol=1e-6)
    got = rates((0, 5, 10), schedule='polynomial', power=2.0, final_learning_rate=0.2)
    np.testing.assert_allclose(got, [1, 0.2 + 0.8 / 4, 0.2], rtol=1e-6)


def test_warm_up_rises_from_nothing_and_milestones_count_from_the_beginning():
    got = rates((0, 1, 2, 2.75, 3), schedule='multi_step', milestones=(3,), warmup_epochs=2.0)
    np.testing.assert_allclose(got, [0, 0.5, 1, 1, 0.1], rtol=1e-6)
