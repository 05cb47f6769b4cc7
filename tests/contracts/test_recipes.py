"""What every training recipe in the registry keeps to, alone and with the others."""

import jax
import numpy as np
import pytest
from flax import serialization
from jax.sharding import Mesh
from train.tiny import STREAMED, StopAfter, Tiny, equal, leaves

from failpred_jax import devices
from failpred_jax.registry import RECIPES
from failpred_jax.stopping import Stopped


def groups():
    """Return the recipes for a baseline in as few stages as possible: all that go together, then the others."""
    fitting = [name for name in RECIPES if 'baseline' in RECIPES.fact(name, 'stages')]
    choosing = [name for name in fitting if RECIPES.fact(name, 'replaces_evaluated')]
    others = [name for name in fitting if name not in choosing]
    return [dict.fromkeys([*others[::-1], *choosing[:1]], {}), *({name: {}} for name in choosing[1:])]


def named(recipes):
    return '+'.join(recipes)


def on_one_device(monkeypatch):
    monkeypatch.setattr(devices, 'num_devices', lambda: 1)
    monkeypatch.setattr(devices, 'num_local_devices', lambda: 1)
    mesh = Mesh(np.array(jax.devices()[:1]), (devices.AXIS,))
    monkeypatch.setattr(devices, '_mesh', lambda: mesh)


@pytest.mark.parametrize('recipes', groups(), ids=named)
def test_stopped_and_resumed_it_ends_with_the_same_bits(recipes, tmp_path):
    """Stopped within the second epoch; resumed with the examples streamed, which must know their index too."""
    # An optimizer with a state of its own, and a learning rate that depends on the step.
    more = {'optimizer': 'adamw', 'learning_rate': 0.01, 'schedule': 'cosine', 'warmup_epochs': 1.0}
    tiny = Tiny(recipes, dropout=True, **more)
    tiny.run(tmp_path / 'whole')
    with pytest.raises(Stopped):
        tiny.run(tmp_path / 'parts', stop=StopAfter(4))
    state, *_ = tiny.checkpoints(tmp_path / 'parts')
    assert int(state.step) == 4
    tiny.run(tmp_path / 'parts', budget=STREAMED)
    whole, parts = (tiny.checkpoints(tmp_path / name) for name in ('whole', 'parts'))
    assert int(whole[0].step) == 9
    assert equal(leaves(whole[0]), leaves(parts[0]))
    assert equal(leaves(whole[1]), leaves(parts[1]))
    assert whole[2] == parts[2]
    assert len(whole[2]) == 4


@pytest.mark.parametrize('name', [name for name in RECIPES if 'baseline' in RECIPES.fact(name, 'stages')])
def test_alone_it_goes_on_from_what_was_saved_and_one_device_finds_what_eight_do(name, monkeypatch, tmp_path):
    """The recipe by itself, without the others, whose state could stand in for one that it forgets to keep."""
    tiny = Tiny({name: {}})
    run = tiny.stepper(9)
    eight, part = run(tiny.start, 0, 9), run(tiny.start, 0, 4)
    (tmp_path / 'state').write_bytes(serialization.to_bytes(part.replace(key=jax.random.key_data(part.key))))
    blank = tiny.start.replace(key=jax.random.key_data(tiny.start.key))
    saved = serialization.from_bytes(blank, (tmp_path / 'state').read_bytes())
    resumed = run(saved.replace(key=jax.random.wrap_key_data(saved.key)), 4, 5)
    assert int(resumed.step) == 9
    assert equal(leaves(resumed), leaves(eight))
    with monkeypatch.context() as patch:
        on_one_device(patch)
        one = Tiny({name: {}}).steps(9)
    assert jax.tree.structure(one) == jax.tree.structure(eight)
    for ours, theirs in zip(leaves(one), leaves(eight), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_no_recipe_has_no_trace_in_the_state():
    start = Tiny().start
    assert (start.recipe_states, start.evaluated) == ({}, {})
