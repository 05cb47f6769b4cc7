"""What there is for a confidence head to learn: the errors it is shown, and the true class probabilities."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from failpred_jax import devices, processes
from failpred_jax.console import say
from failpred_jax.files import write_json
from failpred_jax.train.precompute import Program
from failpred_jax.train.stage import TrainState
from failpred_jax.train.step import Outcomes, make_outcome_step, merge_params
from failpred_jax.train.validate import each_batch_of_units
from failpred_jax.types import Examples
from failpred_jax.workdir import read_record

# The histogram's bins, and where it counts as saturated: nearly every target in the last half per cent.
NUM_BINS = 50
SATURATED_FROM = 0.995
SATURATED_SHARE = 0.99
FEW_ERRORS = 20

WORDS = {
    'train': 'its {:,} training units',
    'validation': '{:,} validation units',
    'crossfit': 'the {:,} training units, each predicted by a classifier that has not seen it',
}


def look_at_targets(
    source: str, examples: Examples, baseline: TrainState, program: Program, workdir: Path
) -> dict[str, Any]:
    """Count the errors among the head's targets, say if they leave it nothing to learn, and remember it.

    Args:
      source: config.confidence.targets.
      examples: what the head learns from; held-out logits are cached in them where the source is 'crossfit'.
      baseline: the best state of the classifier.
      program: runs it.
      workdir: where confidence/targets.json is written. If it is there already, nothing is done again.

    Returns:
      As `describe_targets`.
    """
    found = read_targets(workdir)
    if found is not None:
        return found
    if examples.cached.logits is not None:
        parts: Iterable[Outcomes] = [outcomes_of(np.asarray(examples.cached.logits), examples.labels)]
    else:
        parts = _outcomes_of_classifier(examples, baseline, program)
    found = describe_targets(parts, source)
    say(f'the head learns from {found["num_errors"]:,} errors in {found["num_units"]:,} units ({source})')
    for text in found['warnings']:
        say(f'warning: {text}')
    processes.from_main(lambda: _write(found, workdir))
    return found


def _write(found: dict[str, Any], workdir: Path) -> None:
    (workdir / 'confidence').mkdir(exist_ok=True)
    write_json(workdir / 'confidence' / 'targets.json', found)


def read_targets(workdir: Path) -> dict[str, Any] | None:
    """Return what `look_at_targets` found, or None if it has not looked."""
    return read_record(workdir / 'confidence' / 'targets.json')


def _outcomes_of_classifier(examples: Examples, baseline: TrainState, program: Program) -> Iterator[Outcomes]:
    """Yield what the classifier alone makes of examples, batch by batch; there is no trained head yet."""
    outcome_fn = devices.map_over_devices(
        make_outcome_step(program.apply_fn, program.prepare_eval_fn, program.ignore_label)
    )
    params = devices.replicate(merge_params(baseline.trained, baseline.frozen))
    batch_stats = devices.replicate(baseline.batch_stats)
    return each_batch_of_units(outcome_fn, params, batch_stats, examples, program.eval_batch_size)


def outcomes_of(logits: np.ndarray, labels: np.ndarray) -> Outcomes:
    """Return what logits [N, C] say of examples with labels [N]; all of them count."""
    log_probs = np.asarray(jax.nn.log_softmax(logits))
    tcp = np.exp(np.take_along_axis(log_probs, labels[:, None], axis=-1)[:, 0])
    correct = log_probs.argmax(axis=-1) == labels
    return Outcomes(correct, np.exp(log_probs.max(axis=-1)), tcp, np.ones(len(labels), bool))


def describe_targets(parts: Iterable[Outcomes], source: str = 'train') -> dict[str, Any]:
    """Return the errors among the targets, the histogram of TCP, and warnings in plain words.

    Args:
      parts: outcomes of the examples that the head learns from, in any division, in evaluation mode, by the classifiers
        that make its targets. One part is held at a time: the pixels of a training set are many.
      source: config.confidence.targets.

    Returns:
      {'source', 'num_units', 'num_errors', 'histogram': {'edges' [K + 1], 'correct' [K], 'wrong' [K]},
      'warnings': [str]}.
    """
    edges = np.linspace(0.0, 1.0, NUM_BINS + 1)
    in_bins = {True: np.zeros(NUM_BINS, np.int64), False: np.zeros(NUM_BINS, np.int64)}
    num_saturated = 0
    for units in parts:
        for correct, counts in in_bins.items():
            counts += np.histogram(units.tcp[units.correct == correct], edges)[0]
        num_saturated += int(np.count_nonzero(units.tcp >= SATURATED_FROM))
    num_errors = int(in_bins[False].sum())
    num_units = num_errors + int(in_bins[True].sum())
    share = num_saturated / max(num_units, 1)
    warnings = []
    if num_errors < FEW_ERRORS:
        warnings.append(
            f'the classifier makes {num_errors} errors on {WORDS[source].format(num_units)}, so a head trained on '
            'them has too few errors to learn from; train the baseline for fewer epochs or with more '
            "regularization, or look at the score 'fusion', which learns from the errors on validation data"
        )
    if share >= SATURATED_SHARE:
        warnings.append(
            f'the true class probability is at least {SATURATED_FROM} for {share:.1%} of '
            f'{WORDS[source].format(num_units)}: nearly all targets of the head are the same; train the baseline for '
            'fewer epochs or with more regularization (softer or held-out targets helped little where it was measured)'
        )
    return {
        'source': source,
        'num_units': num_units,
        'num_errors': num_errors,
        'histogram': {
            'edges': edges.tolist(),
            'correct': in_bins[True].tolist(),
            'wrong': in_bins[False].tolist(),
        },
        'warnings': warnings,
    }
