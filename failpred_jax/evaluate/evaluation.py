"""The evaluation of a run: trained weights and data in, `Evaluation` out."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from failpred_jax.config import Config, to_dict, used_options
from failpred_jax.console import listen, say
from failpred_jax.data import Data
from failpred_jax.data.prepare import PrepareFn
from failpred_jax.evaluate.collect import Reader, Weights, collect, missing_needs
from failpred_jax.evaluate.describe import describe
from failpred_jax.evaluate.fits import keep_fits
from failpred_jax.evaluate.measure import measure
from failpred_jax.evaluate.own_classifier import SAMPLED, measure_own
from failpred_jax.evaluate.parts import Part, Parts, PixelStream
from failpred_jax.evaluate.pixels import collect_pixels, draw_pixels
from failpred_jax.evaluate.probe import check_fits, is_made_elsewhere, take_probe
from failpred_jax.evaluate.scoring import Plan, make_plan
from failpred_jax.models.network import Network
from failpred_jax.results import About, DatasetDescription, Evaluation, StageDescription, TargetsDescription
from failpred_jax.scores.score import SampleSummary
from failpred_jax.types import Examples

# Keeps the randomness of the evaluation apart from that of training.
_EVALUATION = 0x65766C
# Of the numbered passes, that over the test split; see `evaluation_key`.
TEST = 3
_WORDS = {'val': 'validation', 'train': 'training', 'cal': 'calibration'}


@dataclass(frozen=True)
class TrainedRun:
    """What is measured of a run.

    Attributes:
      config: the experiment.
      data: all splits.
      network: the network.
      weights: its trained variables.
      prepare_fn: normalizes images.
      ensemble: 'val', 'cal' and 'test' -> summary over the classifiers of several seeds, or None.
    """

    config: Config
    data: Data
    network: Network
    weights: Weights
    prepare_fn: PrepareFn
    ensemble: Mapping[str, SampleSummary] | None = None


@dataclass(frozen=True)
class RunRecord:
    """What a run tells of itself, for the page.

    Attributes:
      stages: that were trained, in order.
      warnings: that training raised.
      history: the stages' curves.
      environment: versions and devices.
      targets: what the head learned from, or None.
      fingerprint: digest of all that decides the result, or ''.
      augmented: a few training images under random changes, or None; see results/folder.py.
      weights: stage -> {'step', 'digest'} of the checkpoint that is measured.
      members: of an ensemble, the 'seed', 'step' and 'digest' of each classifier; empty without one.
      seconds: what was done before -> seconds.
    """

    stages: Sequence[StageDescription] = ()
    warnings: Sequence[str] = ()
    history: Mapping[str, Mapping[str, list]] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    targets: TargetsDescription | None = None
    fingerprint: str = ''
    augmented: Mapping[str, np.ndarray] | None = None
    weights: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    members: Sequence[Mapping[str, Any]] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


def evaluate(run: TrainedRun, record: RunRecord) -> Evaluation:
    """Measure every score that the config asks for on the test split.

    Validation data are read for fitting, training data only by the scores that say so; test labels only here. What is
    kept of a segmentation's pixels is a sample; see pixels.py.

    Raises:
      UserError: a score asked for by name cannot be had, or a network of one's own no longer takes the parameters.
    """
    config, data, options = run.config, run.data, run.config.evaluate
    check_fits(run.network, run.weights, config.model)
    plan = plan_of_run(config, data.info.task, run.network, run.weights, run.ensemble is not None)
    seconds: dict[str, float] = {}
    with listen(seconds):
        parts = _pixels_of(run, plan) if _is_segmentation(run) else _images_of(run, plan)
        found = measure(parts, plan, options)
        own = {field: together.measures for field in SAMPLED if (together := measure_own(parts, field, options))}
        probe = take_probe(parts.test, data.test) if is_made_elsewhere(config.model) else {}
    for name, reason in found.measures.unavailable.items():
        if name in options.scores:
            say(f'warning: score {name}: {reason}')
    description = describe(
        found.measures,
        describe_dataset(data),
        options.interval,
        mode='run',
        model=used_options(config.model),
        stages=tuple(record.stages),
        warnings=(*data.warnings, *record.warnings),
        config=to_dict(config),
        environment=dict(record.environment),
        train_targets=record.targets,
        fingerprint=record.fingerprint,
        seconds={**record.seconds, **seconds},
    )
    images = data.test.images
    keeps_images = images is not None and found.maps is None and images.nbytes <= options.keep_images_mb * 2**20
    return Evaluation(
        measures=replace(found.measures, own=own),
        run=description,
        test=found.test,
        validation=found.validation,
        calibration=found.calibration,
        fits=keep_fits(replace(found.fits, probe=probe), _facts(run, record)),
        images=np.asarray(images) if keeps_images else None,
        history=record.history,
        maps=found.maps,
        augmented=record.augmented,
    )


def _facts(run: TrainedRun, record: RunRecord) -> dict[str, Any]:
    """Return what the fits say of the run that they belong to: all that new images need besides config and weights."""
    info = dataclasses.asdict(run.data.info)
    return {
        'fingerprint': record.fingerprint,
        'weights': {name: dict(facts) for name, facts in record.weights.items()},
        'members': [dict(facts) for facts in record.members],
        'no_head': '' if run.weights.has_head else run.weights.no_head,
        'info': {key: list(value) if isinstance(value, tuple) else value for key, value in info.items()},
    }


def describe_dataset(data: Data) -> DatasetDescription:
    """Return the description of a data set with its splits."""
    info = data.info
    return DatasetDescription(
        info.name,
        info.task,
        info.num_classes,
        tuple(info.class_names),
        tuple(info.image_shape),
        info.ignore_label,
        *(len(part.labels) for part in (data.train, data.val, data.test)),
        num_calibration=0 if data.calibration is None else len(data.calibration.labels),
    )


def _is_segmentation(run: TrainedRun) -> bool:
    return run.data.info.task == 'segmentation'


def plan_of_run(config: Config, task: str, network: Network, weights: Weights, has_ensemble: bool) -> Plan:
    """Return which scores a run can have.

    Raises:
      UserError: a score asked for by name cannot be had.
    """
    missing = missing_needs(network, weights)
    if task == 'segmentation':
        missing['ensemble'] = 'the probabilities of every pixel from several classifiers are more than is kept'
    elif not has_ensemble:
        missing['ensemble'] = 'it needs the classifiers of several seeds (config.seeds)'
    return make_plan(config.evaluate.scores, missing, task)


def evaluation_key(seed: int, number: int) -> jax.Array:
    """Return the key of a run's numbered pass: 0 to 4 are validation, training, the fits, TEST, and calibration."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), _EVALUATION), number)


def _readers(run: TrainedRun) -> Callable[[Set[str], int], Reader]:
    """Return (needs, number of the pass) -> Reader; passes with the same needs share a compiled program."""
    options, made = run.config.evaluate, {}

    def reader(needs: Set[str], number: int) -> Reader:
        key = evaluation_key(run.config.seed, number)
        if frozenset(needs) not in made:
            made[frozenset(needs)] = Reader(
                run.network, run.weights, run.prepare_fn, needs, options.batch_size, options.mc_samples, key
            )
        return made[frozenset(needs)].with_key(key)

    return reader


def _images_of(run: TrainedRun, plan: Plan) -> Parts:
    """Return the splits of a classifier's run, each read once."""
    needs, train_needs = plan.needs() - {'labels', 'ensemble'}, plan.train_needs()
    ensemble, reader = run.ensemble or {}, _readers(run)

    def part(examples: Examples, needs: Set[str], number: int, split: str) -> Part:
        inputs = collect(
            reader(needs, number), examples, f'running the network on the {_WORDS.get(split, split)} images'
        )
        about = About(group=run.data.groups.get(_WORDS.get(split, split)))
        return Part(inputs._replace(ensemble=ensemble.get(split)), examples.labels, about=about)

    data = run.data
    return Parts(
        task=data.info.task,
        val=part(data.val, needs, 0, 'val'),
        train=part(data.train, train_needs, 1, 'train') if train_needs else None,
        test=part(data.test, needs, TEST, 'test'),
        cal=None if data.calibration is None else part(data.calibration, needs, 4, 'cal'),
        key=evaluation_key(run.config.seed, 2),
    )


def _pixels_of(run: TrainedRun, plan: Plan) -> Parts:
    """Return samples of the pixels that scores are fitted on, and the stream of those that are measured."""
    needs, train_needs = plan.needs() - {'labels', 'ensemble'}, plan.train_needs()
    data, options, seed, reader = run.data, run.config.evaluate, run.config.seed, _readers(run)

    def part(examples: Examples, needs: Set[str], number: int, num_pixels: int) -> Part:
        sample = draw_pixels(examples.labels, data.info.ignore_label, num_pixels, seed)
        about = About(group=sample.image_of)
        return Part(collect_pixels(reader(needs, number), examples, sample), sample.labels, about=about)

    return Parts(
        task=data.info.task,
        val=part(data.val, needs, 0, options.sample_pixels),
        train=part(data.train, train_needs, 1, options.train_pixels) if train_needs else None,
        test=PixelStream(reader(needs, TEST), data.test, data.info, seed),
        # Pixels of one image err together: certificates take one of each.
        cal=None if data.calibration is None else part(data.calibration, needs, 4, options.sample_pixels),
        key=evaluation_key(run.config.seed, 2),
    )
