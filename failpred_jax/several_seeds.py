"""Runs the same experiment for each of several seeds, each in its own folder, and summarizes them.

A seed's folder is an ordinary run, so adding a seed trains only that seed.
"""

import dataclasses
from functools import cache
from pathlib import Path

from failpred_jax import processes, run_evaluation
from failpred_jax.config import Config
from failpred_jax.console import say
from failpred_jax.errors import UserError
from failpred_jax.evaluate.seeds import summarize_ensemble, summarize_evaluations, to_markdown, with_seeds
from failpred_jax.evaluate.shift_seeds import seeds_to_table, summarize_shifted
from failpred_jax.experiment import Experiment
from failpred_jax.results import read_evaluation, write_evaluation
from failpred_jax.results.beside import SHIFTED
from failpred_jax.results.shift_seeds import write_shifted_seeds
from failpred_jax.results.shifted import read_shifted
from failpred_jax.run_evaluation import Ensemble
from failpred_jax.stopping import Stop
from failpred_jax.workdir import Workdir


class SeveralSeeds:
    """A run of several seeds in a WORKDIR that is already locked."""

    def __init__(self, config: Config, workdir: Path, stop: Stop):
        self.config, self.workdir, self.stop = config, workdir, stop
        self._made: dict[int, Experiment] = {}

    def _experiment(self, seed: int) -> Experiment:
        """Return the run of one seed; it is made once, so that its data are loaded once."""
        if seed not in self._made:
            own = dataclasses.replace(self.config, seed=seed, seeds=())
            folder = self.workdir / f'seed_{seed}'
            Workdir(folder, own).close()
            self._made[seed] = Experiment(own, folder, self.stop)
        return self._made[seed]

    def check_can_evaluate(self) -> None:
        """Raise a UserError for scores, asked for by name, that the evaluation will not have."""
        self._experiment(self.config.seeds[0]).check_can_evaluate(has_ensemble=True)

    def train(self) -> None:
        """Train the unfinished stages of each seed."""
        for seed in self.config.seeds:
            say(f'seed {seed}:')
            self._experiment(seed).train()

    def import_torch(self, path: str) -> None:
        """Refuse: a checkpoint is of one seed."""
        raise UserError(f"'{path}' is of one seed; import it with --config.seeds=() and --workdir=DIR/seed_K")

    def evaluate(self, last: str | None = None, step: int | None = None, again: bool = False) -> bool:
        """Measure every seed into its folder, and the mean and spread over seeds into the WORKDIR's.

        Args:
          last, step: as in `Experiment.evaluate`; not allowed for several seeds.
          again: also if the evaluation is up to date.

        Returns:
          Whether anything was measured.
        """
        runs = {seed: self._experiment(seed).run for seed in self.config.seeds}
        is_classification = next(iter(runs.values())).data.info.task == 'classification'
        members = list(runs.values()) if is_classification else []

        @cache
        def ensemble() -> Ensemble | None:
            return summarize_ensemble([run_evaluation.class_probs(run) for run in members]) if members else None

        is_new = False
        for seed, run in runs.items():
            say(f'seed {seed}:')
            is_new |= run_evaluation.evaluate(run, last, step, again, members, ensemble)
        processes.from_main(self._summarize)
        return is_new

    def measure_shifts(self) -> bool:
        """Measure the shifted sets that the config names, of each seed into its folder, and all of them together.

        Returns:
          Whether anything was measured or summarized.
        """
        is_new = False
        for seed in self.config.seeds:
            is_new |= self._experiment(seed).measure_shifts()
        return processes.from_main(self._summarize_shifts) or is_new

    def _summarize_shifts(self) -> bool:
        found = {seed: read_shifted(self.workdir / f'seed_{seed}' / SHIFTED) for seed in self.config.seeds}
        known = {seed: shifted for seed, shifted in found.items() if shifted is not None}
        if not known or len(known) < len(found):
            return False
        summary = summarize_shifted(known)
        first = read_evaluation(self.workdir / f'seed_{summary.seeds[0]}' / 'evaluation')
        table = seeds_to_table(summary, first.run.dataset.name)
        if not write_shifted_seeds(summary, table, self.workdir / SHIFTED):
            return False
        say(table)
        say(f'shifted sets over seeds: {self.workdir / SHIFTED}')
        return True

    def _summarize(self) -> None:
        found = {seed: read_evaluation(self.workdir / f'seed_{seed}' / 'evaluation') for seed in self.config.seeds}
        summary = summarize_evaluations(found, self.config.evaluate)
        table = to_markdown(summary, next(iter(found.values())).run)
        write_evaluation(with_seeds(found, summary), table, self.workdir / 'evaluation')
        say(table)
