"""Time single convolutions, forward and both gradients, in each form and in PyTorch; print one table.

    python benchmarks/convolution.py [--batch_size=128] [--steps=5] [--repeats=3]

Ours run inside a compiled loop, as in training, where each pass depends on the one before. PyTorch's is `conv2d` and
`convolution_backward`, in the faster of its memory formats. The least of the repeats counts.
"""

import argparse
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from train_step import seconds_a_step

from failpred_jax import compiler
from failpred_jax.models.convolution import direct, winograd

# (side of the padded image, input channels, output channels), of the small convnets and VGG16.
SHAPES = [
    (34, 32, 32),
    (26, 32, 64),
    (34, 64, 64),
    (18, 64, 64),
    (18, 128, 128),
    (10, 128, 128),
    (10, 256, 256),
    (6, 512, 512),
    (4, 512, 512),
]


def make_ours(conv: Callable, x: np.ndarray, kernel: np.ndarray, dy: np.ndarray) -> Callable[[int], None]:
    """Return a function that takes a number of passes and waits for their end."""

    def once(_, state):
        x, kernel, dy, results = state
        # A hair of the last result, so that no pass can be left out or moved out of the loop.
        x = x.at[0, 0, 0, 0].add(1e-30 * sum(v[0, 0, 0, 0] for v in results))
        y, vjp = jax.vjp(conv, x, kernel)
        return x, kernel, dy, (y, *vjp(dy))

    loop = jax.jit(
        lambda steps, state: jax.lax.fori_loop(0, steps, once, state),
        donate_argnums=1,
        compiler_options=compiler.options(),
    )
    arrays = [jnp.array(v) for v in (x, kernel, dy)]
    state = [(*arrays, tuple(jnp.zeros_like(v) for v in (arrays[2], arrays[0], arrays[1])))]

    def run(steps: int) -> None:
        state[0] = jax.block_until_ready(loop(steps, state[0]))

    return run


def make_torch(x: np.ndarray, kernel: np.ndarray, dy: np.ndarray, channels_last: bool) -> Callable[[int], None]:
    """Return the same of PyTorch."""
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    order = ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
    x, kernel, dy = (
        torch.tensor(v.transpose(axes)).contiguous(memory_format=layout)
        for v, axes in zip((x, kernel, dy), order, strict=True)
    )
    backward = torch.ops.aten.convolution_backward

    def run(steps: int) -> None:
        for _ in range(steps):
            torch.nn.functional.conv2d(x, kernel)
            backward(dy, x, kernel, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, True, False])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--batch_size', type=int, default=128)
    parser.add_argument('--steps', type=int, default=5)
    parser.add_argument('--repeats', type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    print('| padded image, channels | direct, ms | winograd, ms | PyTorch, ms |')
    print('|---|---|---|---|')
    for side, inputs, outputs in SHAPES:
        shapes = (
            (options.batch_size, side, side, inputs),
            (3, 3, inputs, outputs),
            (options.batch_size, side - 2, side - 2, outputs),
        )
        arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
        runs = [make_ours(conv, *arrays) for conv in (direct, winograd)]
        runs += [make_torch(*arrays, channels_last) for channels_last in (False, True)]
        for run in runs:
            run(1)
        times = [1e3 * min(seconds_a_step(run, options.steps) for _ in range(options.repeats)) for run in runs]
        ours, theirs = ' | '.join(f'{v:.1f}' for v in times[:2]), min(times[2:])
        print(f'| {side} x {side}, {inputs} -> {outputs} | {ours} | {theirs:.1f} |', flush=True)


if __name__ == '__main__':
    main()
