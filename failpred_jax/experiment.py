"""One run with one seed: its stages in order, then its evaluation. What is done is not done again."""

from functools import cached_property
from pathlib import Path

from failpred_jax import run_evaluation
from failpred_jax.config import Config
from failpred_jax.console import phase, say
from failpred_jax.prepared import check_scores, prepare_run
from failpred_jax.shifting import check_shifts, measure_shifts
from failpred_jax.stages import start_state
from failpred_jax.stages.continuing import CROSSFIT, make_crossfit_ready, make_ready
from failpred_jax.stages.crossfit import held_out_logits
from failpred_jax.stages.imported import import_torch, with_initial_weights
from failpred_jax.stages.targets import look_at_targets
from failpred_jax.stopping import Stop
from failpred_jax.train.loop import train_stage
from failpred_jax.train.precompute import Budget
from failpred_jax.train.stage import Stage, TrainState
from failpred_jax.types import Cached, Examples


class Experiment:
    """A run of one seed in a WORKDIR that is locked already."""

    def __init__(self, config: Config, workdir: Path, stop: Stop):
        self.config, self.workdir, self.stop = config, workdir, stop
        self.run = prepare_run(config, workdir)
        self.store = self.run.store

    def check_can_evaluate(self, has_ensemble: bool = False) -> None:
        """Raise a UserError for scores, asked for by name, that the evaluation will not have."""
        check_scores(self.config, self.run.data.info.task, self.run.network, self.run.stages, has_ensemble)

    def train(self) -> None:
        """Train the stages that are not finished."""
        if any(self.store.result(self.store.folder(stage)) is None for stage in self.run.stages):
            check_shifts(self.config, self.run.data)
        previous: TrainState | None = None
        for stage in self.run.stages:
            make_ready(self.workdir, stage.name, stage.num_steps, self.config)
            previous = self._train(stage, self.store.folder(stage), previous)

    def _train(
        self, stage: Stage, folder: Path, previous: TrainState | None, examples: Examples | None = None
    ) -> TrainState:
        """Return the best state of a stage, which is trained in its folder unless it is finished there.

        Args:
          stage: the stage.
          folder: where it lives.
          previous: the best state of the stage it starts from, or None.
          examples: to train on; None for those that the config says.
        """
        result = self.store.result(folder)
        with phase('making the first weights'):
            start = start_state(stage, self.run.network, self.config.seed, previous)
        if result is None:
            # Only here: a finished baseline does not need the file any more.
            start = with_initial_weights(self.config, self.run.data.info, stage, start)
            if examples is None:
                examples = self.run.data.train if previous is None else self._examples_of_head
            if stage.name == 'confidence' and previous is not None:
                look_at_targets(self.config.confidence.targets, examples, previous, self.run.program, self.workdir)
            data = self.config.data
            result = train_stage(
                stage,
                self.run.program if previous is None else self.run.head_program,
                start,
                examples,
                self.run.data.val,
                folder,
                self.config.run,
                Budget(data.device_budget_mb * 2**20, data.host_budget_mb * 2**20),
                data_seed=self.config.seed,
                stop=self.stop,
            )
            self.store.write_result(folder, result)
        value = 'undefined' if result.best_value is None else f'{result.best_value:.4f}'
        say(
            f'{folder.name}: {result.step} steps, {result.seconds:.0f} s; best validation {stage.select_by} '
            f'{value} at step {result.best_step}'
        )
        return self.store.restore(folder, result.best_step, start)

    @cached_property
    def _examples_of_head(self) -> Examples:
        """What the confidence is learned from; held-out logits are made first, where they are asked for."""
        if self.config.confidence.targets != 'crossfit':
            return self.run.head_train

        def train_fn(stage: Stage, folder: Path, examples: Examples) -> TrainState:
            return self._train(stage, folder, None, examples)

        folder = self.workdir / CROSSFIT
        make_crossfit_ready(self.workdir, self.config)
        logits = held_out_logits(self.config, self.run.program, self.run.data.train, folder, train_fn)
        return self.run.head_train._replace(cached=Cached(logits=logits))

    def import_torch(self, path: str) -> None:
        """Turn a checkpoint of the reference into finished stages of this run; see stages/imported.py."""
        import_torch(path, self.config, self.run.data.info, self.store)

    def evaluate(self, last: str | None = None, step: int | None = None, again: bool = False) -> bool:
        """Measure the trained weights on the test split, into the evaluation folder, and print the table.

        Args:
          last: use the weights of this stage and those before it; None for all.
          step: use this checkpoint of that stage; None for its best.
          again: also if the folder already has what would be found.

        Returns:
          Whether anything was measured.
        """
        return run_evaluation.evaluate(self.run, last, step, again=again)

    def measure_shifts(self) -> bool:
        """Measure the shifted sets that the config names, and return whether any was; see shifting.py."""
        return measure_shifts(self.config, self.run.data, self.workdir)
