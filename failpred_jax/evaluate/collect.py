"""From a data set and trained weights to arrays: one pass over the data for everything that scores need."""

import copy
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from failpred_jax import compiler, devices
from failpred_jax.console import phase
from failpred_jax.data.feeding import batches_in_order
from failpred_jax.data.prepare import PrepareFn
from failpred_jax.models.network import Network
from failpred_jax.scores.sampled import add_logits, finish_samples, init_samples
from failpred_jax.scores.score import SampleSummary, ScoreInputs
from failpred_jax.types import Array, Batch, Examples, PyTree


@dataclass(frozen=True)
class Weights:
    """Trained variables of a run, on the host, each as (params, batch_stats).

    Attributes:
      classifier: backbone, classifier and head; the head is untrained where the run has no confidence stage.
      finetuned: the same with the fine-tuned encoder and its head, or None.
      has_head: whether the classifier's head is trained.
      no_head: why it is not, for people.
    """

    classifier: tuple[PyTree, PyTree]
    finetuned: tuple[PyTree, PyTree] | None
    has_head: bool
    no_head: str = 'the run has no confidence stage'


def missing_needs(network: Network, weights: Weights) -> dict[str, str]:
    """Return the fields of ScoreInputs that cannot be had from these weights, each with the reason."""
    missing = {}
    if not weights.has_head:
        missing['confidence_logit'] = weights.no_head
    if weights.finetuned is None:
        missing['finetuned_logit'] = 'the run has no fine-tuning stage'
    if not network.has_dropout:
        missing['mc_dropout'] = 'the network has no dropout to sample'
    return missing


class Reader:
    """The compiled pass over data from which everything that scores need comes.

    What it returns does not depend on the batch size or the number of devices: a dropout pass draws from a key of its
    own for each example.

    Args:
      network: the network.
      weights: its trained variables.
      prepare_fn: normalizes images.
      needs: fields of ScoreInputs to fill, besides the logits.
      batch_size: examples a pass, over all devices.
      mc_samples: T, for 'mc_dropout'.
      key: of the dropout passes.
    """

    def __init__(
        self,
        network: Network,
        weights: Weights,
        prepare_fn: PrepareFn,
        needs: Set[str],
        batch_size: int,
        mc_samples: int,
        key: Array,
    ):
        self.batch_size = batch_size
        self._forward = devices.map_over_devices(make_forward(network, prepare_fn, needs, mc_samples), shared=(5,))
        self._classifier = devices.replicate(weights.classifier)
        self._finetuned = devices.replicate(weights.finetuned if 'finetuned_logit' in needs else None)
        self._key_data = jax.random.key_data(key)

    def with_key(self, key: Array) -> 'Reader':
        """Return the same compiled pass with another key of the dropout passes."""
        other = copy.copy(self)
        other._key_data = jax.random.key_data(key)
        return other

    def batches(
        self, examples: Examples, numbers: np.ndarray | None = None, places: np.ndarray | None = None
    ) -> Iterator[tuple[ScoreInputs, int]]:
        """Yield (what scores read of a batch, on the host, and the number of real examples in it), in order.

        Args:
          examples: N of them.
          numbers: [N] int32, which numbers the examples go by in the keys of dropout; None for 0 to N - 1.
          places: [N, P] int32, which pixels of each image to return, counted row by row; None for all.

        Yields:
          Fields of shape [B, ...] for images, [B, H, W, ...] for pixels, [B, P, ...] with `places`. The last batch is
          padded to B rows like all others.
        """
        numbers = np.arange(len(examples.labels)) if numbers is None else numbers
        start = 0
        # The devices are given a batch before the one that they finished is fetched and looked at.
        ahead: tuple[ScoreInputs, int] | None = None
        for batch, real in batches_in_order(examples, self.batch_size):
            rows = np.full(self.batch_size, start)
            rows[:real] += np.arange(real)
            of_batch = (numbers[rows].astype(np.int32), None if places is None else places[rows])
            own, picked = devices.shard(jax.tree.map(devices.local_part, of_batch))
            found = self._forward(self._classifier, self._finetuned, batch, own, picked, self._key_data)
            if ahead is not None:
                yield devices.gather(ahead[0]), ahead[1]
            ahead = found, real
            start += real
        if ahead is not None:
            yield devices.gather(ahead[0]), ahead[1]


def collect(reader: Reader, examples: Examples, what: str = 'running the network') -> ScoreInputs:
    """Return what scores read of a whole data set: fields [N, ...], on the host, in the order of the examples.

    Args:
      reader: the pass over data.
      examples: N of them.
      what: what is done, for people.
    """
    parts = []
    with phase(what, len(examples.labels), 'images') as reading:
        for found, real in reader.batches(examples):
            parts.append(jax.tree.map(lambda x, real=real: x[:real], found))
            reading.add(real)
    return jax.tree.map(lambda *columns: np.concatenate(columns), *parts)


def make_forward(
    network: Network, prepare_fn: PrepareFn, needs: Set[str], mc_samples: int
) -> Callable[..., ScoreInputs]:
    """Return the pass over a batch, written for one device; see `Reader`.

    It takes (classifier, finetuned, batch, numbers, places, key data) and returns ScoreInputs.
    """

    def forward(
        classifier: PyTree, finetuned: PyTree, batch: Batch, numbers: Array, places: Array | None, key_data: jax.Array
    ) -> ScoreInputs:
        params, batch_stats = classifier
        # Nothing is cached in an evaluation, so images are there.
        assert batch.image is not None
        images, _ = prepare_fn(None, batch.image, batch.label)
        hidden = network.prefix(params, batch_stats, images)
        outputs = network.suffix(params, batch_stats, hidden, with_confidence='confidence_logit' in needs)
        finetuned_logit = None
        if 'finetuned_logit' in needs:
            # The classifier inside is the same one; what is not asked for is not computed.
            own_params, own_stats = finetuned
            finetuned_logit = network.apply(own_params, own_stats, images, with_confidence=True)[0].confidence_logit
        mc_dropout = None
        if 'mc_dropout' in needs:
            keys = jax.vmap(lambda number: jax.random.fold_in(jax.random.wrap_key_data(key_data), number))(numbers)
            mc_dropout = _sample(network, params, batch_stats, hidden, keys, mc_samples)
        found = ScoreInputs(
            logits=outputs.logits,
            features=outputs.features if 'features' in needs else None,
            confidence_logit=outputs.confidence_logit,
            finetuned_logit=finetuned_logit,
            mc_dropout=mc_dropout,
        )
        return found if places is None else jax.tree.map(lambda x: _pick(x, places), found)

    def forward_in_full_precision(*args: Any) -> ScoreInputs:
        with compiler.full_precision():
            return forward(*args)

    return forward_in_full_precision


def _pick(x: Array, places: Array) -> Array:
    """Return pixels [B, P] of maps [B, H, W, ...]: [B, P, ...]."""
    return jax.vmap(lambda pixels, at: pixels.reshape(-1, *x.shape[3:])[at])(x, places)


def _sample(
    network: Network, params: PyTree, batch_stats: PyTree, hidden: PyTree, keys: Array, num_samples: int
) -> SampleSummary:
    """Return the summary of T dropout passes; only what follows the first dropout runs T times."""

    def one(hidden: PyTree, key: Array) -> Array:
        batched = jax.tree.map(lambda x: x[None], hidden)
        return network.suffix(params, batch_stats, batched, key).logits[0]

    def body(t: Array, samples: PyTree) -> PyTree:
        pass_keys = jax.vmap(lambda key: jax.random.fold_in(key, t))(keys)
        return add_logits(samples, jax.vmap(one)(hidden, pass_keys))

    shape = jax.eval_shape(lambda h: network.suffix(params, batch_stats, h).logits, hidden).shape
    samples = jax.lax.fori_loop(0, num_samples, body, init_samples(shape))
    return finish_samples(samples)
