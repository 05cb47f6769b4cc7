"""The evaluation of a run: which weights are measured, whether that is done already, and where it is written.

What an evaluation would find is known before: it is decided by the weights, the data and the options, so their digest
(`fingerprint`) is kept with it, and an evaluation that is there is not made again.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from failpred_jax import __version__, processes
from failpred_jax import data as data_room
from failpred_jax.config import to_dict, what_trains
from failpred_jax.console import say
from failpred_jax.errors import given
from failpred_jax.evaluate.collect import Reader, Weights, collect
from failpred_jax.evaluate.evaluation import RunRecord, TrainedRun
from failpred_jax.evaluate.evaluation import evaluate as measure_run
from failpred_jax.evaluate.table import to_markdown
from failpred_jax.prepared import PreparedRun
from failpred_jax.results import Evaluation, StageDescription, write_evaluation
from failpred_jax.results.codec import targets_from_json
from failpred_jax.scores.score import SampleSummary
from failpred_jax.stages.targets import read_targets
from failpred_jax.train.loop import StageResult
from failpred_jax.train.stage import Stage, TrainState
from failpred_jax.train.step import merge_params

Ensemble = Mapping[str, SampleSummary]


def evaluate(
    run: PreparedRun,
    last: str | None = None,
    step: int | None = None,
    again: bool = False,
    members: Sequence[PreparedRun] = (),
    ensemble_fn: Callable[[], Ensemble | None] = lambda: None,
) -> bool:
    """Measure the trained weights of a run on its test split, into its evaluation folder, and print the table.

    Args:
      run: the run.
      last: use the weights of this stage and those before it; None for all.
      step: use this checkpoint of that stage; None for its best.
      again: also if the folder already has what would be found.
      members: the runs whose classifiers make the ensemble.
      ensemble_fn: makes it: 'val', 'cal' and 'test' -> summary over the members. Called if anything is measured.

    Returns:
      Whether anything was measured.
    """
    chosen = run.store.up_to(last)
    finished = {stage.name: run.store.finished(stage) for stage in chosen}
    steps = {name: result.best_step for name, result in finished.items()}
    if step is not None and last is not None:
        steps[last] = step
    fingerprint = _fingerprint(run, chosen, steps, members)
    folder = run.workdir / 'evaluation'
    if not again and processes.from_main(lambda: _is_there(run, fingerprint)):
        say(f'{folder} is up to date (--mode=evaluate makes it again):')
        say(processes.from_main(lambda: (folder / 'table.md').read_text(encoding='utf-8')))
        return False
    ensemble = ensemble_fn()
    evaluation = _measure(run, chosen, finished, steps, ensemble, fingerprint, members if ensemble else ())
    table = to_markdown(evaluation.measures, evaluation.run)
    processes.from_main(lambda: write_evaluation(evaluation, table, folder))
    say(table)
    return True


def _is_there(run: PreparedRun, fingerprint: str) -> bool:
    """Return whether the evaluation folder is whole, and what an evaluation would write."""
    folder = run.workdir / 'evaluation'
    try:
        context = json.loads((folder / 'context.json').read_text(encoding='utf-8'))
        is_whole = all(
            (folder / name).exists() for name in ('metrics.json', 'predictions.npz', 'table.md', 'fitted/fitted.json')
        )
        return is_whole and context.get('fingerprint') == fingerprint
    except (OSError, ValueError, AttributeError):
        return False


def _fingerprint(
    run: PreparedRun, stages: Sequence[Stage], steps: Mapping[str, int], members: Sequence[PreparedRun]
) -> str:
    """Return a digest of all that decides what an evaluation finds; the same on every process."""
    options = to_dict(run.config)
    digest = hashlib.blake2b(digest_size=16)
    # Shifted sets are measured after it, from what it leaves.
    measured = {k: v for k, v in options['evaluate'].items() if k not in ('shifts', 'shift_images')}
    known: list[Any] = [__version__, what_trains(options), measured]
    known += [(stage.name, steps[stage.name], run.store.digest(stage, steps[stage.name])) for stage in stages]
    for member in members:
        facts = _member(member)
        known.append((facts['seed'], facts['digest']))
    digest.update(json.dumps(known).encode())
    for part in (run.data.test, run.data.val, run.data.calibration):
        if part is None:
            continue
        data_room.add_rows(digest, given(part.images, 'images'))
        data_room.add_rows(digest, part.labels)
    data_room.add_rows(digest, run.data.train.labels)
    for name, groups in sorted(run.data.groups.items()):
        if name != 'training':
            digest.update(f'{name} {groups.tolist()}'.encode())
    return digest.hexdigest()


def _member(run: PreparedRun) -> dict[str, Any]:
    """Return which classifier a run gives to an ensemble: its baseline's best."""
    first = run.stages[0]
    step = run.store.finished(first).best_step
    return {'seed': run.config.seed, 'step': step, 'digest': run.store.digest(first, step)}


def _measure(
    run: PreparedRun,
    chosen: Sequence[Stage],
    finished: Mapping[str, StageResult],
    steps: Mapping[str, int],
    ensemble: Ensemble | None,
    fingerprint: str,
    members: Sequence[PreparedRun],
) -> Evaluation:
    states = {stage.name: run.store.load(stage, steps[stage.name]) for stage in chosen}
    targets = read_targets(run.workdir)
    warnings = [f'{name}: {text}' for name, result in finished.items() for text in result.warnings]
    return measure_run(
        TrainedRun(
            run.config, run.data, run.network, _weights(states, finished), run.program.prepare_eval_fn, ensemble
        ),
        RunRecord(
            stages=[_described(stage, finished[stage.name], steps[stage.name]) for stage in chosen],
            warnings=[*warnings, *(targets['warnings'] if targets else ())],
            history=run.store.curves(chosen),
            seconds=run.seconds,
            environment=run.environment,
            targets=targets_from_json(targets) if targets else None,
            fingerprint=fingerprint,
            weights={
                stage.name: {'step': steps[stage.name], 'digest': run.store.digest(stage, steps[stage.name])}
                for stage in chosen
            },
            members=[_member(member) for member in members],
            augmented=data_room.draw_augmented(run.config.data.augment, run.data.info, run.data.train, run.config.seed),
        ),
    )


def _described(stage: Stage, result: StageResult, step: int) -> StageDescription:
    value = math.nan if result.best_value is None else result.best_value
    return StageDescription(stage.name, stage.select_by, result.step, step, result.best_step, value, result.seconds)


def _weights(states: Mapping[str, TrainState], finished: Mapping[str, StageResult]) -> Weights:
    """Return the variables of the trained stages: the classifier's from the last stage that leaves its head alone."""
    no_head = finished['confidence'].unavailable if 'confidence' in finished else 'the run has no confidence stage'

    def variables(state: TrainState) -> tuple[Any, Any]:
        return merge_params(state.trained, state.frozen), state.batch_stats

    classifier = states.get('confidence', states['baseline'])
    finetuned = states.get('finetune')
    return Weights(variables(classifier), variables(finetuned) if finetuned else None, not no_head, no_head)


def class_probs(run: PreparedRun) -> dict[str, np.ndarray]:
    """Return the baseline's class probabilities of 'val', 'test' and, if it is there, 'cal': [N, C] float32 each."""
    stage = run.stages[0]
    result = run.store.finished(stage)
    weights = _weights({stage.name: run.store.load(stage, result.best_step)}, {stage.name: result})
    reader = Reader(
        run.network, weights, run.program.prepare_eval_fn, frozenset(), run.program.eval_batch_size, 0,
        jax.random.key(0),
    )  # fmt: skip
    found = {}
    for name, examples in (('val', run.data.val), ('test', run.data.test), ('cal', run.data.calibration)):
        if examples is None:
            continue
        found[name] = np.asarray(jax.nn.softmax(collect(reader, examples).logits))
    return found
