"""What a network says of a few test images, by which a run knows code again that it does not hold itself.

The parameters of a run are in its WORKDIR, and so is the digest of each checkpoint. What a factory of somebody's own
(config.model.custom.factory) makes of them is in a module that may be edited afterwards: relu becomes tanh, no shape
differs, and every calibration and threshold is one of another network. So the evaluation keeps a few images with their
outputs, and who loads the run compares.
"""

import math
from collections.abc import Mapping

import jax
import numpy as np

from failpred_jax.config import ModelConfig
from failpred_jax.console import say
from failpred_jax.errors import UserError
from failpred_jax.evaluate.collect import Reader, Weights, collect
from failpred_jax.evaluate.parts import Part, PixelStream
from failpred_jax.models.given import misfits
from failpred_jax.models.network import Network
from failpred_jax.registry import MODELS
from failpred_jax.scores.score import ScoreInputs
from failpred_jax.types import Examples

# Of ScoreInputs: what does not depend on a random draw.
FIELDS = ('logits', 'features', 'confidence_logit', 'finetuned_logit')
IMAGES = 'images'
_MOST_IMAGES, _MOST_BYTES, _MOST_PIXELS = 8, 2**23, 256
# Differences, as shares of the range of a field. Of float32, other devices and batch sizes differ by some 1e-5; of
# networks that compute with bfloat16, by some 1e-3.
TOLD, REFUSED = 1e-3, 2e-2
_WORDS = {
    'logits': 'logits',
    'features': 'features',
    'confidence_logit': 'outputs of the confidence head',
    'finetuned_logit': 'outputs of the fine-tuned head',
}
_REMEDY = (
    'Restore the code that the run was made with, whose fits and calibrations these are, or train and evaluate the new '
    'one in a WORKDIR of its own'
)


def is_made_elsewhere(model: ModelConfig) -> bool:
    """Return whether the code of a model is no part of this package, so that it may change without its version."""
    if model.name == 'custom':
        return True
    return not getattr(MODELS[model.name], '__module__', '').startswith('failpred_jax.')


def take_probe(test: Part | PixelStream, examples: Examples) -> dict[str, np.ndarray]:
    """Return a few test images with what the network says of them: 'images', and those of FIELDS that were computed.

    Args:
      test: the test units, of images as the network's outputs, of pixels as the pass that gives them.
      examples: the test images.
    """
    assert examples.images is not None
    total, size = len(examples.labels), max(1, int(np.prod(examples.images.shape[1:])))
    count = min(_MOST_IMAGES, max(1, _MOST_BYTES // size), total)
    # From all over the set, which is often in the order of its classes.
    rows = np.linspace(0, total - 1, count).astype(int)
    images = np.asarray(examples.images[rows])
    if isinstance(test, PixelStream):
        inputs = collect(test.reader, Examples(images, np.asarray(examples.labels[rows])), 'keeping a few outputs')
        return {IMAGES: images, **_outputs(inputs)}
    return {IMAGES: images} | {name: values[rows] for name, values in _outputs(test.inputs).items()}


def check_unchanged(probe: Mapping[str, np.ndarray], reader: Reader, model: ModelConfig) -> None:
    """Compare what a network says of a few images with what it said in the evaluation.

    Args:
      probe: from `take_probe`; empty of a run whose evaluation took none.
      reader: the pass over data.
      model: that it belongs to.

    Raises:
      UserError: the network is another one. Differences that may be rounding, but are large for that, are told.
    """
    if not probe:
        return
    images = probe[IMAGES]
    inputs = collect(reader, Examples(images, np.zeros(len(images), np.int32)), 'comparing with the evaluation')
    found = _outputs(inputs)
    differences = {name: _difference(values, probe[name]) for name, values in found.items() if name in probe}
    field = max(differences, key=lambda name: differences[name])
    share = differences[field]
    if share <= TOLD:
        return
    percent = f'{100 * share:,.0f}' if share >= 1 else f'{100 * share:.2g}'
    what = f'by up to {percent} % of their range' if math.isfinite(share) else 'in shape, or by NaN'
    said = (
        f'the network that {_named(model)} makes now is not the one that was evaluated: of {len(images)} test images '
        f'that the evaluation kept, the {_WORDS[field]} differ {what}'
    )
    if share > REFUSED:
        raise UserError(f'{said}. {_REMEDY}')
    say(f'WARNING: {said}, which is much for rounding. Does it compute with bfloat16? Otherwise: {_REMEDY}')


def check_fits(network: Network, weights: Weights, model: ModelConfig) -> None:
    """Raise a UserError unless a network of somebody's own takes the parameters of a run; what does not is named."""
    if not is_made_elsewhere(model):
        # Ours are of the version that the run names; to trace one takes its time.
        return
    params, batch_stats = weights.classifier
    wanted = jax.eval_shape(network.init, jax.random.key(0))
    have = {'params': params, 'batch_stats': batch_stats}
    lines = misfits(have, {'params': wanted[0], 'batch_stats': wanted[1]})
    if lines:
        raise UserError(
            '\n'.join([f'the network that {_named(model)} makes now does not take the parameters of the run:', *lines])
            + f'\n{_REMEDY}'
        )


def _named(model: ModelConfig) -> str:
    factory = getattr(model.options_of(model.name), 'factory', '')
    return f"config.model.custom.factory='{factory}'" if factory else f"the model '{model.name}'"


def _outputs(inputs: ScoreInputs) -> dict[str, np.ndarray]:
    """Return the fields that are there, [n, ...]; of maps [n, H, W, ...] a grid of pixels."""
    _, *size, _ = np.shape(inputs.logits)
    step = math.ceil(math.sqrt(math.prod(size) / _MOST_PIXELS))
    grid = (slice(None), *[slice(None, None, step)] * len(size))
    found = {name: getattr(inputs, name) for name in FIELDS}
    return {name: np.asarray(values)[grid] for name, values in found.items() if values is not None}


def _difference(now: np.ndarray, before: np.ndarray) -> float:
    """Return the largest difference as a share of the range of the values before; inf where they cannot be compared."""
    known = np.isfinite(before)
    if now.shape != before.shape or not np.array_equal(np.isfinite(now), known):
        return math.inf
    if not known.any():
        return 0.0
    now, before = now[known].astype(np.float64), before[known].astype(np.float64)
    # Values that are all alike have no range, but a size.
    scale = max(float(np.ptp(before)), 1e-6 * float(np.abs(before).max()), float(np.finfo(np.float32).tiny))
    return float(np.abs(now - before).max()) / scale
