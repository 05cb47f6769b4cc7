"""The training loop of every stage.

The order of things, written here once. Before the first step and after every `eval_every_steps`:
  1. validate in evaluation mode, on the whole validation split;
  2. compare the stage's selection metric with the best so far (a tie keeps the earlier one; NaN never wins, nor what a
     recipe does not mean to keep);
  3. write a row of the log;
  4. save a checkpoint, which knows which one is best. It comes last: killed before it, a run does all of this again
     and finds the same; killed after it, nothing is missing.
Between those, chunks of steps: one call of a compiled loop, then the host looks at the sums (is the loss finite?
was a stop asked for? is a checkpoint due?) and goes on. Chunk lengths follow the clock and change nothing but that.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from failpred_jax import devices, processes
from failpred_jax.config import RunConfig
from failpred_jax.console import say
from failpred_jax.data.feeding import Feed
from failpred_jax.errors import UserError
from failpred_jax.stopping import Stop, Stopped
from failpred_jax.train.checkpoints import Checkpoints, Progress
from failpred_jax.train.precompute import Budget, Program, precompute
from failpred_jax.train.refresh import make_refresh
from failpred_jax.train.stage import Stage, TrainState
from failpred_jax.train.stage_log import StageLog, read_metrics
from failpred_jax.train.step import make_chunk, make_validation_step, merge_params
from failpred_jax.train.validate import COLLAPSED_SPREAD, collect_units, validation_metrics
from failpred_jax.types import Examples, PyTree


@dataclass(frozen=True)
class StageResult:
    """What a finished stage leaves, also in its folder.

    Attributes:
      step: the last step.
      best_step: the step of the best checkpoint, which later stages and the evaluation use.
      best_value: the selection metric there; None where it was undefined at every validation.
      seconds: time spent training, validating and saving.
      warnings: sentences for the report.
      unavailable: why what the stage trains is not there; '' if it is. An import may know a later stage alone.
    """

    step: int
    best_step: int
    best_value: float | None
    seconds: float
    warnings: tuple[str, ...]
    unavailable: str = ''


def train_stage(
    stage: Stage,
    program: Program,
    start: TrainState,
    train: Examples,
    val: Examples,
    folder: Path,
    run: RunConfig,
    budget: Budget,
    data_seed: int,
    stop: Stop | None = None,
) -> StageResult:
    """Train a stage to its end, from its newest checkpoint in `folder` or from `start`.

    What the stage leaves fixed is computed once, where `budget` has room for it; the results are the same.

    Raises:
      UserError: the loss stopped being finite, or no checkpoint is usable. What was saved stays.
      Stopped: after a checkpoint, once a stop is requested.
    """
    stop = stop or Stop()
    checkpoints = Checkpoints(folder / 'checkpoints', run.keep_checkpoints)
    warnings: list[str] = []

    def warn(text: str) -> None:
        say(f'warning: {stage.name}: {text}')
        warnings.append(text)

    resumed = checkpoints.restore_latest(start, warn)
    state, progress = resumed or (start, Progress())
    log = StageLog(folder, stage.name, stage.num_steps, int(state.step))
    try:
        train, val = precompute(stage, program, state, train, val, budget)
        trainer = _Trainer(stage, program, train, val, checkpoints, log, run, budget, data_seed)
        # The trainer has moved it to where it is needed.
        del train
        with stop.deferred():
            progress = trainer.run(state, progress, resumed is None, stop)
    finally:
        log.close()
        checkpoints.close()
    # Read back from the log, so that a run resumed after its last validation says it too.
    rows = processes.from_main(lambda: read_metrics(folder / 'metrics.csv'))
    if stage.with_confidence and rows and float(rows[-1]['val_confidence_spread']) < COLLAPSED_SPREAD:
        warn(
            'the confidence head collapsed to a constant (standard deviation of its confidences on the validation '
            f'split: {float(rows[-1]["val_confidence_spread"]):.1e}), so it ranks nothing; try a lower '
            f'config.{stage.name}.learning_rate (a high one pushes all outputs into the flat end of the sigmoid), a '
            f'higher config.{stage.name}.error_weight, config.{stage.name}.loss=tcp_bce (its gradient does not '
            'vanish there) or another loss, or more training errors to learn from'
        )
    best_step = progress.best_step if progress.best_step >= 0 else stage.num_steps
    if progress.best_step < 0:
        warn(f'{stage.select_by} was undefined at every validation (no errors?), so the last checkpoint is used')
    return StageResult(stage.num_steps, best_step, progress.best_value, progress.seconds, tuple(warnings))


class _Trainer:
    """The parts of one stage's training that live from its first chunk to its last."""

    def __init__(
        self,
        stage: Stage,
        program: Program,
        train: Examples,
        val: Examples,
        checkpoints: Checkpoints,
        log: StageLog,
        run: RunConfig,
        budget: Budget,
        data_seed: int,
    ):
        self.stage, self.val, self.checkpoints, self.log, self.run_config = stage, val, checkpoints, log, run
        self.eval_batch_size = program.eval_batch_size
        self.feed = Feed(train, stage.batch_size, data_seed, budget.device, stage.eval_every_steps)
        self.run_chunk = devices.map_over_devices(
            make_chunk(stage, program.apply_fn, program.prepare_train_fn, program.ignore_label),
            donate=(0,),
            shared=(3,),
        )
        self.refresh = make_refresh(stage, program.apply_fn, program.prepare_train_fn, self.feed)
        self.validate_fn = devices.map_over_devices(
            make_validation_step(stage, program.apply_fn, program.prepare_eval_fn, program.ignore_label)
        )
        self.seconds_per_step: float | None = None
        self.num_chunks = 0

    def run(self, state: TrainState, progress: Progress, is_fresh: bool, stop: Stop) -> Progress:
        stage, step = self.stage, int(state.step)
        last_save = time.monotonic()
        began = last_save - progress.seconds
        # A step has no use for it, so it stays here.
        evaluated = state.evaluated
        state = devices.replicate(state.replace(evaluated={}))

        def save(progress: Progress) -> Progress:
            progress = replace(progress, seconds=time.monotonic() - began)
            self.checkpoints.save(devices.unreplicate(state).replace(evaluated=evaluated), progress)
            return progress

        def validate(progress: Progress) -> Progress:
            nonlocal evaluated
            trained, batch_stats = self._evaluated(state, step)
            if stage.replaces_evaluated:
                evaluated = devices.unreplicate({'trained': trained, 'batch_stats': batch_stats})
            units = collect_units(
                self.validate_fn, merge_params(trained, state.frozen), batch_stats, self.val, self.eval_batch_size
            )
            values = validation_metrics(units)
            selected = values[f'val_{stage.select_by}']
            may_be = all(recipe.may_be_selected(step) for recipe in stage.recipes.values())
            if may_be and np.isfinite(selected) and (progress.best_value is None or selected > progress.best_value):
                progress = replace(progress, best_step=step, best_value=selected)
            row = {'epoch': step / stage.steps_per_epoch}
            if progress.count:
                row['train_loss'] = progress.loss_sum / progress.count
                row['train_accuracy'] = progress.correct_count / progress.count
            row |= {**values, 'learning_rate': float(stage.learning_rate_fn(step)), 'seconds': time.monotonic() - began}
            self.log.write(step, row)
            return save(replace(progress, loss_sum=0.0, correct_count=0, count=0))

        if is_fresh:
            progress = validate(progress)
        while step < stage.num_steps:
            until_eval = stage.eval_every_steps - step % stage.eval_every_steps
            num_steps = min(self._chunk_length(), until_eval, stage.num_steps - step)
            state, progress = self._take(state, progress, step, num_steps)
            step += num_steps
            at_eval = step % stage.eval_every_steps == 0 or step == stage.num_steps
            must_stop = processes.any_process(stop.requested())
            due = time.monotonic() - last_save > self.run_config.checkpoint_seconds
            if at_eval:
                progress = validate(progress)
                last_save = time.monotonic()
            elif must_stop or processes.agree(int(due)):
                progress = save(progress)
                last_save = time.monotonic()
            if must_stop:
                raise Stopped(
                    f'{stage.name} was asked to stop and is saved at step {step} of {stage.num_steps}; '
                    'the same command goes on from there'
                )
        return progress

    def _take(self, state: TrainState, progress: Progress, step: int, num_steps: int) -> tuple[TrainState, Progress]:
        """Return what so many steps from `step` on leave: one call of the compiled loop."""
        started = time.monotonic()
        then = min(num_steps, self.stage.num_steps - step - num_steps)
        state, sums = self.run_chunk(state, *self.feed.chunk(step, num_steps, then), np.int32(num_steps))
        sums = devices.unreplicate(sums)
        elapsed = time.monotonic() - started
        if sums.bad_step >= 0:
            raise UserError(self._not_finite(int(sums.bad_step)))
        self._note_pace(elapsed / num_steps)
        loss_sum, correct_count, num_units = float(sums.loss_sum), int(sums.correct_count), int(sums.num_units)
        self.log.progress(
            step + num_steps,
            loss_sum / max(num_units, 1),
            correct_count / max(num_units, 1),
            num_steps * self.stage.batch_size / elapsed,
        )
        return state, replace(
            progress,
            loss_sum=progress.loss_sum + loss_sum,
            correct_count=progress.correct_count + correct_count,
            count=progress.count + num_units,
        )

    def _evaluated(self, state: TrainState, step: int) -> tuple[PyTree, PyTree]:
        """Return the parameters in the place of the trained ones, and the statistics, that a validation looks at."""
        for name, recipe in self.stage.recipes.items():
            trained = recipe.evaluated(state.recipe_states.get(name, ()), step)
            if trained is not None:
                batch_stats = state.batch_stats
                if self.stage.batch_norm_in:
                    batch_stats = self.refresh(merge_params(trained, state.frozen), batch_stats, state.key)
                return trained, batch_stats
        return state.trained, state.batch_stats

    def _chunk_length(self) -> int:
        """Return how many steps to take before the host is met again; the same on every process."""
        if self.seconds_per_step is None:
            wanted = 1.0
        else:
            wanted = self.run_config.chunk_seconds / max(self.seconds_per_step, 1e-9)
        return processes.agree(int(np.clip(wanted, 1, self.feed.chunk_steps)))

    def _note_pace(self, seconds_per_step: float) -> None:
        # The first chunk also compiles, so it says nothing.
        self.num_chunks += 1
        if self.num_chunks > 1:
            self.seconds_per_step = seconds_per_step

    def _not_finite(self, step: int) -> str:
        steps = self.checkpoints.steps()
        kept = f'step {steps[-1]}' if steps else 'none'
        return (
            f'{self.stage.name}: the loss is not finite at step {step} (learning rate '
            f'{float(self.stage.learning_rate_fn(step)):.3g}); training stopped. Last good checkpoint: {kept}, in '
            f'{self.checkpoints.folder}. Lower config.{self.stage.name}.learning_rate or add warm-up, and check the '
            'data (config.data.mean, config.data.std); then start in another --workdir, or with --force'
        )
