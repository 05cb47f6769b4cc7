"""Time a whole baseline stage, as a run trains it, against the bare step and against a plain PyTorch loop.

    python benchmarks/end_to_end.py [--models=mlp,small_convnet_mnist] [--examples=54000] [--epochs=3]

Ours is `experiment.Experiment.train`: shuffling, normalization, dropout, metrics, validation, checkpoints and logs, on
random images of the right shape. A step's time is taken from its log, from the first epoch's end to the last, so that
starting and compiling are apart; they are shown for a first process and for a second one, which finds the first one's
compilation cache. PyTorch's loop takes images one by one from a DataLoader (without or with two workers, whichever is
faster), through PIL as torchvision does, normalizes each, and reads the loss and the number of correct predictions at
every step. It is written after the description of the reference's loop, and is not the reference's code.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from train_step import CLASSES, LEARNING_RATE, MOMENTUM, SHAPES, WEIGHT_DECAY, make_ours, seconds_a_step, torch_layers

from failpred_jax import compiler
from failpred_jax.config import default_config, read_config
from failpred_jax.data.sources import RawData
from failpred_jax.experiment import Experiment
from failpred_jax.registry import SOURCES
from failpred_jax.stopping import Stop
from failpred_jax.types import DatasetInfo, Examples


def random_examples(count: int, shape: tuple[int, int, int]) -> Examples:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, size=(count, *shape), dtype=np.uint8)
    return Examples(images, rng.integers(0, CLASSES, size=count).astype(np.int32))


def train(options: argparse.Namespace) -> dict[str, float]:
    """Train a baseline of each seed and return what it cost."""
    began = time.perf_counter()
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **_: compiled.append(time.perf_counter()) if 'backend_compile' in name else None
    )
    compiler.keep_compilations()
    shape = SHAPES[options.train]
    info = DatasetInfo('random', 'classification', shape, tuple(str(i) for i in range(CLASSES)))
    held_out = random_examples(1000, shape)
    data = RawData(info, random_examples(options.examples, shape), held_out, held_out)
    SOURCES.register('random')(lambda config, options: data)
    given = default_config()
    given.data.source, given.model.name = 'random', options.train
    given.baseline.epochs, given.baseline.eval_every_epochs = options.epochs, 1
    given.baseline.batch_size = options.batch_size
    given.confidence.epochs = given.finetune.epochs = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            given.seed = seed
            workdir = Path(folder) / str(seed)
            workdir.mkdir()
            Experiment(read_config(given), workdir, Stop()).train()
        with (workdir / 'baseline' / 'metrics.csv').open() as file:
            rows = list(csv.DictReader(file))
    ended = time.perf_counter()
    steps = (options.epochs - 1) * -(-options.examples // options.batch_size)
    trained = float(rows[-1]['seconds']) - float(rows[1]['seconds'])
    return {
        'step_ms': 1e3 * trained / steps,
        'total_s': ended - began,
        # Compilations that finished while the later epochs ran.
        'late_compilations': sum(at > ended - trained for at in compiled) if options.seeds == 1 else -1,
        'peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def in_a_process(cache: str, num_devices: int = 1, **given) -> dict[str, float]:
    """Return `train`'s result from a process of its own, with a compilation cache in a folder."""
    words = [f'--{name}={value}' for name, value in given.items()]
    environment = {**os.environ, 'JAX_COMPILATION_CACHE_DIR': cache}
    if num_devices > 1:
        environment['XLA_FLAGS'] = f'--xla_force_host_platform_device_count={num_devices}'
    command = [sys.executable, __file__, *words]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def torch_step_ms(name: str, options: argparse.Namespace, workers: int, steps: int = 30) -> float:
    """Return the milliseconds a step of a plain PyTorch loop, loader and metrics included."""
    import torch
    from PIL import Image

    class Images(torch.utils.data.Dataset):
        """Image by image what torchvision's MNIST, ToTensor and Normalize do."""

        def __init__(self):
            self.examples = random_examples(options.examples, SHAPES[name])

        def __len__(self):
            return len(self.examples.labels)

        def __getitem__(self, i):
            image = Image.fromarray(self.examples.images[i].squeeze())
            pixels = np.atleast_3d(np.array(image, copy=True))
            x = torch.from_numpy(pixels).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
            mean, std = (torch.as_tensor([0.5] * len(x)).view(-1, 1, 1) for _ in range(2))
            return x.clone().sub_(mean).div_(std), int(self.examples.labels[i])

    net = torch.nn.Sequential(*torch_layers(name, torch.nn)).train()
    optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    loader = torch.utils.data.DataLoader(
        Images(), options.batch_size, shuffle=True, drop_last=True, num_workers=workers
    )
    times = []
    for taken, (x, y) in enumerate(loader):
        if taken == 0:
            start = time.perf_counter()
        optimizer.zero_grad()
        logits = net(x)
        loss = torch.nn.functional.cross_entropy(logits, y)
        loss.backward()
        optimizer.step()
        loss.item(), (logits.argmax(1) == y).sum().item()
        times.append(time.perf_counter() - start)
        if len(times) > steps:
            break
    # The first steps warm up and use what workers loaded beforehand; a step's time holds the loading of its batch.
    return 1e3 * (times[-1] - times[9]) / (len(times) - 10)


def bare_step_ms(name: str, options: argparse.Namespace) -> float:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(options.batch_size, *SHAPES[name])).astype(np.float32)
    run = make_ours(name, images, rng.integers(0, CLASSES, size=options.batch_size), 'float32')
    run(1)
    return 1e3 * min(seconds_a_step(run, 10) for _ in range(3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--models', default='mlp,small_convnet_mnist', help='names, separated by commas')
    parser.add_argument('--examples', type=int, default=54000, help='those of MNIST without its validation split')
    parser.add_argument('--epochs', type=int, default=3, help='2 or more: the first one is not timed')
    parser.add_argument('--batch_size', type=int, default=128)
    parser.add_argument('--seeds', type=int, default=1)
    parser.add_argument('--train', help='train this model in this process and print what it cost, as JSON')
    options = parser.parse_args()
    if options.train:
        print(json.dumps(train(options)))
        return
    print('| model | stage, ms/step | bare step | stage / bare | PyTorch loop | loop / stage | compiled late '
          '| first process, s | second, s |')  # fmt: skip
    print('|---|---|---|---|---|---|---|---|---|')
    for name in options.models.split(','):
        given = {'train': name, 'examples': options.examples, 'epochs': options.epochs}
        given['batch_size'] = options.batch_size
        with tempfile.TemporaryDirectory() as cache:
            first, second = (in_a_process(cache, **given) for _ in range(2))
        stage, bare = min(first['step_ms'], second['step_ms']), bare_step_ms(name, options)
        loop = min(torch_step_ms(name, options, workers) for workers in (0, 2))
        print(
            f'| {name} | {stage:.1f} | {bare:.1f} | {stage / bare:.2f} | {loop:.1f} | {loop / stage:.2f} '
            f'| {second["late_compilations"]} | {first["total_s"]:.1f} | {second["total_s"]:.1f} |',
            flush=True,
        )


if __name__ == '__main__':
    main()
