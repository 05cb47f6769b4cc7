"""A finished stage under a config that asks for more: extended, trained anew, or left as it is.

The config that a stage was trained with lies in its folder. A stage goes on if nothing but its number of epochs grew,
and its learning rate does not depend on how many there are; it is trained anew if anything else that it depends on
changed.
What is replaced is moved to `earlier/N` in the WORKDIR, never deleted.
"""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from failpred_jax import processes
from failpred_jax.config import Config, differences, to_dict, why_not_extended
from failpred_jax.console import say
from failpred_jax.errors import UserError
from failpred_jax.files import read_json, write_json
from failpred_jax.workdir import TRAINED_WITH

# What a stage depends on besides data, model and seed: the options of these.
_DEPENDS = {
    'baseline': ('baseline',),
    'confidence': ('baseline', 'confidence'),
    'finetune': ('baseline', 'confidence', 'finetune'),
}
_OF_A_RUN = ('evaluation', 'report')
CROSSFIT = 'crossfit'


def make_ready(workdir: Path, name: str, num_steps: int, config: Config) -> None:
    """Bring what a stage left in its folder in line with the config, before it is trained; called on every process.

    Args:
      workdir: of a run of one seed.
      name: of the stage.
      num_steps: its length by the config.
      config: the experiment.
    """
    processes.from_main(lambda: _make_ready(workdir, name, num_steps, config))


def make_crossfit_ready(workdir: Path, config: Config) -> None:
    """Move held-out predictions aside that belong to another baseline or to other folds; called on every process."""

    def ready() -> None:
        folder = workdir / CROSSFIT
        changed = [
            line for line in _changed(folder, 'baseline', config) + _changed(folder, 'confidence', config)
            if line.startswith('config.confidence.folds:') or not line.startswith('config.confidence.')
        ]  # fmt: skip
        if changed:
            _move_aside(workdir, [CROSSFIT], f'{CROSSFIT}: made anew, since {changed[0]}')
        _remember(folder, config)

    processes.from_main(ready)


def why_stale(workdir: Path, name: str, num_steps: int, step: int, config: Config) -> str:
    """Return why a finished stage is not what the config asks for; '' if it is. Process 0 alone calls it."""
    changed = _changed(workdir / name, name, config)
    if changed:
        return f'was trained otherwise ({changed[0]})'
    return f'has {step:,} of {num_steps:,} steps' if 0 < step < num_steps else ''


def _make_ready(workdir: Path, name: str, num_steps: int, config: Config) -> None:
    folder = workdir / name
    changed = _changed(folder, name, config)
    epochs = f'config.{name}.epochs:'
    grows = bool(changed) and all(line.startswith(epochs) for line in changed)
    if changed and not (grows and not why_not_extended(_known(folder), to_dict(config), name)):
        _move_aside(workdir, [name, *_OF_A_RUN], f'{name}: trained anew, since {changed[0]}')
    _remember(folder, config)
    step = _steps_done(folder)
    if 0 < step < num_steps:
        _move_aside(
            workdir, [f'{name}/result.json', *_OF_A_RUN], f'{name}: goes on from step {step:,} to {num_steps:,}'
        )


def _known(folder: Path) -> Any:
    """Return the config that a stage was trained with; None where it has not been said."""
    file = folder / TRAINED_WITH
    if not file.exists():
        return None
    try:
        return read_json(file)
    except ValueError as error:
        raise UserError(
            f'{file} cannot be read ({error}); restore it from a copy, or start afresh with --force'
        ) from error


def _changed(folder: Path, name: str, config: Config) -> list[str]:
    """Return one sentence for each option that a stage depends on and was trained with otherwise."""
    known = _known(folder)
    if known is None:
        return []
    others = tuple(f'config.{other}.' for other in _DEPENDS if other not in _DEPENDS[name])
    now: Mapping[str, Any] = to_dict(config)
    return [line for line in differences(known, now) if not line.startswith(others)]


def _remember(folder: Path, config: Config) -> None:
    if folder.exists() or folder.name != CROSSFIT:
        folder.mkdir(exist_ok=True)
        write_json(folder / TRAINED_WITH, to_dict(config))


def _steps_done(folder: Path) -> int:
    file = folder / 'result.json'
    try:
        return int(read_json(file)['step']) if file.exists() else 0
    except (ValueError, LookupError, TypeError):
        return 0  # The store says that it is damaged.


def _move_aside(workdir: Path, names: list[str], why: str) -> None:
    there = [name for name in names if (workdir / name).exists()]
    if not there:
        return
    targets = (workdir / 'earlier' / str(number) for number in itertools.count(1))
    target = next(path for path in targets if not path.exists())
    for name in there:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).rename(target / name)
    say(f'{why}; what was there is in {target}')
