"""Checkpoints of a stage, written with orbax and checked when they are read.

A checkpoint holds the whole TrainState as one device sees it, so it can be resumed on any number of devices, and a
small JSON `progress`: what the loop knows besides. A digest of all arrays tells a damaged checkpoint from a good
one; a damaged one is renamed, never deleted, and the one before it is used.

A stage whose recipes choose what is evaluated has both kinds of weights in its checkpoints: `restore_latest` gives
those to go on with, `restore` those to evaluate.

Of several processes, process 0 alone reads and writes them, and sends the others what it read.
"""

import contextlib
import functools
import hashlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util

from failpred_jax import processes
from failpred_jax.errors import UserError, given
from failpred_jax.files import read_json
from failpred_jax.train.stage import TrainState
from failpred_jax.types import PyTree


@dataclass(frozen=True)
class Progress:
    """What the loop carries from one checkpoint to the next, besides the state.

    Attributes:
      best_step: step of the best validation so far, or -1.
      best_value: its value, or None.
      loss_sum, correct_count, count: training sums since the last validation.
      seconds: time spent training so far, over all runs of the stage.
    """

    best_step: int = -1
    best_value: float | None = None
    loss_sum: float = 0.0
    correct_count: int = 0
    count: int = 0
    seconds: float = 0.0


# Of the arrays' names. In layout 1, which says nothing of it, two sub-trees of parameters had other names.
LAYOUT = 2
_FIRST_NAMES = {'backbone': 'trunk', 'classifier': 'top'}
# Fields of the state that are empty unless a recipe fills them.
_OF_RECIPES = ('recipe_states', 'evaluated')


class Damaged(Exception):  # noqa: N818  (a finding, turned into a fallback or a UserError by its callers)
    """A checkpoint cannot be read, or is not what was written."""


class _KeepLatestAndBest:
    """Orbax's rule for what to keep: the latest few, and the best."""

    def __init__(self, num_latest: int):
        self.num_latest = num_latest
        self.best_step = -1

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        first_latest = len(checkpoints) - self.num_latest
        return [c.step == self.best_step or i >= first_latest for i, c in enumerate(checkpoints)]


def _to_arrays(state: TrainState) -> dict[str, PyTree]:
    """Return the state as nested containers of NumPy arrays, which orbax restores exactly."""
    state = state.replace(key=jax.random.key_data(state.key))
    fields = {name: jax.tree.map(np.asarray, getattr(state, name)) for name in state.__dataclass_fields__}
    # What no recipe remembers has no place: such a checkpoint is what it was before there were recipes.
    return {name: value for name, value in fields.items() if name not in _OF_RECIPES or value}


def _renamed(tree: Any, names: Mapping[str, str]) -> Any:
    """Return nested containers with some keys of their dicts renamed."""
    if isinstance(tree, dict):
        return {names.get(key, key): _renamed(value, names) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        values = [_renamed(value, names) for value in tree]
        return type(tree)(*values) if hasattr(tree, '_fields') else type(tree)(values)
    return tree


def _digest(arrays: PyTree) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
        digest.update(f'{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}'.encode())
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def _weights_of(arrays: PyTree) -> PyTree:
    """Return the part of a checkpoint that another run can start from, whatever its optimizer and its recipes were."""
    return {name: arrays.get(name) or {} for name in ('trained', 'frozen', 'batch_stats', 'evaluated')}


def read_weights(folder: Path, step: int) -> tuple[PyTree, PyTree]:
    """Return the parameters and BatchNorm statistics of a checkpoint of any run, of which nothing else is known.

    Where a recipe chose the weights that were validated and evaluated, those are the ones.

    Args:
      folder: its stage's folder of checkpoints; nothing in it is changed.
      step: of the checkpoint.

    Returns:
      params, batch_stats: nested dicts of NumPy arrays by sub-tree.

    Raises:
      Damaged: it is not there, cannot be read, or is not what was written.
    """
    try:
        with _orbax_in_silence(), ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            items = ocp.args.Composite(state=ocp.args.StandardRestore(), progress=ocp.args.JsonRestore())
            restored = checkpointer.restore((folder / f'{step:08d}').resolve(), items)
        weights = jax.tree.map(np.asarray, _weights_of(restored['state']))
        digest = dict(restored['progress']).get('weights_digest')
        # Checkpoints of before there was one are taken as they are.
        if digest is not None and _digest(weights) != digest:
            raise ValueError('its arrays are not those that were written')
        chosen = weights['evaluated'] or weights
        flat = traverse_util.flatten_dict(weights['frozen']) | traverse_util.flatten_dict(chosen['trained'])
        return traverse_util.unflatten_dict(flat), chosen['batch_stats']
    except Exception as error:  # orbax, tensorstore and json each have errors of their own for broken files
        raise Damaged(f'checkpoint {step} in {folder} cannot be used: {_first_line(error)}') from error


class Checkpoints:
    """The checkpoints in one folder. Of several processes, each must call the same methods in the same order."""

    def __init__(self, folder: Path, num_latest: int = 2):
        self.folder = folder
        self._keep = _KeepLatestAndBest(num_latest)
        self._manager: ocp.CheckpointManager | None = None
        processes.from_main(self._open)

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        _silence_latecomers()
        self._manager = ocp.CheckpointManager(
            self.folder.resolve(),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=self._keep,
                # A chunk of training takes far longer than a save, and a synchronous save is one that has happened.
                enable_async_checkpointing=False,
                step_format_fixed_length=8,
                cleanup_tmp_directories=True,
                create=False,
                # Orbax, too, is told that process 0 is alone with it.
                multiprocessing_options=ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0}),
            ),
        )

    @property
    def _orbax(self) -> ocp.CheckpointManager:
        """Orbax's manager, on process 0."""
        return given(self._manager, "process 0's manager of checkpoints")

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, rising."""
        return processes.from_main(self._steps)

    def _steps(self) -> list[int]:
        return sorted(self._orbax.all_steps())

    def save(self, state: TrainState, progress: Progress) -> None:
        """Write a checkpoint for the state's step, then drop those no longer needed.

        Raises:
          UserError: it could not be written (a full disk?); the earlier ones are as they were.
        """
        processes.from_main(lambda: self._save(state, progress))

    def _save(self, state: TrainState, progress: Progress) -> None:
        arrays = _to_arrays(state)
        step = int(state.step)
        self._keep.best_step = progress.best_step
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(arrays),
            progress=ocp.args.JsonSave(
                {
                    **asdict(progress),
                    'digest': _digest(arrays),
                    'weights_digest': _digest(_weights_of(arrays)),
                    'layout': LAYOUT,
                }
            ),
        )
        try:
            with _orbax_in_silence():
                self._orbax.save(step, args=items, force=True)
        except Exception as error:  # a full disk is an error of tensorstore's, of orbax's or of Python's
            raise UserError(
                f'checkpoint {step} could not be written to {self.folder}: {_first_line(error)}; the earlier ones are '
                'intact. Make room or repair the disk; the same command then goes on from the last one'
            ) from error

    def restore(self, step: int, like: TrainState) -> tuple[TrainState, Progress]:
        """Return the checkpoint of a step as it was validated; `like` gives the structure. Raises Damaged.

        Weights and statistics that a recipe chose take the place of the trained ones.
        """
        state, progress = _from_plain(processes.from_main(lambda: self._read(step, like)), like)
        return state.replace(**state.evaluated), progress

    def _read(self, step: int, like: TrainState) -> dict[str, Any]:
        """Return {'leaves', 'progress'} of a checkpoint, which can be sent to other processes."""
        try:
            with _orbax_in_silence():
                items = ocp.args.Composite(progress=ocp.args.JsonRestore())
                progress = dict(self._orbax.restore(step, args=items)['progress'])
                names = {} if progress.pop('layout', 1) == LAYOUT else _FIRST_NAMES
                items = ocp.args.Composite(state=ocp.args.StandardRestore(_renamed(_to_arrays(like), names)))
                arrays = self._orbax.restore(step, args=items)['state']
            progress.pop('weights_digest', None)
            if _digest(arrays) != progress.pop('digest'):
                raise ValueError('its arrays are not those that were written')
            Progress(**progress)
            arrays = _renamed(arrays, {old: new for new, old in names.items()})
            return {'leaves': [np.asarray(leaf) for leaf in jax.tree.leaves(arrays)], 'progress': progress}
        except Exception as error:  # orbax, tensorstore and json each have errors of their own for broken files
            raise Damaged(f'checkpoint {step} in {self.folder} cannot be used: {_first_line(error)}') from error

    def restore_latest(self, like: TrainState, warn: Callable[[str], None]) -> tuple[TrainState, Progress] | None:
        """Return the newest usable checkpoint, or None if there never was one.

        A damaged one is renamed to `<step>.damaged` and `warn` is told. If all are damaged, that is a UserError and
        nothing is overwritten.
        """
        found = processes.from_main(lambda: self._read_latest(like))
        if found is None:
            return None
        for text in found['damaged']:
            warn(f'{text}; it was set aside, and the run goes on from step {found["step"]}')
        state, progress = _from_plain(found, like)
        self._keep.best_step = progress.best_step
        return state, progress

    def _read_latest(self, like: TrainState) -> dict[str, Any] | None:
        damaged: list[str] = []
        steps = self._steps()
        for step in reversed(steps):
            try:
                found = self._read(step, like)
            except Damaged as error:
                damaged.append(str(error))
                continue
            if damaged:
                self._set_aside([s for s in steps if s > step])
            return {**found, 'step': step, 'damaged': damaged}
        if damaged:
            raise UserError(
                '\n'.join(
                    [
                        *damaged,
                        f'no checkpoint in {self.folder} is usable and nothing was changed there; restore one from '
                        'a copy, or start afresh with --force (which moves the folder aside)',
                    ]
                )
            )
        return None

    def _set_aside(self, steps: list[int]) -> None:
        self._orbax.close()
        for step in steps:
            folder = self.folder / f'{step:08d}'
            target = folder.with_name(f'{folder.name}.damaged')
            number = 1
            while target.exists():
                target = folder.with_name(f'{folder.name}.damaged{number}')
                number += 1
            folder.rename(target)
        self._open()

    def close(self) -> None:
        """Release the folder."""
        if self._manager is not None:
            self._manager.close()


@contextlib.contextmanager
def _orbax_in_silence() -> Iterator[None]:
    """Keep orbax from logging tracebacks of the errors that it raises, which are told in words here."""
    logger = logging.getLogger('absl')
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@functools.cache
def _silence_latecomers() -> None:
    """Keep tensorstore's other reads and writes from printing tracebacks after one of them failed.

    They report to an event loop that orbax has closed by then, from threads of their own.
    """
    previous = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != 'Event loop is closed':
            previous(unraisable)

    sys.unraisablehook = hook


def saved_digest(folder: Path, step: int) -> str:
    """Return the digest that a checkpoint in `folder` was saved with, unchecked; '' if it cannot be read."""
    try:
        # Where orbax keeps the JSON of `_save`.
        return str(read_json(folder / f'{step:08d}' / 'progress' / 'metadata')['digest'])
    except (OSError, ValueError, LookupError, TypeError):
        return ''


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _from_plain(found: dict[str, Any], like: TrainState) -> tuple[TrainState, Progress]:
    """Undo `Checkpoints._read`."""
    fields = jax.tree.unflatten(jax.tree.structure(_to_arrays(like)), found['leaves'])
    fields['key'] = jax.random.wrap_key_data(fields['key'], impl=jax.random.key_impl(like.key))
    return TrainState(**fields), Progress(**found['progress'])
