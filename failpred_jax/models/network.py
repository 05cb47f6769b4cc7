"""A network as four sub-trees of parameters, and the only way the other rooms run it.

`backbone` makes features of images, `classifier` logits of features, `head` a confidence logit of features, and
`encoder` is a second backbone that fine-tuning gives the head for its own. What trains, where dropout is
on and where BatchNorm uses batch statistics are sets of these names, so this file knows no stage.
"""

import zlib
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen

from failpred_jax.config import ModelConfig
from failpred_jax.errors import UserError
from failpred_jax.models.layers import EVAL, Mode
from failpred_jax.registry import MODELS
from failpred_jax.types import Array, Cached, DatasetInfo, Outputs, PyTree

# What two sub-trees were first called: a seed keeps drawing the parameters and the dropout that it always drew.
_FIRST_NAMES = {'backbone': 'trunk', 'classifier': 'top'}


@dataclass(frozen=True)
class Architecture:
    """What an architecture's factory returns.

    Attributes:
      backbone: images -> features; has `prefix` (all before the first dropout), `suffix` (the rest) and the attribute
        `dropout` (whether it has any). Calling it is `suffix(prefix(images))`.
      classifier: features -> logits.
      head: features -> confidence logit.
    """

    backbone: linen.Module
    classifier: linen.Module
    head: linen.Module


@dataclass(frozen=True)
class Network:
    """A network without its parameters: immutable and hashable, to be closed over by compiled functions.

    Attributes:
      architecture: the modules.
      image_shape: (H, W, channels) of the images it was made for.
    """

    architecture: Architecture
    image_shape: tuple[int, int, int]

    @property
    def has_dropout(self) -> bool:
        """Whether repeated passes with dropout differ at all."""
        return self.architecture.backbone.dropout

    def init(self, key: Array) -> tuple[PyTree, PyTree]:
        """Return fresh parameters and BatchNorm statistics; each sub-tree depends on the key and its own shape only.

        Returns:
          params: {'backbone', 'classifier', 'head'} of nested dicts, float32.
          batch_stats: the same for running statistics, without the sub-trees that have no BatchNorm.
        """
        image = jax.ShapeDtypeStruct((1, *self.image_shape), jnp.float32)
        params, batch_stats = {}, {}

        def add(name: str, inputs: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
            # lazy_init runs the initializers but never the layers, which for a segmenter would take seconds.
            module = self._module(name)
            variables = module.lazy_init(_subkey(key, name), inputs)
            params[name] = variables['params']
            if 'batch_stats' in variables:
                batch_stats[name] = variables['batch_stats']
            return jax.eval_shape(module.apply, variables, inputs)

        features = add('backbone', image)
        add('classifier', features)
        add('head', features)
        return params, batch_stats

    def apply(
        self,
        params: PyTree,
        batch_stats: PyTree,
        images: Array | None,
        *,
        cached: Cached = Cached(),  # noqa: B008  (immutable)
        dropout_key: Array | None = None,
        dropout_in: Set[str] = frozenset(),
        batch_norm_in: Set[str] = frozenset(),
        with_confidence: bool = False,
        mask: Array | None = None,
        axis_name: str | None = None,
    ) -> tuple[Outputs, PyTree]:
        """Run the network on images.

        Args:
          params: {'backbone', 'classifier', 'head'} and perhaps 'encoder'.
          batch_stats: running statistics of the same sub-trees, where they have any.
          images: [B, H, W, channels] float32, normalized; may be None where nothing reads them.
          cached: of these images: taken as given instead of computed.
          dropout_key: one PRNG key; every sub-tree in `dropout_in` folds its name into it.
          dropout_in: sub-trees whose dropout is active.
          batch_norm_in: sub-trees whose BatchNorm uses batch statistics and updates the running ones.
          with_confidence: whether to run the head: on `encoder`'s features if params has one, else on the backbone's,
            through which no gradient flows back.
          mask: [B] bool of the images that count in batch statistics; None counts all.
          axis_name: the mapped axis over which batch statistics are taken, or None for this device alone.

        Returns:
          Outputs in float32, and batch_stats with the sub-trees of `batch_norm_in` updated, all others as given.
        """
        new_stats = dict(batch_stats)

        def run(name: str, inputs: Any, method: str = '__call__') -> Any:
            mode = Mode(name in dropout_in, name in batch_norm_in, mask, axis_name)
            output, new_stats_of = self._run(name, params, batch_stats, inputs, mode, dropout_key, method)
            if new_stats_of:
                new_stats[name] = new_stats_of
            return output

        if cached.features is not None:
            features = cached.features
        elif cached.hidden is not None:
            features = run('backbone', cached.hidden, 'suffix')
        else:
            features = run('backbone', images)
        logits = run('classifier', features) if cached.logits is None else cached.logits
        confidence_logit = None
        if with_confidence:
            seen = run('encoder', images) if 'encoder' in params else jax.lax.stop_gradient(features)
            confidence_logit = run('head', seen)
        return _in_float32(logits, features, confidence_logit), new_stats

    def prefix(self, params: PyTree, batch_stats: PyTree, images: Array) -> PyTree:
        """Return what comes before the backbone's first dropout: a pytree of [B, ...], the same every time.

        Args:
          params: with 'backbone'.
          batch_stats: with 'backbone' if it has BatchNorm, whose running statistics are used.
          images: [B, H, W, channels] float32, normalized.
        """
        return self._run('backbone', params, batch_stats, images, EVAL, None, method='prefix')[0]

    def suffix(
        self,
        params: PyTree,
        batch_stats: PyTree,
        hidden: PyTree,
        dropout_key: Array | None = None,
        with_confidence: bool = False,
    ) -> Outputs:
        """Return the outputs from what `prefix` returned; equal to `apply` of the images with the same key.

        Args:
          params: with 'backbone' and 'classifier', and 'head' if `with_confidence`.
          batch_stats: running statistics of the same.
          hidden: from `prefix`.
          dropout_key: turns on dropout in 'backbone' and 'classifier'; None leaves it off.
          with_confidence: whether to run the head on the backbone's features. An 'encoder' is not looked at.
        """
        mode = Mode(dropout=dropout_key is not None)
        features, _ = self._run('backbone', params, batch_stats, hidden, mode, dropout_key, method='suffix')
        logits, _ = self._run('classifier', params, batch_stats, features, mode, dropout_key)
        confidence_logit = None
        if with_confidence:
            seen = jax.lax.stop_gradient(features)
            confidence_logit, _ = self._run('head', params, batch_stats, seen, EVAL, None)
        return _in_float32(logits, features, confidence_logit)

    def precompute(self, params: PyTree, batch_stats: PyTree, images: Array, names: Set[str]) -> Cached:
        """Return the fields of Cached in `names`, of images, in evaluation mode; the others are None.

        Args:
          params, batch_stats, images: as in `prefix`, and with 'classifier' for 'logits'.
          names: some of 'hidden', 'features' and 'logits'.
        """
        hidden = self.prefix(params, batch_stats, images)
        features, _ = self._run('backbone', params, batch_stats, hidden, EVAL, None, method='suffix')
        logits, _ = self._run('classifier', params, batch_stats, features, EVAL, None)
        # What is not asked for is not computed: the compiler drops it.
        fields = Cached(hidden, features, logits.astype(jnp.float32))._asdict()
        return Cached(**{name: value for name, value in fields.items() if name in names})

    def with_encoder(self, params: PyTree, batch_stats: PyTree) -> tuple[PyTree, PyTree]:
        """Return params and batch_stats with 'encoder', a copy of 'backbone', added."""
        params = {**params, 'encoder': jax.tree.map(jnp.copy, params['backbone'])}
        if 'backbone' in batch_stats:
            batch_stats = {**batch_stats, 'encoder': jax.tree.map(jnp.copy, batch_stats['backbone'])}
        return params, batch_stats

    def _module(self, name: str) -> linen.Module:
        return getattr(self.architecture, 'backbone' if name == 'encoder' else name)

    def _run(
        self,
        name: str,
        params: PyTree,
        batch_stats: PyTree,
        inputs: Any,
        mode: Mode,
        dropout_key: Array | None,
        method: str = '__call__',
    ) -> tuple[Any, PyTree]:
        """Return a sub-tree's output, and its new running statistics (empty unless mode.batch_norm)."""
        variables = {'params': params[name], 'batch_stats': batch_stats.get(name, {})}
        rngs = {}
        if mode.dropout:
            if dropout_key is None:
                raise ValueError(f"dropout is on in '{name}' but no dropout_key was given")
            rngs = {'dropout': _subkey(dropout_key, name)}
        mutable = ['batch_stats'] if mode.batch_norm else []
        output, updated = self._module(name).apply(variables, inputs, mode, rngs=rngs, mutable=mutable, method=method)
        return output, updated.get('batch_stats', {})


def make_network(model: ModelConfig, info: DatasetInfo) -> Network:
    """Return the network that the config names, for images and classes of a data set.

    Raises:
      UserError: an unknown name, a data set whose images are too small, or a task the architecture is not for.
    """
    _check_fits(model.name, info)
    return Network(MODELS[model.name](model, model.options_of(model.name), info), info.image_shape)


def _check_fits(name: str, info: DatasetInfo) -> None:
    """Raise UserError unless the data set has the task and the image size that the architecture declares."""
    task, min_size = MODELS.fact(name, 'task'), MODELS.fact(name, 'min_size')
    if info.task != task:
        others = [other for other in MODELS if MODELS.fact(other, 'task') == info.task]
        raise UserError(
            f"model '{name}' is for {task}, but data set '{info.name}' is for {info.task}; "
            f'set config.model.name to one of: {", ".join(others)}'
        )
    height, width, _ = info.image_shape
    if min(height, width) < min_size:
        smaller = [
            other
            for other in MODELS
            if MODELS.fact(other, 'task') == task and MODELS.fact(other, 'min_size') <= min(height, width)
        ]
        other_models = f', or config.model.name to one of: {", ".join(smaller)}' if smaller else ''
        raise UserError(
            f"model '{name}' needs images of at least {min_size} x {min_size} pixels, but those of '{info.name}' "
            f'are {height} x {width}; set config.data.image_size to a larger size{other_models}'
        )


def _subkey(key: Array, name: str) -> jax.Array:
    # A checksum, not hash(), which differs from process to process.
    return jax.random.fold_in(key, zlib.crc32(_FIRST_NAMES.get(name, name).encode()))


def _in_float32(logits: Array, features: Array, confidence_logit: Array | None) -> Outputs:
    return jax.tree.map(lambda x: x.astype(jnp.float32), Outputs(logits, features, confidence_logit))
