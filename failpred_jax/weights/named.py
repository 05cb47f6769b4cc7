"""A file of named arrays, whose names are those of the network's leaves, or become them by the user's rules.

'backbone/conv1/kernel' is a name of ours, for an array in our layout. 'backbone.conv1.weight', with PyTorch's names for
the leaves, is an array in PyTorch's layout.
"""

import re

from failpred_jax.registry import WEIGHTS
from failpred_jax.weights.format import Found, Place, Source, Target, WeightsFormat
from failpred_jax.weights.torch_layout import LEAVES, convert, flattened

_SEPARATORS = re.compile(r'[/.]')


def _recognizes(source: Source, target: Target) -> bool:
    shapes = target.shapes()
    return source.is_renamed or any(_place_of(name, shapes)[0] in shapes for name in source.arrays)


def _read(source: Source, target: Target) -> Found:
    found, shapes = Found(), target.shapes()
    taken: dict[Place, str] = {}
    for name, array in source.arrays.items():
        place, is_torch = _place_of(name, shapes)
        if place not in shapes or place[0] not in ('backbone', 'classifier'):
            found.problems.append(f'unexpected: {name}')
        elif place in taken:
            found.problems.append(f'twice: {taken[place]} and {name}')
        else:
            taken[place] = name
            if not target.wants(place):
                continue
            if is_torch:
                flat = flattened(target.model.name, target.info, place)
                convert(found, name, array, place, shapes[place], flat)
            elif array.shape != shapes[place]:
                found.problems.append(f'wrong shape: {name} is {array.shape}, needed is {shapes[place]}')
            else:
                found.leaves[place] = array
    missing = [place for place in shapes if target.wants(place) and place not in taken]
    found.problems += [f'missing: {"/".join(place)}' for place in missing]
    if found.problems:
        found.problems.append(
            'config.baseline.init_rename changes names, and leaves out an entry whose name becomes empty; '
            'config.baseline.init_only leaves out a part of the network'
        )
    return found


def _place_of(name: str, places: dict[Place, tuple[int, ...]]) -> tuple[Place, bool]:
    """Return the place that a name stands for, which need not exist, and whether PyTorch's layout is meant."""
    *layers, leaf = _SEPARATORS.split(name)
    if leaf != 'bias':
        for ours in LEAVES.get(leaf, ()):
            if (*layers, ours) in places:
                return (*layers, ours), True
    return (*layers, leaf), False


WEIGHTS.register('named')(WeightsFormat('a file of named arrays', _recognizes, _read))
