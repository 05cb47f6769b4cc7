"""One run with one seed: its stages in order, then its evaluation. What is done is not done again."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from failpred_jax import data as data_room
from failpred_jax import devices, processes
from failpred_jax.config import Config
from failpred_jax.console import say
from failpred_jax.data.prepare import make_prepare_fns
from failpred_jax.errors import UserError, nearest
from failpred_jax.evaluate.collect import Reader, Weights, collect
from failpred_jax.evaluate.evaluation import RunRecord, TrainedRun, evaluate
from failpred_jax.files import write_json
from failpred_jax.models.network import Network, make_network
from failpred_jax.results import Evaluation, StageDescription
from failpred_jax.results.codec import targets_from_json
from failpred_jax.scores.score import SampleSummary
from failpred_jax.stages import make_stages, start_state
from failpred_jax.stages.crossfit import check_can_crossfit, held_out_logits
from failpred_jax.stages.targets import describe_targets, units_of
from failpred_jax.stopping import Stop
from failpred_jax.torch_import import read_torch_checkpoint, start_from_vgg16
from failpred_jax.train.checkpoints import Checkpoints, Damaged, Progress
from failpred_jax.train.loop import StageResult, train_stage
from failpred_jax.train.precompute import Budget, Program
from failpred_jax.train.stage import Stage, TrainState
from failpred_jax.train.stage_log import read_curves
from failpred_jax.train.step import Units, init_state, make_validation_step, merge_params
from failpred_jax.train.validate import each_batch_of_units
from failpred_jax.types import Cached, Examples
from failpred_jax.workdir import environment, read_record


class Pipeline:
    """A run of one seed, with its data loaded and its network made."""

    def __init__(self, config: Config, workdir: Path, stop: Stop):
        self.config, self.workdir, self.stop = config, workdir, stop
        self.environment = environment()
        processes.from_main(lambda: write_json(workdir / 'environment.json', self.environment))
        devices.check_batch_size(config.evaluate.batch_size, 'config.evaluate.batch_size')
        self.data = self._load_data()
        # What the confidence is learned from.
        self.head_train = self.data.train
        if config.confidence.targets == 'validation':
            self.head_train, self.data = data_room.split_validation(self.data, config.data.split_seed)
        elif config.confidence.targets == 'crossfit':
            check_can_crossfit(self.data.info)
        self.network: Network = make_network(config.model, self.data.info)
        prepare_train_fn, prepare_eval_fn = make_prepare_fns(config.data, self.data.info)
        self.program = Program(
            self.network.apply,
            self.network.precompute,
            prepare_train_fn,
            prepare_eval_fn,
            self.data.info.ignore_label,
            config.evaluate.batch_size,
        )
        self.stages = make_stages(config, len(self.data.train.labels), len(self.head_train.labels))
        say(
            f'{self.data.info.name}: {len(self.data.train.images):,} training, {len(self.data.val.images):,} '
            f'validation and {len(self.data.test.images):,} test examples, {self.data.info.num_classes} classes; '
            f'{config.model.name} on {devices.describe()}; WORKDIR {workdir}'
        )

    def _load_data(self) -> data_room.Data:
        """Return the data with the split of split.npz, which process 0 reads, or draws and writes, for all."""
        found: list[data_room.Data] = []

        def load() -> dict[str, np.ndarray]:
            found.append(data_room.load_data(self.config.data, self.workdir / 'split.npz'))
            return found[0].split

        split = processes.from_main(load)
        # Only now, so that a data set that has to be prepared on a shared disk is prepared once.
        return found[0] if found else data_room.load_data(self.config.data, split=split)

    def train(self) -> None:
        """Train the stages that are not finished."""
        previous: TrainState | None = None
        for stage in self.stages:
            previous = self._train(stage, self.workdir / stage.name, previous)

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
        result = self._result(folder)
        start = start_state(stage, self.network, self.config.seed, previous)
        if result is None:
            if stage.starts_from is None and self.config.baseline.init_from:
                # Only here: a finished baseline does not need the file any more.
                start = start.replace(
                    trained=start_from_vgg16(self.config.baseline.init_from, self.config.model, start.trained)
                )
            if examples is None:
                examples = self.data.train if stage.starts_from is None else self._examples_of_head()
            if stage.name == 'confidence' and self._targets() is None:
                self._look_at_targets(stage, previous, examples)
            data = self.config.data
            result = train_stage(
                stage,
                self.program,
                start,
                examples,
                self.data.val,
                folder,
                self.config.run,
                Budget(data.device_budget_mb * 2**20, data.host_budget_mb * 2**20),
                data_seed=self.config.seed,
                stop=self.stop,
            )
            self._write_result(folder, result)
        value = 'undefined' if result.best_value is None else f'{result.best_value:.4f}'
        say(
            f'{folder.name}: {result.step} steps, {result.seconds:.0f} s; best validation {stage.select_by} '
            f'{value} at step {result.best_step}'
        )
        return self._restore(folder, result.best_step, start)

    def _examples_of_head(self) -> Examples:
        """Return what the confidence is learned from; held-out logits are made first, where they are asked for."""
        if self.config.confidence.targets != 'crossfit':
            return self.head_train

        def train_fn(stage: Stage, folder: Path, examples: Examples) -> TrainState:
            return self._train(stage, folder, None, examples)

        logits = held_out_logits(self.config, self.program, self.data.train, self.workdir / 'crossfit', train_fn)
        return self.head_train._replace(cached=Cached(logits=logits))

    def _write_result(self, folder: Path, result: StageResult) -> None:
        processes.from_main(lambda: write_json(folder / 'result.json', dataclasses.asdict(result)))

    def import_torch(self, path: str) -> None:
        """Turn a checkpoint of the reference into finished stages of this run.

        A baseline becomes the stage 'baseline'; with a head it becomes 'confidence' too, and a fine-tuned one all
        three. Stages that the checkpoint does not hold are trained by the next --mode=run.

        Raises:
          UserError: the file cannot be used (see torch_import.py), a stage it holds is switched off in the config, or
            the WORKDIR already has that stage.
        """
        params, batch_stats = read_torch_checkpoint(path, self.config.model, self.data.info)
        held = [
            'baseline',
            *(['confidence'] if 'head' in params else []),
            *(['finetune'] if 'encoder' in params else []),
        ]
        by_name = {stage.name: stage for stage in self.stages}
        for name in held:
            if name not in by_name:
                raise UserError(f"'{path}' holds the stage '{name}', but config.{name}.epochs is 0; set it above 0")
            if processes.from_main(lambda name=name: (self.workdir / name).exists()):
                raise UserError(
                    f"'{self.workdir}' already has the stage '{name}'; import into another --workdir, or move this one "
                    'aside with --force'
                )
        for name in held:
            start = start_state(by_name[name], self.network, self.config.seed, self._like_previous(by_name[name]))
            whole = merge_params(start.trained, start.frozen)
            whole |= {key: value for key, value in params.items() if key in whole}
            state = init_state(
                by_name[name], whole, {**start.batch_stats, **{k: batch_stats[k] for k in start.batch_stats}}, start.key
            )
            folder = self.workdir / name
            checkpoints = Checkpoints(folder / 'checkpoints')
            checkpoints.save(state, Progress(best_step=0))
            checkpoints.close()
            result = StageResult(0, 0, None, 0.0, (f'imported from {Path(path).name}, not trained here',))
            self._write_result(folder, result)
        say(f'imported {", ".join(held)} from {path} into {self.workdir}')

    def evaluate(
        self,
        last: str | None = None,
        step: int | None = None,
        ensemble: Mapping[str, SampleSummary] | None = None,
    ) -> Evaluation:
        """Measure the trained weights on the test split.

        Args:
          last: use the weights of this stage and those before it; None for all.
          step: use this checkpoint of that stage; None for its best.
          ensemble: 'val' and 'test' -> summary over the classifiers of several seeds; None without them.
        """
        chosen = self._chosen(last)
        states: dict[str, TrainState] = {}
        described, warnings = [], []
        for stage in chosen:
            result = self._finished(stage)
            at = step if step is not None and stage.name == last else result.best_step
            states[stage.name] = self._load(stage, at)
            warnings += [f'{stage.name}: {text}' for text in result.warnings]
            value = float('nan') if result.best_value is None else result.best_value
            described.append(
                StageDescription(stage.name, stage.select_by, result.step, at, result.best_step, value, result.seconds)
            )
        targets = self._targets()
        augmented = data_room.draw_augmented(
            self.config.data.augment, self.data.info, self.data.train, self.config.seed
        )
        return evaluate(
            TrainedRun(self.config, self.data, self.network, _weights(states), self.program.prepare_eval_fn, ensemble),
            RunRecord(
                stages=described,
                warnings=[*warnings, *(targets['warnings'] if targets else ())],
                history=processes.from_main(
                    lambda: {stage.name: read_curves(self.workdir / stage.name / 'metrics.csv') for stage in chosen}
                ),
                environment=self.environment,
                targets=targets and targets_from_json(targets),
                augmented=augmented,
            ),
        )

    def class_probs(self) -> dict[str, np.ndarray]:
        """Return the baseline's class probabilities of the validation and test splits: [N, C] float32 each."""
        stage = self.stages[0]
        result = self._finished(stage)
        weights = _weights({stage.name: self._load(stage, result.best_step)})
        found = {}
        for name, examples in (('val', self.data.val), ('test', self.data.test)):
            reader = Reader(
                self.network, weights, self.program.prepare_eval_fn, frozenset(), self.program.eval_batch_size, 0,
                jax.random.key(0),
            )  # fmt: skip
            inputs = collect(reader, examples)
            found[name] = np.asarray(jax.nn.softmax(inputs.logits))
        return found

    def _chosen(self, last: str | None) -> list[Stage]:
        names = [stage.name for stage in self.stages]
        if last is None:
            return self.stages
        if last not in names:
            hint = nearest(last, names)
            raise UserError(f"--stage is '{last}'{hint}; the stages of this run are: {', '.join(names)}")
        return self.stages[: names.index(last) + 1]

    def _finished(self, stage: Stage) -> StageResult:
        result = self._result(self.workdir / stage.name)
        if result is None:
            raise UserError(f"the stage '{stage.name}' of '{self.workdir}' is not finished; --mode=run goes on with it")
        return result

    def _result(self, folder: Path) -> StageResult | None:
        """Return what a finished stage left in its folder, or None if it is not finished."""
        fields = read_record(folder / 'result.json')
        return fields and StageResult(**{**fields, 'warnings': tuple(fields['warnings'])})

    def _targets(self) -> dict[str, Any] | None:
        """Return what `_look_at_targets` found, or None if it has not looked."""
        return read_record(self.workdir / 'confidence' / 'targets.json')

    def _load(self, stage: Stage, step: int) -> TrainState:
        """Return a checkpoint of a finished stage."""
        like = start_state(stage, self.network, self.config.seed, self._like_previous(stage))
        return self._restore(self.workdir / stage.name, step, like)

    def _like_previous(self, stage: Stage) -> TrainState | None:
        """Return a state of the structure of the stage before; its values do not matter."""
        if stage.starts_from is None:
            return None
        before = next(s for s in self.stages if s.name == stage.starts_from)
        return start_state(before, self.network, self.config.seed, self._like_previous(before))

    def _restore(self, folder: Path, step: int, like: TrainState) -> TrainState:
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

    def _look_at_targets(self, stage: Stage, baseline: TrainState, examples: Examples) -> None:
        """Count the errors among the head's targets and say if they leave it nothing to learn."""
        source = self.config.confidence.targets
        if source == 'crossfit':
            parts: Iterable[Units] = [units_of(examples.cached.logits, examples.labels)]
        else:
            parts = self._units(stage, baseline, examples)
        found = describe_targets(parts, source)
        say(f'the head learns from {found["num_errors"]:,} errors in {found["num_units"]:,} units ({source})')
        for text in found['warnings']:
            say(f'warning: {text}')

        def write() -> None:
            (self.workdir / stage.name).mkdir(exist_ok=True)
            write_json(self.workdir / stage.name / 'targets.json', found)

        processes.from_main(write)

    def _units(self, stage: Stage, baseline: TrainState, examples: Examples) -> Iterator[Units]:
        """Yield what the classifier alone makes of examples, batch by batch."""
        validate_fn = devices.map_over_devices(
            make_validation_step(
                # The classifier alone: there is no trained head yet.
                dataclasses.replace(stage, with_confidence=False, loss_fn=lambda outputs, labels, mask: labels * 0.0),
                self.program.apply_fn,
                self.program.prepare_eval_fn,
                self.program.ignore_label,
            )
        )
        params = devices.replicate(merge_params(baseline.trained, baseline.frozen))
        return each_batch_of_units(
            validate_fn,
            params,
            devices.replicate(baseline.batch_stats),
            examples,
            self.program.eval_batch_size,
        )


def _weights(states: dict[str, TrainState]) -> Weights:
    """Return the variables of the trained stages: the classifier's from the last stage that leaves its head alone."""

    def variables(state: TrainState) -> tuple[Any, Any]:
        return merge_params(state.trained, state.frozen), state.batch_stats

    classifier = states.get('confidence', states['baseline'])
    finetuned = states.get('finetune')
    return Weights(variables(classifier), variables(finetuned) if finetuned else None, 'confidence' in states)
