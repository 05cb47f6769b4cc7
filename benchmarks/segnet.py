"""Time SegNet's training step and its forward pass, by the form of the convolutions on its way down; print one table.

    python benchmarks/segnet.py [--size=180x240] [--batch_size=2] [--repeats=5]

'keeping ties' is what runs: equal pixels come out equal, as unpooling needs, and the gradients are Winograd's. The
other two are 'fastest', Winograd's forward pass too, which is wrong in flat regions, and 'plain', without it anywhere
there. They alternate, and the median counts.
"""

import argparse
import statistics

import jax
import jax.numpy as jnp
import numpy as np
from train_step import TRAINED, seconds_a_step

from failpred_jax import compiler
from failpred_jax.config import ModelConfig
from failpred_jax.losses.classification import cross_entropy
from failpred_jax.models import layers
from failpred_jax.models.convolution import conv3x3, conv3x3_keeping_ties, direct, im2col
from failpred_jax.models.network import make_network
from failpred_jax.types import DatasetInfo

FORMS = {
    'keeping ties': conv3x3_keeping_ties,
    'fastest': conv3x3,
    'plain': lambda x, kernel: (im2col if kernel.shape[2] < 16 else direct)(x, kernel),
}
CLASSES = 12
LEARNING_RATE = 1e-3


def make_sides(images: np.ndarray):
    """Return a function that takes a number of training steps, and one of forward passes; both wait for their end."""
    info = DatasetInfo('random', 'segmentation', images.shape[1:], tuple(str(i) for i in range(CLASSES)))
    network = make_network(ModelConfig(name='segnet'), info)
    params, stats = network.init(jax.random.key(0))
    images, labels = jnp.asarray(images), jnp.zeros(images.shape[:3], jnp.int32)

    def loss_fn(params, stats, key):
        outputs, stats = network.apply(
            params, stats, images, dropout_key=key, dropout_in=TRAINED, batch_norm_in=TRAINED
        )
        return jnp.mean(cross_entropy(outputs.logits, labels)), stats

    def step(i, state):
        params, stats = state
        grads, stats = jax.grad(loss_fn, has_aux=True)(params, stats, jax.random.fold_in(jax.random.key(1), i))
        return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, grads), stats

    loop = jax.jit(
        lambda steps, state: jax.lax.fori_loop(0, steps, step, state),
        donate_argnums=1,
        compiler_options=compiler.options(),
    )
    forward = jax.jit(lambda params, stats: network.apply(params, stats, images)[0].logits)
    state = [({tree: params[tree] for tree in sorted(TRAINED)}, stats)]

    def train(steps: int) -> None:
        state[0] = jax.block_until_ready(loop(steps, state[0]))

    def evaluate(steps: int) -> None:
        for _ in range(steps):
            jax.block_until_ready(forward(*state[0]))

    train(1)
    evaluate(1)
    return train, evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', default='180x240', help='height x width of the images; CamVid has 360x480')
    parser.add_argument('--batch_size', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=5, help='timings of each form; the median counts')
    options = parser.parse_args()
    height, width = map(int, options.size.split('x'))
    images = np.random.default_rng(0).normal(size=(options.batch_size, height, width, 3)).astype(np.float32)
    sides, times = {}, {}
    for name, form in FORMS.items():
        layers.conv3x3_keeping_ties = form
        sides[name], times[name] = make_sides(images), ([], [])
    for _ in range(options.repeats):
        for name, runs in sides.items():
            for run, found in zip(runs, times[name], strict=True):
                found.append(1e3 * seconds_a_step(run, 1))
    print('| way down | step, ms | forward pass, ms |')
    print('|---|---|---|')
    for name, (steps, passes) in times.items():
        print(f'| {name} | {statistics.median(steps):.0f} | {statistics.median(passes):.0f} |')


if __name__ == '__main__':
    main()
