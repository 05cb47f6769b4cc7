"""The evaluation of a run: test data and weights in, `Results` out."""

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import jax
import numpy as np

from failpred_jax.calibrate.temperature import fit_temperature
from failpred_jax.config import Config, EvaluateConfig, to_dict, used_options
from failpred_jax.console import say
from failpred_jax.data import Data
from failpred_jax.data.prepare import PrepareFn
from failpred_jax.evaluate.collect import Reader, Weights, collect, missing_needs, predictions
from failpred_jax.evaluate.pixels import collect_pixels, draw_pixels, measure_pixels
from failpred_jax.evaluate.scoring import Fitted, Plan, compute_scores, fit_scores, make_plan
from failpred_jax.evaluate.table import definitions, measure
from failpred_jax.metrics import ranking_metrics
from failpred_jax.models.network import Network
from failpred_jax.results import Results
from failpred_jax.scores.score import FitInputs, SampleSummary, ScoreInputs
from failpred_jax.types import Array, Examples

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

    Validation data are read for fitting, training data only by the scores that say so; test labels only here. What is
    kept of a segmentation's pixels is a sample; see pixels.py.

    Args:
      config: the experiment.
      data: all splits.
      network: the network.
      weights: its trained variables.
      prepare_fn: normalizes images.
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
    if data.info.task == 'segmentation':
        missing['ensemble'] = 'the probabilities of every pixel from several classifiers are more than is kept'
    elif ensemble is None:
        missing['ensemble'] = 'it needs the classifiers of several seeds (config.seeds)'
    plan = make_plan(options.scores, missing, data.info.task)
    key = jax.random.fold_in(jax.random.key(config.seed), _EVALUATION)

    def reader(needs: Set[str], number: int) -> Reader:
        return Reader(
            network, weights, prepare_fn, needs, options.batch_size, options.mc_samples, jax.random.fold_in(key, number)
        )

    run = _Run(plan, data, options, reader, config.seed, jax.random.fold_in(key, 2))
    found = run.of_pixels() if data.info.task == 'segmentation' else run.of_images(ensemble or {})
    for name, reason in found.metrics['unavailable'].items():
        if name in options.scores:
            say(f'warning: score {name}: {reason}')
    return dataclasses.replace(
        found,
        context={
            'mode': 'run',
            'created': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
            'dataset': {
                **dataclasses.asdict(data.info),
                'num_classes': data.info.num_classes,
                'num_train': len(data.train.images),
                'num_val': len(data.val.images),
                'num_test': len(data.test.images),
            },
            'model': used_options(config.model),
            'stages': list(stages),
            'warnings': list(warnings),
            'config': to_dict(config),
            'environment': dict(environment),
            'definitions': definitions(found.confidences),
            'train_targets': targets,
        },
        history=history,
    )


@dataclasses.dataclass(frozen=True)
class _Run:
    """The two ways of measuring a plan: with all images at hand, or pixel by pixel.

    Attributes:
      plan: the scores.
      data: all splits.
      options: what is measured.
      reader: (fields to fill, number of the pass) -> Reader.
      seed: of the samples of pixels.
      key: of the fits.
    """

    plan: Plan
    data: Data
    options: EvaluateConfig
    reader: Callable[[Set[str], int], Reader]
    seed: int
    key: Array

    def of_images(self, ensemble: Mapping[str, SampleSummary]) -> Results:
        needs, train_needs = self.plan.needs() - {'labels', 'ensemble'}, self.plan.train_needs()
        val, train, test = self.data.val, self.data.train, self.data.test
        fitted = self._fit(
            collect(self.reader(needs, 0), val)._replace(ensemble=ensemble.get('val')),
            val.labels,
            collect(self.reader(train_needs, 1), train) if train_needs else None,
            train.labels if train_needs else None,
        )
        inputs = collect(self.reader(needs, 3), test)._replace(labels=test.labels, ensemble=ensemble.get('test'))
        confidences, unavailable = compute_scores(self.plan, inputs, fitted)
        correct = predictions(inputs.logits) == test.labels
        metrics = measure(
            np.asarray(jax.nn.softmax(inputs.logits)), test.labels, correct, confidences, self.data.info.task,
            self.options, notes=fitted.notes, unavailable={**self.plan.unavailable, **unavailable},
        )  # fmt: skip
        keeps_images = test.images.nbytes <= self.options.keep_images_mb * 2**20
        return Results(
            metrics=metrics,
            context={},
            labels=test.labels,
            logits=np.asarray(inputs.logits),
            correct=correct,
            confidences=confidences,
            images=test.images if keeps_images else None,
        )

    def of_pixels(self) -> Results:
        needs, train_needs = self.plan.needs() - {'labels', 'ensemble'}, self.plan.train_needs()
        void, sizes = self.data.info.ignore_label, self.options

        def read(examples: Examples, needs: Set[str], number: int, num_pixels: int) -> tuple[ScoreInputs, np.ndarray]:
            sample = draw_pixels(examples.labels, void, num_pixels, self.seed)
            return collect_pixels(self.reader(needs, number), examples, sample), sample.labels

        val, val_labels = read(self.data.val, needs, 0, sizes.sample_pixels)
        train, train_labels = None, None
        if train_needs:
            train, train_labels = read(self.data.train, train_needs, 1, sizes.train_pixels)
        fitted = self._fit(val, val_labels, train, train_labels)
        found = measure_pixels(
            self.reader(needs, 3), self.plan, fitted, (val, val_labels), self.data.test, self.data.info, self.options,
            self.seed,
        )  # fmt: skip
        return Results(context={}, **found._asdict())

    def _fit(
        self, val: ScoreInputs, val_labels: Array, train: ScoreInputs | None, train_labels: Array | None
    ) -> Fitted:
        return fit_scores(
            self.plan,
            FitInputs(
                val=val,
                val_labels=val_labels,
                train=train,
                train_labels=train_labels,
                key=self.key,
                aurc_fn=aurc,
                temperature_fn=fit_temperature,
            ),
        )
