"""The evaluation of a run: test data and weights in, `Results` out."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from failpred_jax.calibrate.temperature import fit_temperature
from failpred_jax.config import Config, to_dict
from failpred_jax.data import Data
from failpred_jax.data.prepare import PrepareFn
from failpred_jax.evaluate.collect import Weights, collect, missing_needs, predictions
from failpred_jax.evaluate.scoring import compute_scores, fit_scores, make_plan
from failpred_jax.evaluate.table import definitions, measure
from failpred_jax.metrics import ranking_metrics
from failpred_jax.models.network import Network
from failpred_jax.train.logging import say
from failpred_jax.types import Array, Examples, FitInputs, Results, SampleSummary, ScoreInputs

# Keeps the randomness of the evaluation apart from that of training.
_EVALUATION = 0x65766C


@jax.jit
def aurc(confidence: Array, correct: Array) -> Array:
    """Return the AURC of confidences [N] float32, [N] bool; compiled, since fits ask for it again and again."""
    return ranking_metrics(confidence, correct)['aurc']


def evaluate(
    config: Config,
    data: Data,
    network: Network,
    weights: Weights,
    prepare_fn: PrepareFn,
    stages: Sequence[Mapping[str, Any]],
    warnings: Sequence[str],
    history: Mapping[str, Mapping[str, list]],
    environment: Mapping[str, Any],
    targets: Mapping[str, Any] | None,
    ensemble: Mapping[str, SampleSummary] | None,
) -> Results:
    """Measure every score that the config asks for on the test split.

    Validation data are read for fitting, training data only by the scores that say so; test labels only here.

    Args:
      config: the experiment.
      data: all splits.
      network: the network.
      weights: its trained variables.
      prepare_fn: normalises images.
      stages: for the report, as stages[i] = {'name', 'step', 'num_steps', 'seconds', ...}.
      warnings: that training raised.
      history: the stages' curves.
      environment: versions and devices.
      targets: from stages.targets.describe_targets, or None.
      ensemble: 'val' and 'test' -> summary over the classifiers of several seeds, or None.

    Raises:
      UserError: a score asked for by name cannot be had.
    """
    options = config.evaluate
    missing = missing_needs(network, weights)
    if ensemble is None:
        missing['ensemble'] = 'it needs the classifiers of several seeds (config.seeds)'
    plan = make_plan(options.scores, missing, data.info.task)
    key = jax.random.fold_in(jax.random.key(config.seed), _EVALUATION)

    def read(examples: Examples, needs: frozenset[str], number: int) -> ScoreInputs:
        return collect(
            network, weights, prepare_fn, examples, needs, options.batch_size, options.mc_samples,
            jax.random.fold_in(key, number),
        )  # fmt: skip

    needs = plan.needs() - {'labels', 'ensemble'}
    ensemble = ensemble or {'val': None, 'test': None}
    train_needs = plan.train_needs()
    fitted = fit_scores(
        plan,
        FitInputs(
            val=read(data.val, needs, 0)._replace(ensemble=ensemble['val']),
            val_labels=data.val.labels,
            train=read(data.train, train_needs, 1) if train_needs else None,
            train_labels=data.train.labels if train_needs else None,
            key=jax.random.fold_in(key, 2),
            aurc_fn=aurc,
            temperature_fn=fit_temperature,
        ),
    )
    inputs = read(data.test, needs, 3)._replace(labels=data.test.labels, ensemble=ensemble['test'])
    confidences, unavailable = compute_scores(plan, inputs, fitted)
    for name in unavailable:
        if name in options.scores:
            say(f'warning: score {name}: {unavailable[name]}')
    correct = predictions(inputs.logits) == data.test.labels
    metrics = measure(
        np.asarray(jax.nn.softmax(inputs.logits)), data.test.labels, correct, confidences, data.info.task, options,
        notes=fitted.notes, unavailable={**plan.unavailable, **unavailable},
    )  # fmt: skip
    context = {
        'mode': 'run',
        'created': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'dataset': {
            **dataclasses.asdict(data.info),
            'num_classes': data.info.num_classes,
            'num_train': len(data.train.images),
            'num_val': len(data.val.images),
            'num_test': len(data.test.images),
        },
        'model': dataclasses.asdict(config.model),
        'stages': list(stages),
        'warnings': list(warnings),
        'config': to_dict(config),
        'environment': dict(environment),
        'definitions': definitions(confidences),
        'train_targets': targets,
    }
    keeps_images = data.test.images.nbytes <= options.keep_images_mb * 2**20
    return Results(
        metrics=metrics,
        context=context,
        labels=data.test.labels,
        logits=np.asarray(inputs.logits),
        correct=correct,
        confidences=confidences,
        images=data.test.images if keeps_images else None,
        history=history,
    )
