"""Anybody's network as the classifier: a Flax module, linen or nnx, or a plain function, named in the config.

Its call takes images and returns features and logits together, so it is a backbone whose output holds both
(`network.Joint`), and the classifier's own sub-tree is empty. A linen module can be trained here; every kind can be the
frozen classifier under a confidence head (config.baseline.epochs=0).
"""

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx

from failpred_jax.config import ModelConfig
from failpred_jax.errors import UserError, line_of
from failpred_jax.models.given import Given, as_variables, read_variables
from failpred_jax.models.heads import ConvHead, DenseHead
from failpred_jax.models.layers import EVAL, Mode
from failpred_jax.models.mlp import MlpOptions, make_mlp
from failpred_jax.models.network import ANY_TASK, Architecture, Joint
from failpred_jax.options import option
from failpred_jax.registry import MODELS
from failpred_jax.terminal import first_line
from failpred_jax.types import Array, DatasetInfo

# How modules of linen are told that they are being trained, and with what value.
_TOLD = {'train': True, 'training': True, 'is_training': True, 'deterministic': False}
_WHAT = 'a Flax linen module, a Flax nnx module, or a function of images'


@dataclass(frozen=True)
class CustomOptions:
    """Options of this model."""

    factory: str = option('', f"'package.module:name' of what makes it: returns {_WHAT}")
    params: str = option(
        '',
        'file or folder of its parameters: msgpack, orbax, safetensors or npz; the classifier is then frozen or '
        'goes on',
    )
    has_dropout: bool = option(False, 'it has dropout, so that repeated passes differ while it is on (linen)')

    def problems(self, path: str) -> Iterator[str]:
        """Yield what cannot work."""
        if ':' not in self.factory:
            yield (
                f"{path}.factory is '{self.factory}'; it must be 'package.module:name', such as 'my_pkg.my_model:make'"
            )


class LinenBackbone(linen.Module):
    """A module of linen whose call returns (features, logits), of images or of pixels: [B, H, W, channels] -> Joint."""

    inner: linen.Module
    dropout: bool = False

    def prefix(self, images: Array, mode: Mode = EVAL) -> Array | Joint:
        return images if self.dropout else self._whole(images, mode)

    def suffix(self, hidden: Array | Joint, mode: Mode = EVAL) -> Joint:
        return hidden if isinstance(hidden, Joint) else self._whole(hidden, mode)

    def __call__(self, images: Array, mode: Mode = EVAL) -> Joint:
        return self.suffix(self.prefix(images, mode), mode)

    def _whole(self, images: Array, mode: Mode) -> Joint:
        is_training = mode.batch_norm or (mode.dropout and self.dropout)
        known = inspect.signature(type(self.inner).__call__).parameters
        flags = {name: value if is_training else not value for name, value in _TOLD.items() if name in known}
        return as_joint(self.inner(images, **flags))


class GivenBackbone(linen.Module):
    """A function of parameters and images that is never trained as a classifier: [B, H, W, channels] -> Joint.

    Attributes:
      function: (parameters, other state, images) -> (features, logits).
      given: its parameters, which are this module's too, under the same names.
    """

    function: Callable[[Any, Any, Array], Any]
    given: Given
    dropout: bool = False

    @linen.compact
    def prefix(self, images: Array, mode: Mode = EVAL) -> Joint:
        params = {name: self.param(name, lambda _, v=v: jnp.asarray(v)) for name, v in self.given.flat().items()}
        return as_joint(self.function(self.given.nested(params), self.given.state, images))

    def suffix(self, hidden: Joint, mode: Mode = EVAL) -> Joint:
        return hidden

    def __call__(self, images: Array, mode: Mode = EVAL) -> Joint:
        return self.suffix(self.prefix(images, mode), mode)


class NoClassifier(linen.Module):
    """The classifier of a network whose backbone makes its logits itself."""

    @linen.compact
    def __call__(self, features: Array, mode: Mode = EVAL) -> Array:
        raise ValueError('the logits of a custom network come with its features')


def as_joint(found: Any) -> Joint:
    """Return what a network returned as (features [..., D], logits [..., C]), of images [B] or of pixels [B, H, W].

    Raises:
      UserError: it returned something else.
    """
    if isinstance(found, Mapping) and {'features', 'logits'} <= set(found):
        found = (found['features'], found['logits'])
    if isinstance(found, tuple | list) and len(found) == 2:
        dimensions = {getattr(x, 'ndim', 0) for x in found}
        if dimensions in ({2}, {4}):
            return Joint(found[0], found[1])
    shapes = jax.tree.map(lambda x: getattr(x, 'shape', x), found)
    raise UserError(
        'config.model.custom.factory: the network must return (features [B, D], logits [B, classes]) for images '
        '[B, H, W, channels], and a segmenter (features [B, H, W, D], logits [B, H, W, classes]); it returned '
        f'{shapes}'
    )


@MODELS.register('custom', options=CustomOptions, may_be_given=True, task=ANY_TASK)
def make_custom(model: ModelConfig, options: CustomOptions, info: DatasetInfo) -> Architecture:
    """Return the network that the factory makes, for a data set; without a factory, the multi-layer perceptron.

    The factory may take `num_classes` and `image_shape` by name. It may also return an Architecture.

    Raises:
      UserError: the factory cannot be imported or called, or what it makes is no network for these images and classes.
    """
    if not options.factory:
        # A config is refused without one; this is what a ModelConfig by itself stands for.
        return make_mlp(model, MlpOptions(), info)
    made = _made(options.factory, info)
    if isinstance(made, Architecture):
        return made
    given = read_variables(options.params) if options.params else None
    head, none = _head_of(model, info), NoClassifier()
    if isinstance(made, linen.Module):
        backbone: linen.Module = LinenBackbone(made, options.has_dropout and model.dropout)
        start = None
        if given is not None:
            image = jax.ShapeDtypeStruct((1, *info.image_shape), jnp.float32)
            wanted = jax.eval_shape(backbone.init, jax.random.key(0), image)
            start = as_variables(given, {kind: tree['inner'] for kind, tree in wanted.items()}, options.params)
        architecture = Architecture(backbone, none, head, start=start)
    elif isinstance(made, nnx.Module):
        architecture = Architecture(_of_nnx(made, given, options.params), none, head, is_given=True, can_train=False)
    elif callable(made):
        if given is not None:
            raise UserError(
                f"config.model.custom.params is '{options.params}', but {options.factory} makes a plain function, "
                'which '
                "holds its parameters itself; set it to '', or make a Flax module"
            )
        backbone = GivenBackbone(lambda params, state, images: made(images), Given({}))
        architecture = Architecture(backbone, none, head, is_given=True, can_train=False)
    else:
        raise UserError(
            f'config.model.custom.factory: {options.factory} made a {type(made).__name__}; it must be {_WHAT}'
        )
    _check_outputs(architecture, options, info)
    return architecture


def _head_of(model: ModelConfig, info: DatasetInfo) -> linen.Module:
    dtype = jnp.dtype(model.dtype)
    if info.task == 'segmentation':
        return ConvHead(model.head_channels, dtype)
    return DenseHead(model.head_units, dtype)


def _of_nnx(made: nnx.Module, given: Any, path: str) -> GivenBackbone:
    # What nnx's `eval()` does, a name that is not to be called in any of our files.
    made.set_attributes(deterministic=True, use_running_average=True, raise_if_not_found=False)
    graph, params, state = nnx.split(made, nnx.Param, ...)
    own = nnx.to_pure_dict(params)
    if given is not None:
        own = as_variables(given, {'params': own}, path)['params']

    def function(values: Any, rest: Any, images: Array) -> Any:
        filled = jax.tree.map(lambda x: x, params)
        nnx.replace_by_pure_dict(filled, values)
        return nnx.merge(graph, filled, rest)(images)

    return GivenBackbone(function, Given(own, state))


def _made(factory: str, info: DatasetInfo) -> Any:
    """Import the user's factory and call it."""
    module_name, _, name = factory.partition(':')
    if os.getcwd() not in sys.path and '' not in sys.path:
        # `python -m` looks there, and a console script should not differ.
        sys.path.append(os.getcwd())
    try:
        made: Any = importlib.import_module(module_name)
        for part in name.split('.'):
            made = getattr(made, part)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"config.model.custom.factory is '{factory}', which cannot be imported ({error}); it must be "
            "'package.module:name' of a function that Python finds from here (PYTHONPATH)"
        ) from error
    except Exception as error:
        raise UserError(_failed(factory, error)) from error
    # A class of nnx has a metaclass, whose call tells nothing.
    known = inspect.signature(made.__init__ if inspect.isclass(made) else made).parameters
    wanted = {'num_classes': info.num_classes, 'image_shape': info.image_shape}
    given = {key: value for key, value in wanted.items() if key in known}
    try:
        inspect.signature(made).bind(**given)
    except TypeError as error:
        raise UserError(
            f'config.model.custom.factory: {factory} cannot be called ({error}); it may take num_classes and '
            'image_shape, and nothing else without a default'
        ) from error
    try:
        return made(**given)
    except Exception as error:
        raise UserError(_failed(factory, error)) from error


def _failed(factory: str, error: Exception) -> str:
    """Return in which line of their own module a factory failed, or what it made, and why."""
    module = factory.partition(':')[0]
    file = getattr(sys.modules.get(module), '__file__', None)
    if module not in sys.modules:  # it failed while it was imported
        spec = importlib.util.find_spec(module)
        file = spec and spec.origin
    file = file or module
    what = str(error) if isinstance(error, UserError) else f'{type(error).__name__}: {first_line(error)}'
    return f"config.model.custom.factory is '{factory}': '{file}' failed{line_of(error, file)}: {what}"


def _check_outputs(architecture: Architecture, options: CustomOptions, info: DatasetInfo) -> None:
    """Raise a UserError unless the network has one logit for each class."""
    factory = options.factory
    image = jax.ShapeDtypeStruct((2, *info.image_shape), jnp.float32)
    try:
        joint, variables = jax.eval_shape(architecture.backbone.init_with_output, jax.random.key(0), image)
    except UserError:
        raise
    except Exception as error:  # somebody else's code fails in as many ways as there is code
        raise UserError(
            f'{_failed(factory, error)} (the network is called with images {tuple(image.shape)})'
        ) from error
    units = (2, *info.image_shape[:2]) if info.task == 'segmentation' else (2,)
    if joint.logits.shape[:-1] != units or joint.features.shape[:-1] != units:
        what = 'every pixel' if len(units) == 3 else 'every image'
        raise UserError(
            f"config.model.custom.factory: '{info.name}' is for {info.task}, which needs features {(*units, 'D')} and "
            f'logits {(*units, "classes")} of {what} for images {tuple(image.shape)}; the network of {factory} returns '
            f'features {joint.features.shape} and logits {joint.logits.shape}'
        )
    if joint.logits.shape[-1] != info.num_classes:
        raise UserError(
            f'config.model.custom.factory: the network of {factory} has {joint.logits.shape[-1]} logits, but '
            f"'{info.name}' has {info.num_classes} classes"
        )
    if options.has_dropout and 'batch_stats' in variables:
        raise UserError(
            'config.model.custom.has_dropout is True, but the network has BatchNorm, which its one flag for training '
            'would '
            'turn on as well; set it to False'
        )
