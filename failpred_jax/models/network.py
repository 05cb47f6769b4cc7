"""A network as four sub-trees of parameters, and the only way the other rooms run it.

`backbone` makes features of images, `classifier` logits of features, `head` a confidence logit of features, and
`encoder` is a second backbone that fine-tuning gives the head for its own. What trains, where dropout is
on and where BatchNorm uses batch statistics are sets of these names, so this file knows no stage.
"""

import zlib
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen

from failpred_jax.config import ModelConfig
from failpred_jax.errors import UserError
from failpred_jax.models.layers import EVAL, Mode
from failpred_jax.registry import MODELS
from failpred_jax.types import Array, Cached, DatasetInfo, Outputs, PyTree

# Of a model that may be a classifier or a segmenter.
ANY_TASK = ''
# What two sub-trees were first called: a seed keeps drawing the parameters and the dropout that it always drew.
_FIRST_NAMES = {'backbone': 'trunk', 'classifier': 'top'}


class Joint(NamedTuple):
    """What a backbone returns that makes the logits itself; its network's classifier is then empty.

    Attributes:
      features: [B, D], or of pixels [B, H, W, D].
      logits: [B, C], or of pixels [B, H, W, C].
    """

    features: Array
    logits: Array


@dataclass(frozen=True)
class Architecture:
    """What an architecture's factory returns.

    Attributes:
      backbone: images -> features; has `prefix` (all before the first dropout), `suffix` (the rest) and the attribute
        `dropout` (whether it has any). Calling it is `suffix(prefix(images))`.
      classifier: features -> logits.
      head: features -> confidence logit.
      start: what a backbone's variables are before any training, by collection, where they are given; None for fresh
        ones.
      is_given: whether the classifier is a finished one, whatever `start` is.
      can_train: whether the classifier can be trained here.
    """

    backbone: linen.Module
    classifier: linen.Module
    head: linen.Module
    start: PyTree = field(default=None, compare=False)
    is_given: bool = False
    can_train: bool = True


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

    @property
    def is_given(self) -> bool:
        """Whether the classifier is finished before any training."""
        return self.architecture.is_given or self.architecture.start is not None

    @property
    def can_train(self) -> bool:
        """Whether the classifier can be trained here."""
        return self.architecture.can_train

    def init(self, key: Array) -> tuple[PyTree, PyTree]:
        """Return fresh parameters and BatchNorm statistics; each sub-tree depends on the key and its own shape only.

        Returns:
          params: {'backbone', 'classifier', 'head'} of nested dicts, float32.
          batch_stats: the same for running statistics, without the sub-trees that have no BatchNorm.
        """
        image = jax.ShapeDtypeStruct((1, *self.image_shape), jnp.float32)
        params, batch_stats = {}, {}

        def add(name: str, inputs: Any) -> Any:
            # lazy_init runs the initializers but never the layers, which for a segmenter would take seconds.
            module = self._module(name)
            variables = module.lazy_init(_subkey(key, name), inputs)
            if name == 'backbone' and self.architecture.start is not None:
                variables = {kind: {'inner': tree} for kind, tree in self.architecture.start.items()}
            params[name] = variables.get('params', {})
            if 'batch_stats' in variables:
                batch_stats[name] = variables['batch_stats']
            return jax.eval_shape(module.apply, variables, inputs)

        features = add('backbone', image)
        if isinstance(features, Joint):
            params['classifier'], features = {}, features.features
        else:
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
        features, logits = _parted(features, lambda given: run('classifier', given), cached.logits)
        confidence_logit = None
        if with_confidence:
            seen = run('encoder', images) if 'encoder' in params else jax.lax.stop_gradient(features)
            seen = seen.features if isinstance(seen, Joint) else seen
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
        features, logits = _parted(
            features, lambda given: self._run('classifier', params, batch_stats, given, mode, dropout_key)[0]
        )
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
        if isinstance(features, Joint):
            # Nothing makes its logits of its features, so what takes these as given needs those.
            names = {*names, 'logits'} if 'features' in names else names
        features, logits = _parted(
            features, lambda given: self._run('classifier', params, batch_stats, given, EVAL, None)[0]
        )
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
        variables = {'params': params.get(name, {}), 'batch_stats': batch_stats.get(name, {})}
        rngs = {}
        if mode.dropout:
            if dropout_key is None:
                raise ValueError(f"dropout is on in '{name}' but no dropout_key was given")
            rngs = {'dropout': _subkey(dropout_key, name)}
        mutable = ['batch_stats'] if mode.batch_norm else []
        output, updated = self._module(name).apply(variables, inputs, mode, rngs=rngs, mutable=mutable, method=method)
        new_stats = updated.get('batch_stats', {})
        if isinstance(output, Joint) and new_stats and mode.axis_name is not None:
            # Our own BatchNorm agrees with the other devices by itself; other people's does not know of them.
            new_stats = jax.lax.pmean(new_stats, mode.axis_name)
        return output, new_stats


def make_network(model: ModelConfig, info: DatasetInfo) -> Network:
    """Return the network that the config names, for images and classes of a data set.

    Raises:
      UserError: an unknown name, a data set whose images are too small, or a task the architecture is not for.
      ValueError: the architecture's backbone lacks a part that the stages use, which would show only after training.
    """
    _check_fits(model.name, info)
    made = MODELS[model.name](model, model.options_of(model.name), info)
    lacking = [part for part in ('prefix', 'suffix', 'dropout') if not hasattr(made.backbone, part)]
    if lacking:
        raise ValueError(
            f"the backbone of model '{model.name}' has no {' and no '.join(lacking)}; it needs the methods prefix and "
            'suffix, and the field dropout: whether it has any (docs/adding.md)'
        )
    return Network(made, info.image_shape)


def _check_fits(name: str, info: DatasetInfo) -> None:
    """Raise UserError unless the data set has the task and the image size that the architecture declares."""
    task, min_size = MODELS.fact(name, 'task'), MODELS.fact(name, 'min_size')
    if task not in (info.task, ANY_TASK):
        others = [other for other in MODELS if MODELS.fact(other, 'task') in (info.task, ANY_TASK)]
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


def _parted(
    features: Any, classify: Callable[[Array], Array], known_logits: Array | None = None
) -> tuple[Array, Array]:
    """Return features and logits: those given, those that a backbone made itself, or those of the classifier."""
    own = None
    if isinstance(features, Joint):
        features, own = features.features, features.logits
    if known_logits is not None:
        return features, known_logits
    return features, classify(features) if own is None else own


def _in_float32(logits: Array, features: Array, confidence_logit: Array | None) -> Outputs:
    return jax.tree.map(lambda x: x.astype(jnp.float32), Outputs(logits, features, confidence_logit))
