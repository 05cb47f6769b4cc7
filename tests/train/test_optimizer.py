"""Optimizers step as PyTorch's do, and schedules count in epochs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from failpred_jax.config import StageConfig
from failpred_jax.registry import OPTIMIZERS, SCHEDULES
from failpred_jax.train.optimizer import make_optimizer, make_schedule

CASES = {
    'sgd': ('sgd', {}, {'momentum': 0.9}),
    'nesterov': ('sgd', {'nesterov': True}, {'momentum': 0.9, 'nesterov': True}),
    'adam': ('adam', {}, {}),
    'constants of adam': ('adam', {'beta1': 0.8, 'beta2': 0.9, 'eps': 0.01}, {'betas': (0.8, 0.9), 'eps': 0.01}),
    'adamw': ('adamw', {}, {}),
    'constants of adamw': ('adamw', {'beta1': 0.8, 'beta2': 0.9, 'eps': 0.01}, {'betas': (0.8, 0.9), 'eps': 0.01}),
}


@pytest.mark.parametrize('case', CASES)
def test_equals_pytorch_with_weight_decay(case, rng):
    torch = pytest.importorskip('torch', reason='equality with PyTorch needs the extra [torch]')
    name, own, more = CASES[case]
    start = rng.normal(size=5).astype(np.float32)
    owned = {name: OPTIMIZERS.options()[name](**own)}
    stage = StageConfig(optimizer=name, learning_rate=0.1, momentum=0.9, weight_decay=0.01, owned=owned)
    optimizer = make_optimizer(stage, make_schedule(stage, 10))
    theirs = torch.nn.Parameter(torch.tensor(start))
    kinds = {'sgd': torch.optim.SGD, 'adam': torch.optim.Adam, 'adamw': torch.optim.AdamW}
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


@pytest.mark.parametrize('name', sorted(SCHEDULES))
def test_every_schedule_warms_up_to_the_peak_and_stays_finite(name):
    stage = StageConfig(epochs=10, learning_rate=0.5, schedule=name, milestones=(5,), warmup_epochs=2.0)
    found = make_schedule(stage, steps_per_epoch=3)
    assert [float(found(step)) for step in (0, 3, 6)] == pytest.approx([0, 0.25, 0.5])
    rates = np.array([float(found(step)) for step in range(6, 60)])
    assert (rates >= 0).all() and (rates <= 0.5 + 1e-6).all()


@pytest.mark.parametrize('name', sorted(OPTIMIZERS))
def test_every_optimizer_descends_and_starts_again_from_its_state(name):
    stage = StageConfig(optimizer=name, learning_rate=0.01, momentum=0.9)
    optimizer = make_optimizer(stage, make_schedule(stage, 10))
    x, state = jnp.asarray([1.0, -2.0]), optimizer.init(jnp.asarray([1.0, -2.0]))
    for _ in range(10):
        updates, state = optimizer.update(2 * x, state, x)
        x = optax.apply_updates(x, updates)
    assert float(jnp.sum(x**2)) < 5
    # A weight decay that the config shows is applied: without a gradient, the parameters shrink.
    decayed = make_optimizer(StageConfig(optimizer=name, learning_rate=0.1, weight_decay=0.1), lambda step: 0.1)
    there = jnp.asarray([1.0, -2.0])
    shrunk, _ = decayed.update(0 * there, decayed.init(there), there)
    assert (shrunk * there < 0).all()
    # What a checkpoint holds is all of it.
    copied = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), state)
    again, _ = optimizer.update(2 * x, copied, x)
    np.testing.assert_array_equal(again, optimizer.update(2 * x, state, x)[0])
