"""Time a baseline training step of ours against PyTorch's, batch by batch, and print one table.

    python benchmarks/train_step.py [--models=mlp,vgg16] [--batch_size=128] [--steps=5] [--repeats=5] [--dtype=float32]
        [--convolution=im2col] [--against=REVISION]

Both train on one batch that lies in memory: forward with dropout and batch statistics, cross-entropy, backward, SGD
with momentum and weight decay. Ours runs as the training loop runs it, a jitted step inside a while loop; PyTorch
takes the faster of its memory formats, and on a GPU also autocast (for bfloat16) and torch.compile. The two alternate,
and the median counts, so that a busy machine troubles both alike. GFLOP/s counts the multiplications and additions of
plain convolutions and matrix products, forward once and backward twice, so that a form of convolution that needs fewer
shows as a higher figure. On a machine that others use too, the processor time of a step (summed over threads) says more
than the wall clock: start with OMP_WAIT_POLICY=PASSIVE, or PyTorch's waiting threads count as work. Huge pages:
GLIBC_TUNABLES=glibc.malloc.hugetlb=1 before the command.

--against=REVISION times the step of a run as it is in this checkout against the same step of a commit instead.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import against
import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax import compiler
from failpred_jax.config import ModelConfig
from failpred_jax.losses.classification import cross_entropy
from failpred_jax.models import convolution, layers
from failpred_jax.models.network import make_network
from failpred_jax.models.small_convnet_svhn import PLAN as SVHN_PLAN
from failpred_jax.models.vgg16 import PLAN as VGG_PLAN
from failpred_jax.types import DatasetInfo

SHAPES = {
    'mlp': (28, 28, 1),
    'small_convnet_mnist': (28, 28, 1),
    'small_convnet_svhn': (32, 32, 3),
    'vgg16': (32, 32, 3),
}
CLASSES = 10
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 1e-3, 0.9, 5e-4
TRAINED = frozenset({'backbone', 'classifier'})


def make_ours(name: str, images: np.ndarray, labels: np.ndarray, dtype: str) -> Callable[[int], None]:
    """Return a function that takes a number of our training steps and waits for their end."""
    info = DatasetInfo('random', 'classification', SHAPES[name], tuple(str(i) for i in range(CLASSES)))
    network = make_network(ModelConfig(name=name, dtype=dtype), info)
    params, stats = network.init(jax.random.key(0))
    params = {tree: params[tree] for tree in sorted(TRAINED)}
    images, labels = jnp.asarray(images), jnp.asarray(labels)

    def loss_fn(params, stats, key):
        outputs, stats = network.apply(
            params, stats, images, dropout_key=key, dropout_in=TRAINED, batch_norm_in=TRAINED
        )
        return jnp.mean(cross_entropy(outputs.logits, labels)), stats

    def step(i, state):
        params, stats, velocity = state
        grads, stats = jax.grad(loss_fn, has_aux=True)(params, stats, jax.random.fold_in(jax.random.key(1), i))
        velocity = jax.tree.map(lambda v, g, p: MOMENTUM * v + g + WEIGHT_DECAY * p, velocity, grads, params)
        return jax.tree.map(lambda p, v: p - LEARNING_RATE * v, params, velocity), stats, velocity

    # The number of steps is an argument, so that the loop is a while loop and is compiled once.
    loop = jax.jit(
        lambda steps, state: jax.lax.fori_loop(0, steps, step, state),
        donate_argnums=1,
        compiler_options=compiler.options(),
    )
    state = [(params, stats, jax.tree.map(jnp.zeros_like, params))]

    def run(steps: int) -> None:
        state[0] = jax.block_until_ready(loop(steps, state[0]))

    return run


def torch_layers(name: str, nn) -> list:
    """Return the layers of a classifier as PyTorch modules, and count its FLOPs by them."""
    height, width, channels = SHAPES[name]
    if name == 'mlp':
        sizes = (height * width * channels, 1000)
        return [nn.Flatten(), nn.Linear(*sizes), nn.ReLU(), nn.Dropout(0.3), nn.Linear(1000, CLASSES)]
    if name == 'small_convnet_mnist':
        convs = [nn.Conv2d(channels, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)]
        dense = [nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, CLASSES)]
        return [*convs, nn.Dropout(0.25), nn.Flatten(), *dense]
    layers = []
    for item in VGG_PLAN if name == 'vgg16' else SVHN_PLAN:
        if item == 'pool':
            layers.append(nn.MaxPool2d(2))
        elif isinstance(item, float):
            layers.append(nn.Dropout(item))
        else:
            conv = nn.Conv2d(channels, item, 3, padding=1, padding_mode='reflect')
            layers += [conv, nn.ReLU(), nn.BatchNorm2d(item)]
            channels = item
    features, rate = (512, 0.5) if name == 'vgg16' else (2048, 0.3)
    dense = [nn.Linear(features, 512), nn.ReLU(), nn.Dropout(rate), nn.Linear(512, CLASSES)]
    return [*layers, nn.Flatten(), *dense]


def make_torch(
    name: str, images: np.ndarray, labels: np.ndarray, dtype: str, channels_last: bool
) -> tuple[Callable[[int], None], float]:
    """Return a function that takes a number of PyTorch training steps, and the GFLOP of one step."""
    import torch

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = torch.nn.Sequential(*torch_layers(name, torch.nn)).to(device).to(memory_format=layout).train()
    x = torch.tensor(images.transpose(0, 3, 1, 2)).to(device).contiguous(memory_format=layout)
    y = torch.tensor(labels).long().to(device)
    gflop = 3 * count_gflop(net, x)
    optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    forward = torch.compile(net) if device == 'cuda' else net

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=dtype == 'bfloat16'):
                loss = torch.nn.functional.cross_entropy(forward(x), y)
            loss.backward()
            optimizer.step()
        if device == 'cuda':
            torch.cuda.synchronize()

    return run, gflop


def count_gflop(net, x) -> float:
    """Return the GFLOP of the convolutions and matrix products of a forward pass."""
    import torch

    total = [0]

    def count(module, _, output):
        weight = module.weight
        total[0] += 2 * weight[0].numel() * output.numel()

    hooks = [m.register_forward_hook(count) for m in net if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return total[0] / 1e9


def seconds_a_step(run: Callable[[int], None], steps: int) -> float:
    start = time.perf_counter()
    run(steps)
    return (time.perf_counter() - start) / steps


def matmul_gflops(size: int = 2048) -> float:
    """Return the machine's speed at one large float32 matrix product, in GFLOP/s."""
    x = jnp.ones((size, size))
    product = jax.jit(jnp.matmul)
    product(x, x).block_until_ready()
    best = min(seconds_a_step(lambda n: [product(x, x).block_until_ready() for _ in range(n)], 3) for _ in range(3))
    return 2 * size**3 / best / 1e9


def measure(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Return the median milliseconds of a step of ours and of PyTorch's, and the GFLOP of a step."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(options.batch_size, *SHAPES[name])).astype(np.float32)
    labels = rng.integers(0, CLASSES, size=options.batch_size).astype(np.int32)
    start = time.perf_counter()
    ours = make_ours(name, images, labels, options.dtype)
    ours(1)
    compile_seconds = time.perf_counter() - start
    candidates = []
    for channels_last in (False, True):
        run, gflop = make_torch(name, images, labels, options.dtype, channels_last)
        run(1)
        candidates.append((seconds_a_step(run, 2), channels_last, run))
    _, channels_last, theirs = min(candidates, key=lambda c: c[0])
    times = {'ours': [], 'torch': [], 'ours_cpu': [], 'torch_cpu': []}
    for _ in range(options.repeats):
        for side, run in (('ours', ours), ('torch', theirs)):
            start = time.process_time()
            times[side].append(seconds_a_step(run, options.steps))
            times[f'{side}_cpu'].append((time.process_time() - start) / options.steps)
    medians = {side: 1e3 * statistics.median(values) for side, values in times.items()}
    return {**medians, 'gflop': gflop, 'compile': compile_seconds, 'channels_last': channels_last}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--models', default=','.join(SHAPES), help='names, separated by commas')
    parser.add_argument('--batch_size', type=int, default=128)
    parser.add_argument('--steps', type=int, default=5, help='steps timed at a time')
    parser.add_argument('--repeats', type=int, default=5, help='timings of each side; the median counts')
    parser.add_argument('--dtype', default='float32', choices=['float32', 'bfloat16'])
    parser.add_argument(
        '--convolution', choices=['native', 'direct', 'im2col', 'winograd'], help='use one form everywhere, to compare'
    )
    parser.add_argument('--against', help='a revision, such as HEAD~1, to time instead of PyTorch')
    options = parser.parse_args()
    if options.against:
        against.compare(options.against, options.models.split(','), options.batch_size, options.steps, options.repeats)
        return
    if options.convolution:
        layers.conv3x3 = getattr(convolution, options.convolution)
    peak = matmul_gflops()
    print(
        f'{jax.devices()[0].device_kind}, batch {options.batch_size}, {options.dtype}; large float32 matrix product: '
    )
    print(f'{peak:.0f} GFLOP/s; median of {options.repeats} x {options.steps} steps\n')
    print('| model | ours, ms | PyTorch, ms | PyTorch / ours | ours, GFLOP/s | share of peak | compile, s | layout '
          '| CPU ours, ms | CPU PyTorch, ms | CPU ratio |')  # fmt: skip
    print('|---|---|---|---|---|---|---|---|---|---|---|')
    for name in options.models.split(','):
        m = measure(name, options)
        speed = m['gflop'] / m['ours'] * 1e3
        layout = 'channels_last' if m['channels_last'] else 'contiguous'
        print(
            f'| {name} | {m["ours"]:.1f} | {m["torch"]:.1f} | {m["torch"] / m["ours"]:.2f} | {speed:.0f} '
            f'| {speed / peak:.2f} | {m["compile"]:.1f} | {layout} '
            f'| {m["ours_cpu"]:.1f} | {m["torch_cpu"]:.1f} | {m["torch_cpu"] / m["ours_cpu"]:.2f} |',
            flush=True,
        )


if __name__ == '__main__':
    main()
