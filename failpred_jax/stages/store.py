"""What the stages of a run leave in its WORKDIR: results, checkpoints and curves. Written and read here.

Of several processes, each must call the same methods in the same order: process 0 alone touches the disk.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from failpred_jax import processes
from failpred_jax.config import Config
from failpred_jax.errors import UserError, nearest
from failpred_jax.files import write_json
from failpred_jax.models.network import Network
from failpred_jax.stages import start_state
from failpred_jax.stages.continuing import why_stale
from failpred_jax.train.checkpoints import Checkpoints, Damaged, Progress, saved_digest
from failpred_jax.train.loop import StageResult
from failpred_jax.train.stage import Stage, TrainState
from failpred_jax.train.stage_log import read_curves
from failpred_jax.workdir import read_record


class Store:
    """The stages' folders in a WORKDIR.

    Args:
      workdir: of a run of one seed.
      stages: of the run, in order.
      network: gives a restored state its structure.
      config: of the run.
    """

    def __init__(self, workdir: Path, stages: Sequence[Stage], network: Network, config: Config):
        self.workdir, self.stages, self._network, self._config = workdir, stages, network, config

    def folder(self, stage: Stage) -> Path:
        return self.workdir / stage.name

    def result(self, folder: Path) -> StageResult | None:
        """Return what a finished stage left in its folder, or None if it is not finished."""
        fields = read_record(folder / 'result.json')
        return fields and StageResult(**{**fields, 'warnings': tuple(fields['warnings'])})

    def write_result(self, folder: Path, result: StageResult) -> None:
        """Mark a stage as finished."""
        processes.from_main(lambda: write_json(folder / 'result.json', dataclasses.asdict(result)))

    def finished(self, stage: Stage) -> StageResult:
        """Return what a stage left, or raise a UserError if it is not finished as the config asks for it."""
        result = self.result(self.folder(stage))
        if result is None:
            raise UserError(f"the stage '{stage.name}' of '{self.workdir}' is not finished; --mode=run goes on with it")
        why = processes.from_main(
            lambda: why_stale(self.workdir, stage.name, stage.num_steps, result.step, self._config)
        )
        if why:
            raise UserError(f"the stage '{stage.name}' of '{self.workdir}' {why}; --mode=run goes on with it")
        return result

    def up_to(self, last: str | None) -> list[Stage]:
        """Return the stages up to the one named `last`, in order; all for None."""
        names = [stage.name for stage in self.stages]
        if last is None:
            return list(self.stages)
        if last not in names:
            raise UserError(
                f"--stage is '{last}'{nearest(last, names)}; the stages of this run are: {', '.join(names)}"
            )
        return list(self.stages[: names.index(last) + 1])

    def save_finished(self, stage: Stage, state: TrainState, result: StageResult) -> None:
        """Write a state that was not trained here as the only checkpoint of a finished stage."""
        folder = self.folder(stage)
        checkpoints = Checkpoints(folder / 'checkpoints')
        checkpoints.save(state, Progress(best_step=result.best_step))
        checkpoints.close()
        self.write_result(folder, result)

    def load(self, stage: Stage, step: int) -> TrainState:
        """Return a checkpoint of a finished stage."""
        return self.restore(self.folder(stage), step, self.like(stage))

    def like(self, stage: Stage) -> TrainState:
        """Return a state of the structure of a stage's; its values are those before any training."""
        previous = None
        if stage.starts_from is not None:
            previous = self.like(next(s for s in self.stages if s.name == stage.starts_from))
        return start_state(stage, self._network, self._config.seed, previous)

    def restore(self, folder: Path, step: int, like: TrainState) -> TrainState:
        """Return the checkpoint of a step, with the structure of `like`.

        Raises:
          UserError: it is missing or damaged.
        """
        checkpoints = Checkpoints(folder / 'checkpoints')
        try:
            steps = checkpoints.steps()
            if step not in steps:
                raise UserError(f"'{folder}' has no checkpoint of step {step}; it has: " + ', '.join(map(str, steps)))
            return checkpoints.restore(step, like)[0]
        except Damaged as error:
            raise UserError(
                f'{error}; restore it from a copy, name another with --stage and --step, or start afresh with --force'
            ) from error
        finally:
            checkpoints.close()

    def digest(self, stage: Stage, step: int) -> str:
        """Return the digest of a checkpoint as it was saved; '' if it cannot be read."""
        folder = self.folder(stage) / 'checkpoints'
        return processes.from_main(lambda: saved_digest(folder, step))

    def curves(self, stages: Sequence[Stage]) -> dict[str, dict[str, Any]]:
        """Return stage -> its curves, as metrics.csv has them."""
        return processes.from_main(
            lambda: {stage.name: read_curves(self.folder(stage) / 'metrics.csv') for stage in stages}
        )
