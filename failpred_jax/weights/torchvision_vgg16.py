"""torchvision's VGG16, trained on ImageNet, whose convolutions are those of 'vgg16' and of SegNet's way down."""

from failpred_jax.errors import UserError
from failpred_jax.registry import WEIGHTS
from failpred_jax.weights.format import Found, Place, Source, Target, WeightsFormat
from failpred_jax.weights.torch_layout import convert

# Places of the convolutions in torchvision's `vgg16().features`.
_CONVS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_OURS: dict[str, list[Place]] = {
    'vgg16': [(f'conv{i}',) for i in range(1, 14)],
    'segnet': [(f'down{b}', f'conv{i + 1}') for b, n in enumerate((2, 2, 3, 3, 3), start=1) for i in range(n)],
}


def _recognizes(source: Source, target: Target) -> bool:
    return any(name.startswith('features.') for name in source.arrays)


def _read(source: Source, target: Target) -> Found:
    """Return the convolutions. The classifier is for another image size, so it stays unread and ours fresh."""
    if target.model.name not in _OURS:
        raise UserError(
            f"'{source.path}' holds torchvision's VGG16, but model '{target.model.name}' has no VGG16 encoder; set "
            f'config.model.name to one of: {", ".join(_OURS)}'
        )
    found, shapes, taken = Found(), target.shapes(), set()
    for number, layer in zip(_CONVS, _OURS[target.model.name], strict=True):
        for ours, theirs in (('kernel', 'weight'), ('bias', 'bias')):
            name, place = f'features.{number}.{theirs}', ('backbone', *layer, ours)
            taken.add(name)
            if name not in source.arrays:
                found.problems.append(f'missing: {name}')
            elif target.wants(place):
                convert(found, name, source.arrays[name], place, shapes[place], None)
    found.problems += [
        f'unexpected: {name}' for name in source.arrays if name not in taken and not name.startswith('classifier.')
    ]
    found.notes.append('its convolutions alone: all other layers start afresh')
    return found


WEIGHTS.register('torchvision_vgg16')(WeightsFormat("torchvision's VGG16", _recognizes, _read))
