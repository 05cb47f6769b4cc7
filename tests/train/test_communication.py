"""The bytes that docs/scaling.md says are summed over devices at every step are those that the programs sum."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import jaxprs_in_params

from failpred_jax import devices
from failpred_jax.config import Config, ModelConfig
from failpred_jax.models.network import make_network
from failpred_jax.stages import make_stages, start_state
from failpred_jax.train.step import make_train_step
from failpred_jax.types import Batch, DatasetInfo

PAGE = Path(__file__).parents[2] / 'docs' / 'scaling.md'
SHAPES = {'mlp': (28, 28, 1), 'small_convnet_mnist': (28, 28, 1), 'segnet': (32, 32, 3)}
DEVICES = 8


def told() -> dict[str, list[int]]:
    rows = re.findall(r'^\| (\w+)(?: \(11 classes\))? \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$', PAGE.read_text(), re.M)
    return {name: [int(count.replace(',', '')) for count in counts] for name, *counts in rows}


def summed_bytes(jaxpr) -> int:
    """Return the bytes of all operands of sums over the devices, also in programs within the program."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name.startswith('psum'):
            total += sum(v.aval.size * v.aval.dtype.itemsize for v in equation.invars)
        for inner in jaxprs_in_params(equation.params):
            total += summed_bytes(inner)
    return total


def stages_of(name: str):
    """Yield (stage, network, abstract state, abstract batch) of each stage."""
    shape = SHAPES.get(name, (32, 32, 3))
    task, classes = ('segmentation', 11) if name == 'segnet' else ('classification', 10)
    info = DatasetInfo('made up', task, shape, tuple(str(i) for i in range(classes)))
    network = make_network(ModelConfig(name=name), info)
    labels = jax.ShapeDtypeStruct((2, *shape[:2]) if name == 'segnet' else (2,), jnp.int32)
    batch = Batch(jax.ShapeDtypeStruct((2, *shape), jnp.float32), labels, jax.ShapeDtypeStruct((2,), bool))
    state = None
    for stage in make_stages(Config(), 1000):
        state = jax.eval_shape(lambda before, stage=stage: start_state(stage, network, 0, before), state)
        yield stage, network, state, batch


def counted(stage, state) -> int:
    """Return 4 bytes for each trained parameter and trained statistic, and for two numbers."""
    summed = (state.trained, state.batch_stats if stage.batch_norm_in else None)
    return 4 * (sum(leaf.size for leaf in jax.tree.leaves(summed)) + 2)


@pytest.mark.parametrize('name', told())
def test_the_page_counts_right(name):
    assert [counted(stage, state) for stage, _, state, _ in stages_of(name)] == told()[name]


# One without and one with BatchNorm; the larger ones differ by size only, and take long to trace.
@pytest.mark.parametrize('name', ['mlp', 'small_convnet_svhn'])
def test_programs_sum_what_is_counted(name):
    for stage, network, state, batch in stages_of(name):
        step = make_train_step(stage, network.apply, None)
        program = jax.make_jaxpr(step, axis_env=[(devices.AXIS, DEVICES)])(state, batch)
        assert summed_bytes(program.jaxpr) == counted(stage, state)
