"""Images a second of `failpred_jax.load(...).predict` against the bare network's forward pass, alternating.

  python -m benchmarks.predict --model=small_convnet_mnist --images=4096 --rounds=7

The weights are random, which costs as much as any. The bare pass is jitted, on one device, of a batch of normalized
float images that lies on it, with the logits and the confidence head's output left there: it copies nothing, scores
nothing and writes nothing. The predictor starts from uint8 images on the host and ends with classes, probabilities,
confidences (mcp, confidnet) and P(correct) there.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax import compiler
from failpred_jax.calibrate.confidence import fit_confidence
from failpred_jax.config import Config, DataConfig, EvaluateConfig, ModelConfig
from failpred_jax.evaluate.collect import Weights
from failpred_jax.evaluate.fits import Fits
from failpred_jax.finished_run import FinishedRun
from failpred_jax.models.network import make_network
from failpred_jax.predictor import Predictor
from failpred_jax.types import DatasetInfo

SCORES = ('mcp', 'confidnet')


def main() -> None:
    """Print images a second of both, and the median of the paired ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--model', default='small_convnet_mnist')
    parser.add_argument('--images', type=int, default=4096)
    parser.add_argument('--batch', type=int, default=512)
    parser.add_argument('--rounds', type=int, default=7)
    given = parser.parse_args()

    info = DatasetInfo('random', 'classification', (28, 28, 1), tuple('0123456789'))
    # The convnet of configs/mnist.py, or the MLP of configs/mnist_mlp.py.
    config = Config(
        data=DataConfig(source='digits', mean=(0.1307,), std=(0.3081,)),
        model=ModelConfig(name=given.model),
        evaluate=EvaluateConfig(batch_size=given.batch),
    )
    network = make_network(config.model, info)
    params, batch_stats = network.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    maps = {name: fit_confidence(rng.random(1000), rng.random(1000) < 0.8, 'platt') for name in SCORES}
    weights = Weights((params, batch_stats), None, True)
    predictor = Predictor(FinishedRun(Path(), config, info, weights, Fits(SCORES, {}, {}, maps)))
    images = rng.integers(0, 256, (given.images, *info.image_shape), np.uint8)

    def forward(batch: jax.Array) -> tuple:
        with compiler.full_precision():
            found, _ = network.apply(params, batch_stats, batch, with_confidence=True)
        return found.logits, found.confidence_logit

    bare = jax.jit(forward, compiler_options=compiler.options())
    batch = jnp.asarray(images[: given.batch], jnp.float32) / 255
    num_batches = -(-given.images // given.batch)

    def time_bare() -> float:
        began = time.perf_counter()
        for _ in range(num_batches):
            found = bare(batch)
        jax.block_until_ready(found)
        return time.perf_counter() - began

    def time_predictor() -> float:
        began = time.perf_counter()
        predictor.predict(images, scores=SCORES)
        return time.perf_counter() - began

    time_bare(), time_predictor()
    pairs = [(time_bare(), time_predictor()) for _ in range(given.rounds)]
    ratios = [alone / whole for alone, whole in pairs]
    alone, whole = (given.images / np.median(side) for side in zip(*pairs, strict=True))
    print(
        f'{given.model}, batch {given.batch}, {jax.device_count()} {jax.default_backend()} device(s): bare '
        f'{alone:,.0f} images/s, predict {whole:,.0f} images/s; ratio {np.median(ratios):.2f} (median of '
        f'{given.rounds} pairs, {min(ratios):.2f} to {max(ratios):.2f})'
    )


if __name__ == '__main__':
    main()
