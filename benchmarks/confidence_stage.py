"""Time a step of the confidence stage: with what is frozen cached, computed anew, and in PyTorch; print one table.

    python benchmarks/confidence_stage.py [--models=mlp,small_convnet_mnist] [--backbone_dropout=True] [--examples=4096]
        [--batch_size=128] [--steps=20] [--repeats=5]

Ours run as the training loop runs them: the order of the data, the chunk of steps in one compiled loop, the loss's
sums brought home. PyTorch does what the reference implementation does, with its tensors in memory: a frozen backbone
forward with its dropout on, softmax of its logits, the head, squared error to the true class probability, backward
into the head, Adam. The three alternate, and the median of each counts, so that a busy machine troubles all alike.
Beside it stand the minimum, and the time that the processor spent on it over all threads, which a busy machine troubles
least (PyTorch's includes waiting for its own threads).
"""

import argparse
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np
from train_step import CLASSES, SHAPES, seconds_a_step, torch_layers

from failpred_jax import devices
from failpred_jax.config import Config, default_config, read_config
from failpred_jax.data.feeding import Feed, num_bytes_of
from failpred_jax.data.prepare import make_prepare_fns
from failpred_jax.models.network import make_network
from failpred_jax.stages import make_stages, start_state
from failpred_jax.train.precompute import Budget, Program, precompute
from failpred_jax.train.step import make_chunk
from failpred_jax.types import DatasetInfo, Examples

ROOM = 2**40
LEARNING_RATE = 1e-4


def read_options(name: str, options: argparse.Namespace) -> Config:
    """Return the config of a run of so many examples."""
    config = default_config()
    config.data.source = 'digits'  # never read: the examples are random
    config.model.name = name
    config.confidence.backbone_dropout = options.backbone_dropout
    config.confidence.batch_size = options.batch_size
    return read_config(config)


def make_ours(name: str, examples: Examples, options: argparse.Namespace, room: int) -> tuple[Callable, float, int]:
    """Return a function that takes a number of steps, the seconds the cache took to fill, and its bytes."""
    config = read_options(name, options)
    info = DatasetInfo('random', 'classification', SHAPES[name], tuple(str(i) for i in range(CLASSES)))
    network = make_network(config.model, info)
    program = Program(network.apply, network.precompute, *make_prepare_fns(config.data, info), None, options.batch_size)
    baseline, stage, *_ = make_stages(config, len(examples.labels))
    start = start_state(stage, network, 0, start_state(baseline, network, 0, None))
    few = jax.tree.map(lambda x: x[:2], examples)
    found = []
    seconds = seconds_a_step(
        lambda _: found.append(precompute(stage, program, start, examples, few, Budget(room, room))[0]), 1
    )
    feed = Feed(found[0], options.batch_size, 0, ROOM, options.steps)
    run_chunk = devices.map_over_devices(
        make_chunk(stage, program.apply_fn, program.prepare_train_fn, None), donate=(0,), shared=(3,)
    )
    state = [devices.replicate(start), 0]

    def run(steps: int) -> None:
        state[0], sums = run_chunk(state[0], *feed.chunk(state[1], steps), np.int32(steps))
        state[1] += steps
        assert np.isfinite(devices.unreplicate(sums).loss_sum)

    return run, seconds, num_bytes_of(found[0].cached)


def make_torch(name: str, examples: Examples, options: argparse.Namespace) -> Callable[[int], None]:
    """Return a function that takes a number of the reference's steps in PyTorch."""
    import torch

    nn = torch.nn
    *backbone, top = torch_layers(name, nn)
    backbone = nn.Sequential(*backbone).requires_grad_(False).train()
    for module in backbone:
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    if not options.backbone_dropout:
        backbone.eval()
    top.requires_grad_(False)
    widths = [top.in_features, 400, 400, 400, 400]
    pairs = zip(widths[:-1], widths[1:], strict=True)
    head = nn.Sequential(*(layer for a, b in pairs for layer in (nn.Linear(a, b), nn.ReLU())), nn.Linear(400, 1))
    optimizer = torch.optim.Adam(head.parameters(), LEARNING_RATE)
    images = torch.tensor(examples.images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    labels = torch.tensor(examples.labels).long()
    generator = np.random.default_rng(0)

    def run(steps: int) -> None:
        for _ in range(steps):
            rows = torch.tensor(generator.choice(len(labels), options.batch_size, replace=False))
            x, y = images[rows], labels[rows]
            optimizer.zero_grad(set_to_none=True)
            features = backbone(x)
            target = top(features).softmax(1).gather(1, y[:, None])[:, 0]
            loss = nn.functional.mse_loss(head(features)[:, 0].sigmoid(), target)
            loss.backward()
            optimizer.step()
            loss.item()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--models', default='mlp,small_convnet_mnist', help='names, separated by commas')
    parser.add_argument('--backbone_dropout', type=lambda text: text.lower() != 'false', default=True)
    parser.add_argument('--examples', type=int, default=4096, help='examples to train on; the cache holds them all')
    parser.add_argument('--batch_size', type=int, default=128)
    parser.add_argument('--steps', type=int, default=20, help='steps timed at a time')
    parser.add_argument('--repeats', type=int, default=5, help='timings of each side; the median counts')
    options = parser.parse_args()
    print(
        f'\n{jax.devices()[0].device_kind}, batch {options.batch_size}, float32, {options.examples} examples, backbone '
        f'dropout {"on" if options.backbone_dropout else "off"}; ms a step, median (minimum; processor) of '
        f'{options.repeats} x {options.steps} steps\n'
    )
    print('| model | cached | computed anew | PyTorch | PyTorch / cached | cache, kB an image | to fill, ms an image |')
    print('|---|---|---|---|---|---|---|')
    for name in options.models.split(','):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (options.examples, *SHAPES[name])).astype(np.uint8)
        examples = Examples(images, rng.integers(0, CLASSES, options.examples).astype(np.int32))
        cached, seconds, num_bytes = make_ours(name, examples, options, ROOM)
        anew, _, _ = make_ours(name, examples, options, 0)
        sides = [cached, anew, make_torch(name, examples, options)]
        times, busy = [[], [], []], [0.0, 0.0, 0.0]
        for side in sides:
            side(1)
        for _ in range(options.repeats):
            for i, side in enumerate(sides):
                before = time.process_time()
                times[i].append(1e3 * seconds_a_step(side, options.steps))
                busy[i] += 1e3 * (time.process_time() - before) / options.steps / options.repeats
        ours, again, theirs = (
            f'{statistics.median(found):.1f} ({min(found):.1f}; {processor:.1f})'
            for found, processor in zip(times, busy, strict=True)
        )
        ratio = statistics.median(times[2]) / statistics.median(times[0])
        per_image = num_bytes / options.examples / 1e3
        print(
            f'| {name} | {ours} | {again} | {theirs} | {ratio:.1f} | {per_image:.1f} | '
            f'{1e3 * seconds / options.examples:.2f} |',
            flush=True,
        )


if __name__ == '__main__':
    main()
