"""The start of a baseline from weights that are there already (config.baseline.init_from)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax import traverse_util

from failpred_jax import processes
from failpred_jax.config import Config
from failpred_jax.console import say
from failpred_jax.errors import UserError
from failpred_jax.registry import WEIGHTS
from failpred_jax.types import DatasetInfo, PyTree
from failpred_jax.weights.files import read_arrays
from failpred_jax.weights.format import Found, Source, Target, WeightsFormat

CLASSIFIER = frozenset({'backbone', 'classifier'})


def start_from(config: Config, info: DatasetInfo, params: PyTree, batch_stats: PyTree) -> tuple[PyTree, PyTree]:
    """Return fresh parameters and BatchNorm statistics with the weights of config.baseline.init_from in their places.

    Process 0 alone reads them; every process calls this.

    Args:
      config: the experiment.
      info: its data set.
      params: {'backbone', 'classifier', ...}, as `Network.init` gives them; not changed.
      batch_stats: the same for running statistics.

    Raises:
      UserError: the file or folder cannot be read or is of no known format; entries are missing, unexpected or of
        another shape, all of them named; or the classifier is not to be trained (config.baseline.epochs=0) and the
        weights are not all of it.
    """
    baseline = config.baseline
    target = Target(config.model, info, params, batch_stats, frozenset(baseline.init_only) or CLASSIFIER, config.data)
    words, found = processes.from_main(lambda: _read(baseline.init_from, baseline.init_rename, target))
    if baseline.epochs == 0:
        _check_is_whole(found, target, baseline.init_from)
    say(f'baseline: starts from {baseline.init_from} ({"; ".join([words, *found.notes])})')
    return _filled(params, found.leaves), _filled(batch_stats, found.leaves)


def _read(path: str, rules: tuple[str, ...], target: Target) -> tuple[str, Found]:
    source = _open(path, rules)
    chosen = _recognize(source, target)
    found = chosen.read(source, target)
    found.raise_if_wrong(path, f'{target.words()}, read as {chosen.words}')
    return chosen.words, found


def _open(path: str, rules: tuple[str, ...]) -> Source:
    if Path(path).is_dir():
        if rules:
            raise UserError(f"config.baseline.init_rename is for files of named arrays, but '{path}' is a folder")
        return Source(path, is_folder=True)
    return Source(path, _renamed(path, read_arrays(path), rules), is_renamed=bool(rules))


def _renamed(path: str, arrays: Mapping[str, Any], rules: tuple[str, ...]) -> dict[str, Any]:
    """Return the arrays by the names that the rules give them; those whose name becomes empty are left out."""
    found: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name, array in arrays.items():
        new = name
        for text in rules:
            pattern, _, replacement = text.rpartition('=')
            try:
                new = re.sub(pattern, replacement, new)
            except (re.error, IndexError) as error:
                raise UserError(
                    f"config.baseline.init_rename has '{text}', which cannot be applied: {error}"
                ) from error
        if new in found:
            raise UserError(
                f"config.baseline.init_rename gives '{origin[new]}' and '{name}' of '{path}' the same name, '{new}'"
            )
        if new:
            found[new], origin[new] = array, name
    return found


def _recognize(source: Source, target: Target) -> WeightsFormat:
    formats = {name: WEIGHTS[name] for name in WEIGHTS}
    matching = [f for f in formats.values() if f.recognizes(source, target)]
    if len(matching) == 1:
        return matching[0]
    names = list(source.arrays)
    shown = ', '.join(names[:6]) + (f' and {len(names) - 6} more' if len(names) > 6 else '')
    what = ' or '.join(f.words for f in (matching or formats.values()))
    raise UserError(
        f"config.baseline.init_from is '{source.path}', which {'may be' if matching else 'is not'} {what} for "
        f"{target.words()}; its arrays are {shown}. Give them the network's own names, such as "
        "'backbone/conv1/kernel' (or 'backbone.conv1.weight' for PyTorch's layout), with config.baseline.init_rename; "
        'docs/importing.md has an example'
    )


def _check_is_whole(found: Found, target: Target, path: str) -> None:
    missing = ['/'.join(p) for p in target.shapes() if p[0] in CLASSIFIER and p not in found.leaves]
    if missing:
        more = f' and {len(missing) - 5} more' if len(missing) > 5 else ''
        raise UserError(
            f"config.baseline.epochs is 0, but '{path}' does not give the whole classifier: {', '.join(missing[:5])}"
            f'{more} would stay untrained; set the epochs above 0, or start from a finished classifier'
        )


def _filled(tree: PyTree, leaves: Mapping[tuple[str, ...], Any]) -> PyTree:
    flat = traverse_util.flatten_dict(tree)
    return traverse_util.unflatten_dict({place: leaves.get(place, leaf) for place, leaf in flat.items()})
