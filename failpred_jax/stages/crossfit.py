"""Held-out logits of the training set: every example predicted by a classifier that has not seen it.

A classifier that fits its training set perfectly leaves a confidence head nothing to learn there. Its errors on new
images are what the head should know of, and these logits have them; they take the place of the classifier's own in
the losses of the head.

Reference: Stone, "Cross-validatory choice and assessment of statistical predictions", JRSS B 1974.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from failpred_jax import processes
from failpred_jax.config import Config
from failpred_jax.console import say
from failpred_jax.data.lazy import part_of
from failpred_jax.errors import UserError
from failpred_jax.files import DAMAGE, read_npz, write_npz
from failpred_jax.stages import baseline
from failpred_jax.train.precompute import Program, compute_cached
from failpred_jax.train.stage import Stage, TrainState
from failpred_jax.types import DatasetInfo, Examples

# Keeps the folds apart from every other use of the seed.
_FOLDS = 0x666F6C64


def draw_folds(num_examples: int, num_folds: int, seed: int) -> np.ndarray:
    """Return the fold of each example: [num_examples] int32 in [0, num_folds), sizes equal to within one."""
    return np.random.default_rng((seed, _FOLDS)).permutation(num_examples).astype(np.int32) % np.int32(num_folds)


def check_can_crossfit(info: DatasetInfo) -> None:
    """Raise a UserError for a segmentation, whose held-out logits, of every pixel, no file should hold."""
    if info.task == 'segmentation':
        raise UserError(
            f"config.confidence.targets is 'crossfit', but '{info.name}' is for segmentation, where held-out logits of "
            "every pixel would take too much room; allowed there: 'train' or 'validation'"
        )


def held_out_logits(
    config: Config,
    program: Program,
    train: Examples,
    folder: Path,
    train_fn: Callable[[Stage, Path, Examples], TrainState],
) -> np.ndarray:
    """Return logits [N, C] float32 of the training examples, each by a classifier trained without its fold.

    The classifiers have the baseline's settings and its first parameters. What is finished in `folder` is not done
    again: a fold's classifier is a stage like any other, and `logits.npz`, written whole, is all of them.

    Args:
      config: the experiment; config.confidence.folds of them.
      program: what the stages run.
      train: the training examples.
      folder: where the folds live.
      train_fn: (stage, its folder, its examples) -> its best state; trains it unless it is finished.
    """
    file = folder / 'logits.npz'
    logits = processes.from_main(lambda: _read(file))
    if logits is not None:
        return logits
    num_folds = config.confidence.folds
    fold = draw_folds(len(train.labels), num_folds, config.seed)
    parts = []
    for k in range(num_folds):
        inside, outside = (
            jax.tree.map(functools.partial(part_of, rows=rows), train) for rows in (fold == k, fold != k)
        )
        say(f'crossfit: classifier {k + 1} of {num_folds}, without {len(inside.labels):,} examples')
        stage = baseline.make_stage(config, len(outside.labels))
        state = train_fn(stage, folder / f'fold_{k}', outside)
        found = compute_cached(program, state, inside, frozenset({'logits'}), program.eval_batch_size)
        parts.append(np.asarray(found.logits))
    logits = np.empty((len(fold), parts[0].shape[-1]), np.float32)
    for k, part in enumerate(parts):
        logits[fold == k] = part
    processes.from_main(lambda: write_npz(file, {'logits': logits, 'fold': fold}))
    return logits


def _read(file: Path) -> np.ndarray | None:
    """Return the logits of a finished file; None if the file is missing but its folder exists."""
    file.parent.mkdir(exist_ok=True)
    try:
        return read_npz(file)['logits'] if file.exists() else None
    except DAMAGE as error:
        raise UserError(
            f'{file} cannot be read ({error}); remove it, and it is made again from its folds, or restore it'
        ) from error
