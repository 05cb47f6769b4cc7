"""Checkpoints of a stage, written with orbax and checked when they are read.

A checkpoint holds the whole TrainState as one device sees it, so it can be resumed on any number of devices, and a
small JSON `progress`: what the loop knows besides. A digest of all arrays tells a damaged checkpoint from a good
one; a damaged one is renamed, never deleted, and the one before it is used.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from failpred_jax import devices
from failpred_jax.errors import UserError
from failpred_jax.types import PyTree, TrainState


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


def _to_arrays(state: TrainState) -> PyTree:
    """Return the state as nested containers of NumPy arrays, which orbax restores exactly."""
    state = state.replace(key=jax.random.key_data(state.key))
    return {name: jax.tree.map(np.asarray, getattr(state, name)) for name in state.__dataclass_fields__}


def _digest(arrays: PyTree) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
        digest.update(f'{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}'.encode())
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


class Checkpoints:
    """The checkpoints in one folder."""

    def __init__(self, folder: Path, num_latest: int = 2):
        self.folder = folder
        self._keep = _KeepLatestAndBest(num_latest)
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        return ocp.CheckpointManager(
            self.folder.resolve(),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=self._keep,
                # A chunk of training takes far longer than a save, and a synchronous save is one that has happened.
                enable_async_checkpointing=False,
                step_format_fixed_length=8,
                cleanup_tmp_directories=True,
            ),
        )

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, rising."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, progress: Progress) -> None:
        """Write a checkpoint for the state's step, then drop those no longer needed."""
        arrays = _to_arrays(state)
        self._keep.best_step = progress.best_step
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(arrays),
                progress=ocp.args.JsonSave({**asdict(progress), 'digest': _digest(arrays)}),
            ),
            force=True,
        )

    def restore(self, step: int, like: TrainState) -> tuple[TrainState, Progress]:
        """Return the checkpoint of a step; `like` gives the structure. Raises Damaged."""
        template = _to_arrays(like)
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardRestore(template), progress=ocp.args.JsonRestore()),
            )
            arrays, progress = restored['state'], dict(restored['progress'])
            if _digest(arrays) != progress.pop('digest'):
                raise ValueError('its arrays are not those that were written')
            fields = jax.tree.map(np.asarray, arrays)
            impl = jax.random.key_impl(like.key)
            fields['key'] = jax.random.wrap_key_data(fields['key'], impl=impl)
            return TrainState(**fields), Progress(**progress)
        except Exception as error:  # orbax, tensorstore and json each have errors of their own for broken files
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise Damaged(f'checkpoint {step} in {self.folder} cannot be used: {reason[:200]}') from error

    def restore_latest(self, like: TrainState, warn: Any) -> tuple[TrainState, Progress] | None:
        """Return the newest usable checkpoint, or None if there never was one.

        A damaged one is renamed to `<step>.damaged` and `warn` is told. If all are damaged, that is a UserError and
        nothing is overwritten.
        """
        damaged: list[str] = []
        for step in reversed(self.steps()):
            try:
                state, progress = self.restore(step, like)
            except Damaged as error:
                damaged.append(str(error))
                continue
            for text in damaged:
                warn(f'{text}; it was set aside, and the run goes on from step {step}')
            if damaged:
                self._set_aside([s for s in self.steps() if s > step])
            self._keep.best_step = progress.best_step
            return state, progress
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
        self._manager.close()
        if devices.is_main_process():
            for step in steps:
                folder = self.folder / f'{step:08d}'
                target = folder.with_name(f'{folder.name}.damaged')
                number = 1
                while target.exists():
                    target = folder.with_name(f'{folder.name}.damaged{number}')
                    number += 1
                folder.rename(target)
        devices.wait_for_all('damaged checkpoints set aside')
        self._manager = self._open()

    def close(self) -> None:
        """Release the folder."""
        self._manager.close()
