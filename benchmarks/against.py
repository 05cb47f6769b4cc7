"""Time a training step of this checkout against that of another revision, alternating; see train_step.py --against.

Each side is a process with its own code: this file, run with that tree first on the path. Both train the baseline as a
run does (`make_stages`, `make_chunk`: augmentation, normalization, loss, optimizer, recipes), on random images that lie
on the device. The revision must have these functions under today's names.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def compare(revision: str, models: list[str], batch_size: int, steps: int, repeats: int) -> None:
    """Print one row per model: the milliseconds of both sides, and the median of the ratios of neighboring timings."""
    print(f'this checkout against {revision}: median of {repeats} x {steps} steps, batch {batch_size}\n')
    print('| model | now, ms | before, ms | now / before | its quartiles | CPU now, ms | CPU before, ms | CPU ratio |')
    print('|---|---|---|---|---|---|---|---|')
    with _tree(revision) as before:
        for model in models:
            with _side(ROOT, model, batch_size, steps) as ours, _side(before, model, batch_size, steps) as theirs:
                pairs = []
                for number in range(repeats):
                    # The first of a pair may find a cooler machine, so they take turns.
                    if number % 2:
                        other, own = _timed(theirs), _timed(ours)
                    else:
                        own, other = _timed(ours), _timed(theirs)
                    pairs.append((own, other))
            print(_row(model, pairs), flush=True)


def _row(model: str, pairs: list[tuple[dict[str, float], dict[str, float]]]) -> str:
    cells = []
    for kind in ('wall', 'cpu'):
        now, before = ([1e3 * pair[side][kind] for pair in pairs] for side in (0, 1))
        ratios = sorted(a / b for a, b in zip(now, before, strict=True))
        cells += [
            f'{statistics.median(now):.2f}',
            f'{statistics.median(before):.2f}',
            f'{statistics.median(ratios):.3f}',
        ]
        if kind == 'wall':
            cells.append(f'{ratios[len(ratios) // 4]:.3f} to {ratios[-1 - len(ratios) // 4]:.3f}')
    return f'| {model} | {" | ".join(cells)} |'


@contextlib.contextmanager
def _tree(revision: str) -> Iterator[Path]:
    """Give the files of a revision in a temporary worktree."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'tree'
        subprocess.run(['git', 'worktree', 'add', '--quiet', '--detach', str(path), revision], cwd=ROOT, check=True)
        try:
            yield path
        finally:
            subprocess.run(['git', 'worktree', 'remove', '--force', str(path)], cwd=ROOT, check=True)


@contextlib.contextmanager
def _side(tree: Path, model: str, batch_size: int, steps: int) -> Iterator[subprocess.Popen]:
    """Give a process that trains with the code of a tree when it is asked to; it is warm already."""
    command = [sys.executable, str(Path(__file__).resolve()), model, str(batch_size), str(steps)]
    env = os.environ | {'PYTHONPATH': str(tree)}
    side = subprocess.Popen(command, cwd=tree, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        _timed(side)
        yield side
    finally:
        side.communicate('')


def _timed(side: subprocess.Popen) -> dict[str, float]:
    """Have a side train once, and return the seconds of a step."""
    assert side.stdin is not None and side.stdout is not None
    side.stdin.write('again\n')
    side.stdin.flush()
    answer = side.stdout.readline()
    if not answer:
        raise SystemExit('one side ended before it was timed; its error is above')
    return json.loads(answer)


def serve(model: str, batch_size: int, steps: int) -> None:
    """Train so many steps for each line that is read, and answer with the seconds of one."""
    import jax
    import numpy as np

    from failpred_jax import devices
    from failpred_jax.config import default_config, read_config
    from failpred_jax.data.feeding import Feed
    from failpred_jax.data.prepare import make_prepare_fns
    from failpred_jax.models.network import make_network
    from failpred_jax.stages import make_stages, start_state
    from failpred_jax.train.step import make_chunk
    from failpred_jax.types import DatasetInfo, Examples

    shape = (28, 28, 1) if model in ('mlp', 'small_convnet_mnist') else (32, 32, 3)
    made = default_config()
    made.data.source, made.model.name, made.baseline.batch_size = 'digits', model, batch_size
    config = read_config(made)
    info = DatasetInfo('random', 'classification', shape, tuple('0123456789'))
    rng = np.random.default_rng(0)
    num_train = 16 * batch_size
    train = Examples(
        rng.integers(0, 256, (num_train, *shape), dtype=np.uint8), rng.integers(0, 10, num_train).astype(np.int32)
    )
    network, stage = make_network(config.model, info), make_stages(config, num_train)[0]
    chunk_fn = make_chunk(stage, network.apply, make_prepare_fns(config.data, info)[0], None)
    chunk = devices.map_over_devices(chunk_fn, shared=(3,))
    feed = Feed(train, batch_size, 0, 2**30, max_steps=steps)
    state = devices.replicate(start_state(stage, network, 0, None))
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        state, _ = chunk(state, *feed.chunk(0, steps), np.int32(steps))
        jax.block_until_ready(state)
        found = {'wall': (time.perf_counter() - wall) / steps, 'cpu': (time.process_time() - cpu) / steps}
        print(json.dumps(found), flush=True)


if __name__ == '__main__':
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
