"""`--mode=check`: what the data of an experiment are, and what deserves attention, before anything is trained."""

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from failpred_jax.config import Config
from failpred_jax.console import say
from failpred_jax.data import Data, load_data
from failpred_jax.data.contact_sheet import make_sheet
from failpred_jax.data.look import Remark, class_counts, look_at, pixel_statistics
from failpred_jax.errors import UserError
from failpred_jax.files import whole_file, write_text

# Classes in the printed table; more are in the file.
_PRINTED = 20
CHECK = 'check'


def check(config: Config, workdir: Path, find_obstacles: Callable[[Data], Iterable[str]] = lambda data: ()) -> Path:
    """Print what the data are, and write it with a contact sheet into a new folder `check` of the WORKDIR.

    Nothing is trained, and nothing that is there is changed: where a run has its split, that is looked at; else the
    split that a run would draw.

    Args:
      config: the experiment.
      workdir: where its run lives, or would.
      find_obstacles: returns what would stop a run with these data.

    Returns:
      The folder.

    Raises:
      UserError: the data cannot be loaded, or the folder cannot be written.
    """
    split_file = workdir / 'split.npz'
    data = load_data(config.data, split_file if split_file.exists() else None)
    info = data.info
    parts = data.parts
    counts = {name: class_counts(examples, info) for name, examples in parts.items()}
    height, width, channels = info.image_shape
    lines = [
        f'{info.name}: {info.task}, images of {height} x {width} pixels and {channels} channel(s), '
        f'{info.num_classes} classes',
        *(f'- {name}: {len(examples.labels):,} images' for name, examples in parts.items()),
        *_normalization(config, data),
        '',
    ]
    unit = 'images' if info.task == 'classification' else 'pixels'
    table = [f'| {unit} | ' + ' | '.join(parts) + ' |', '|---' * (len(parts) + 1) + '|']
    table += [
        f'| {name} | ' + ' | '.join(f'{counts[part][i]:,}' for part in parts) + ' |'
        for i, name in enumerate(info.class_names)
    ]
    remarks = [Remark(text) for text in data.warnings]
    known = {remark.text for remark in remarks}
    remarks += [remark for remark in look_at(parts, info, config.data) if remark.text not in known]
    told = [f'- a run would stop with: {why}' for why in find_obstacles(data)]
    told = [*told, *(f'- {remark.text}' for remark in remarks)] or ['- nothing deserves attention']
    for line in [*lines, *table[: _PRINTED + 2]]:
        say(line)
    if info.num_classes > _PRINTED:
        say(f'... and {info.num_classes - _PRINTED} more classes')
    say('\n'.join(['', 'What deserves attention:', *told]))
    folder = _new_folder(workdir)
    write_text(folder / 'check.md', '\n'.join([*lines, *table, '', 'What deserves attention:', *told, '']))
    with whole_file(folder / 'contact_sheet.png') as file:
        make_sheet(parts, info).save(file, 'png')
    say(f'\ncontact sheet: {folder / "contact_sheet.png"}')
    return folder


def _normalization(config: Config, data: Data) -> list[str]:
    mean, std = (_rounded(values) for values in pixel_statistics(data.train))
    line = f'- pixels in [0, 1]: mean {mean}, standard deviation {std} (of the training part)'
    given = tuple(np.round(config.data.mean, 4).tolist()), tuple(np.round(config.data.std, 4).tolist())
    return [
        line,
        f'- normalized by config.data.mean={given[0]}, config.data.std={given[1]}; by the pixels it would be '
        f'--config.data.mean={",".join(map(str, mean))} --config.data.std={",".join(map(str, std))}',
    ]


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(np.round(values, 4).tolist())


def _new_folder(workdir: Path) -> Path:
    """Return a new folder 'check' in the WORKDIR, with a number if there is one already."""
    for number in itertools.count(1):
        folder = workdir / (CHECK if number == 1 else f'{CHECK}_{number}')
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(
                f"'{folder}' cannot be made: {error.strerror or error}; give another --workdir=DIR"
            ) from error
    raise AssertionError('counting has no end')
