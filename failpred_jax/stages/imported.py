"""Weights that were trained elsewhere: as the start of the baseline, or as finished stages."""

from pathlib import Path

from failpred_jax import processes
from failpred_jax.config import Config
from failpred_jax.console import say
from failpred_jax.errors import UserError
from failpred_jax.stages.store import Store
from failpred_jax.torch_import import read_torch_checkpoint, start_from_vgg16
from failpred_jax.train.loop import StageResult
from failpred_jax.train.stage import Stage, TrainState
from failpred_jax.train.step import init_state, merge_params
from failpred_jax.types import DatasetInfo


def with_initial_weights(config: Config, stage: Stage, start: TrainState) -> TrainState:
    """Return the first stage's start with the weights of config.baseline.init_from, and any other start as it is."""
    if stage.starts_from is not None or not config.baseline.init_from:
        return start
    return start.replace(trained=start_from_vgg16(config.baseline.init_from, config.model, start.trained))


def import_torch(path: str, config: Config, info: DatasetInfo, store: Store) -> None:
    """Turn a checkpoint of the reference into finished stages of a run.

    A baseline becomes the stage 'baseline'; with a head it becomes 'confidence' too, and a fine-tuned one all
    three. Stages that the checkpoint does not hold are trained by the next --mode=run.

    Raises:
      UserError: the file cannot be used (see torch_import.py), a stage it holds is switched off in the config, or
        the WORKDIR already has that stage.
    """
    params, batch_stats = read_torch_checkpoint(path, config.model, info)
    held = ['baseline', *(['confidence'] if 'head' in params else []), *(['finetune'] if 'encoder' in params else [])]
    by_name = {stage.name: stage for stage in store.stages}
    for name in held:
        if name not in by_name:
            raise UserError(f"'{path}' holds the stage '{name}', but config.{name}.epochs is 0; set it above 0")
        if processes.from_main(lambda name=name: store.folder(by_name[name]).exists()):
            raise UserError(
                f"'{store.workdir}' already has the stage '{name}'; import into another --workdir, or move this one "
                'aside with --force'
            )
    for name in held:
        start = store.like(by_name[name])
        whole = merge_params(start.trained, start.frozen)
        whole |= {key: value for key, value in params.items() if key in whole}
        stats = {**start.batch_stats, **{key: batch_stats[key] for key in start.batch_stats}}
        state = init_state(by_name[name], whole, stats, start.key)
        note = f'imported from {Path(path).name}, not trained here'
        store.save_finished(by_name[name], state, StageResult(0, 0, None, 0.0, (note,)))
    say(f'imported {", ".join(held)} from {path} into {store.workdir}')
