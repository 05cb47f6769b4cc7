"""Weights that were trained elsewhere: as the start of the baseline, or as finished stages."""

import shutil
from pathlib import Path

import numpy as np

from failpred_jax import processes
from failpred_jax.config import Config
from failpred_jax.console import say
from failpred_jax.errors import UserError
from failpred_jax.stages.store import Store
from failpred_jax.train.loop import StageResult
from failpred_jax.train.stage import Stage, TrainState
from failpred_jax.train.step import init_state, merge_params
from failpred_jax.types import DatasetInfo, PyTree
from failpred_jax.weights.format import leaves_of
from failpred_jax.weights.reference import read_torch_checkpoint
from failpred_jax.weights.start import CLASSIFIER, start_from

STAGES = ('baseline', 'confidence', 'finetune')
# At most this many differing arrays are named.
_MOST_NAMED = 8


def with_initial_weights(config: Config, info: DatasetInfo, stage: Stage, start: TrainState) -> TrainState:
    """Return the state before a stage's first step, from config.baseline.init_from if it is the first."""
    if stage.starts_from is not None or not config.baseline.init_from:
        return start
    if config.confidence.targets == 'crossfit':
        say(
            f'warning: every classifier starts from {config.baseline.init_from}; if that was trained on images of the '
            'training set, the targets of the confidence are not held out'
        )
    params, batch_stats = start_from(config, info, merge_params(start.trained, start.frozen), start.batch_stats)
    return init_state(stage, params, batch_stats, start.key)


def import_torch(path: str, config: Config, info: DatasetInfo, store: Store) -> None:
    """Turn a checkpoint of the reference into finished stages of a run.

    A baseline becomes the stage 'baseline'; with a head it becomes 'confidence' too, and a fine-tuned one 'finetune'.
    Earlier stages that the WORKDIR has already stay as they are, if the checkpoint has the same classifier. Of a
    fine-tuned checkpoint nobody knows the head before fine-tuning: its 'confidence' is marked as unavailable, until
    its own checkpoint is imported. The next --mode=run trains the stages that are missing.

    Raises:
      UserError: the file cannot be used (see weights/), a stage it holds is switched off in the config, the WORKDIR
        already has that stage, or it has another classifier.
    """
    params, batch_stats = processes.from_main(lambda: read_torch_checkpoint(path, config.model, info))
    held = STAGES[: 1 + ('head' in params) + ('encoder' in params)]
    by_name = {stage.name: stage for stage in store.stages}
    for name in held:
        if name not in by_name:
            raise UserError(f"'{path}' holds the stage '{name}', but config.{name}.epochs is 0; set it above 0")
    there = [name for name in held if processes.from_main(lambda name=name: store.folder(by_name[name]).exists())]
    if held[-1] in there and not _is_unavailable(store, by_name[held[-1]]):
        raise UserError(
            f"'{store.workdir}' already has the stage '{held[-1]}'; import into another --workdir, or move this one "
            'aside with --force'
        )
    if 'baseline' in there:
        _check_same_classifier(path, store, by_name['baseline'], params, batch_stats)
    written = [name for name in held if name not in there or name == held[-1]]
    for name in written:
        _write(path, store, by_name[name], params, batch_stats, is_last=name == held[-1])
    kept = [name for name in there if name not in written]
    more = f' ({" and ".join(kept)} there stay as they are: the classifier is the same)' if kept else ''
    known = [name for name in written if not _is_unavailable(store, by_name[name])]
    say(f'imported {" and ".join(known)} from {path} into {store.workdir}{more}')


def _write(path: str, store: Store, stage: Stage, params: PyTree, batch_stats: PyTree, is_last: bool) -> None:
    """Write a stage that the checkpoint holds as a finished one."""
    unavailable = ''
    if stage.name == 'confidence' and not is_last:
        unavailable = (
            f'{Path(path).name} holds the head after fine-tuning alone; import the checkpoint of the confidence stage '
            'into the same WORKDIR, too'
        )
        params = {name: tree for name, tree in params.items() if name in CLASSIFIER}
    start = store.like(stage)
    whole = merge_params(start.trained, start.frozen)
    whole |= {key: value for key, value in params.items() if key in whole}
    stats = {key: batch_stats.get(key, value) for key, value in start.batch_stats.items()}
    note = unavailable or f'imported from {Path(path).name}, not trained here'
    result = StageResult(0, 0, None, 0.0, (note,), unavailable)
    if _is_unavailable(store, stage):
        # It holds a head that nobody has trained.
        processes.from_main(lambda: shutil.rmtree(store.folder(stage)))
    store.save_finished(stage, init_state(stage, whole, stats, start.key), result)


def _is_unavailable(store: Store, stage: Stage) -> bool:
    result = store.result(store.folder(stage))
    return result is not None and bool(result.unavailable)


def _check_same_classifier(path: str, store: Store, stage: Stage, params: PyTree, batch_stats: PyTree) -> None:
    """Raise a UserError that names the difference unless the WORKDIR's baseline is the checkpoint's classifier."""
    state = store.load(stage, store.finished(stage).best_step)
    ours = leaves_of(merge_params(state.trained, state.frozen), state.batch_stats)
    theirs = leaves_of(params, batch_stats)
    lines = []
    for place in (place for place in ours if place[0] in CLASSIFIER):
        distance = float(np.abs(np.asarray(ours[place]) - theirs[place]).max())
        if distance > 0:
            lines.append(f'  - {"/".join(place)} differs by up to {distance:.3g}')
    if lines:
        more = [f'  - and {len(lines) - _MOST_NAMED} more'] if len(lines) > _MOST_NAMED else []
        raise UserError(
            '\n'.join(
                [
                    f"'{path}' has another classifier than the stage 'baseline' of '{store.workdir}':",
                    *lines[:_MOST_NAMED],
                    *more,
                    'import it into another --workdir, after its own baseline',
                ]
            )
        )
