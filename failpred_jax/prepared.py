"""What a run of one seed works with: its data, network, stages and store, made ready from its config."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax import data as data_room
from failpred_jax import devices, processes
from failpred_jax.config import Config, DataConfig
from failpred_jax.console import listen, phase, say
from failpred_jax.data.prepare import make_prepare_fns
from failpred_jax.errors import UserError
from failpred_jax.evaluate.collect import Weights
from failpred_jax.evaluate.evaluation import plan_of_run
from failpred_jax.files import read_json, write_json
from failpred_jax.models.network import Network, make_network
from failpred_jax.registry import SCORES
from failpred_jax.stages import make_stages, start_state
from failpred_jax.stages.crossfit import check_can_crossfit
from failpred_jax.stages.imported import with_initial_weights
from failpred_jax.stages.store import Store
from failpred_jax.train.precompute import Program
from failpred_jax.train.stage import Stage
from failpred_jax.types import Examples
from failpred_jax.workdir import environment, has_trained


@dataclass(frozen=True)
class PreparedRun:
    """A run of one seed, ready to train or to evaluate.

    Attributes:
      config: the experiment.
      workdir: where it lives.
      environment: versions and devices.
      data: all splits; of the validation split what is left to select and to fit.
      head_train: what the confidence is learned from.
      network: the network.
      program: what the classifier's stage runs.
      head_program: what the stages of the head run.
      stages: those that have epochs, in order.
      store: what they leave in the WORKDIR.
      seconds: what was done to prepare it -> seconds.
    """

    config: Config
    workdir: Path
    environment: Mapping[str, Any]
    data: data_room.Data
    head_train: Examples
    network: Network
    program: Program
    head_program: Program
    stages: list[Stage]
    store: Store
    seconds: Mapping[str, float]


def prepare_run(config: Config, workdir: Path) -> PreparedRun:
    """Load the data and make the network and the stages; the WORKDIR is locked already.

    Raises:
      UserError: the data, the model and the devices do not go together.
    """
    described = environment()
    processes.from_main(lambda: write_json(workdir / 'environment.json', described))
    _check_evaluation(config)
    seconds: dict[str, float] = {}
    with listen(seconds), phase('reading the data', is_shown=False):
        data = _load_data(config.data, workdir)
    _check_decisions(config, data)
    processes.from_main(lambda: _check_same_data(workdir, data))
    data, head_train, network = _network_and_parts(config, data)
    program = _make_program(config, data, network)
    head_program = program
    if config.confidence.targets == 'crossfit':
        # Held-out logits are those of the images as stored, so these are what the head has to see with them.
        head_program = dataclasses.replace(program, prepare_train_fn=program.prepare_eval_fn)
        if program.prepare_train_fn is not program.prepare_eval_fn:
            say('crossfit: the head learns from images as stored, which the held-out predictions are of; only the '
                'classifiers are trained on augmented ones')  # fmt: skip
    stages = make_stages(config, len(data.train.labels), len(head_train.labels))
    *sizes, last = (f'{len(examples.labels):,} {name}' for name, examples in data.parts.items())
    say(
        f'{data.info.name}: {", ".join(sizes)} and {last} examples, {data.info.num_classes} classes; '
        f'{config.model.name} on {devices.describe()}; WORKDIR {workdir}'
    )
    store = Store(workdir, stages, network, config)
    return PreparedRun(
        config, workdir, described, data, head_train, network, program, head_program, stages, store, seconds
    )  # fmt: skip


def check_run(config: Config, data: data_room.Data, workdir: Path) -> None:
    """Find what would stop a run with these data, before it is started; nothing is written.

    Raises:
      UserError: as in `prepare_run`, or for weights to start from, or scores, that cannot be had.
    """
    _check_evaluation(config)
    _check_decisions(config, data)
    if has_trained(workdir):
        _known_data(workdir, data)
    data, head_train, network = _network_and_parts(config, data)
    _make_program(config, data, network)
    stages = make_stages(config, len(data.train.labels), len(head_train.labels))
    check_scores(config, data.info.task, network, stages, bool(config.seeds))
    if config.baseline.init_from and not has_trained(workdir):
        with_initial_weights(config, data.info, stages[0], start_state(stages[0], network, config.seed, None))


def check_scores(config: Config, task: str, network: Network, stages: Sequence[Stage], has_ensemble: bool) -> None:
    """Raise a UserError for scores, asked for by name, that these stages cannot have when they are trained."""
    nothing, names = (None, None), [stage.name for stage in stages]
    weights = Weights(nothing, nothing if 'finetune' in names else None, 'confidence' in names)
    plan_of_run(config, task, network, weights, has_ensemble)


def _check_evaluation(config: Config) -> None:
    """Refuse before training what the evaluation after it cannot do."""
    devices.check_batch_size(config.evaluate.batch_size, 'config.evaluate.batch_size')
    reference, scores = config.evaluate.reference_score, config.evaluate.scores
    if reference and not {reference, 'all'} & set(scores):
        raise UserError(
            f"config.evaluate.reference_score is '{reference}', which config.evaluate.scores leaves out "
            f'({", ".join(scores)}); add it there, or name one of them'
        )
    if config.decide.score and config.decide.score not in SCORES:
        raise UserError(f'config.decide.score: {SCORES.unknown(config.decide.score)}')


def _check_decisions(config: Config, data: data_room.Data) -> None:
    """Refuse before training what the decisions after it cannot have; without units for them none are made."""
    decide, scores = config.decide, config.evaluate.scores
    if data.calibration is None and not decide.reuse_validation:
        return
    if decide.by not in ('', 'predicted'):
        raise UserError(
            f"config.decide.by is '{decide.by}', but the images of a run have no columns to decide by; allowed: "
            "'predicted' (for a column of a file: --mode=decide --predictions=FILE)"
        )
    if decide.score and SCORES[decide.score].reads_label:
        raise UserError(
            f"config.decide.score is '{decide.score}', which reads the label, and nobody has it when a decision is due"
        )
    if decide.score and not {decide.score, 'all'} & set(scores):
        raise UserError(
            f"config.decide.score is '{decide.score}', which config.evaluate.scores leaves out ({', '.join(scores)}); "
            'add it there, or name one of them'
        )


def _network_and_parts(config: Config, data: data_room.Data) -> tuple[data_room.Data, Examples, Network]:
    """Return the parts that the stages work with, what the confidence is learned from, and the network for both."""
    head_train = data.train
    if config.confidence.targets == 'validation':
        head_train, data = data_room.split_validation(data, config.data.split_seed)
    elif config.confidence.targets == 'crossfit':
        check_can_crossfit(data.info)
    network = make_network(config.model, data.info)
    _check_classifier(config, network)
    return data, head_train, network


def _check_same_data(workdir: Path, data: data_room.Data) -> None:
    """Refuse data that are not those the WORKDIR was trained on; remember them where nothing is trained."""
    there, now = _known_data(workdir, data)
    if there and there != now:
        say('note: the test part holds other images or labels than before; what was trained stays')
    write_json(workdir / 'data.json', now)


def _known_data(workdir: Path, data: data_room.Data) -> tuple[Any, Any]:
    """Return what the WORKDIR knows of the data that it was trained on (None where it does not), and the same of these.

    Raises:
      UserError: they are others, by content. Another test part is allowed: nothing was trained or selected on it. A
        WORKDIR of a version that did not look takes what it is given.
    """
    file = workdir / 'data.json'
    try:
        there = read_json(file) if has_trained(workdir) and file.exists() else None
        now = data_room.fingerprint(data.parts, data.info, there)
        changed = data_room.what_differs(there, now) if there else []
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f'{file} cannot be read ({error}); restore it from a copy, or remove it') from error
    if changed:
        raise UserError(
            '\n'.join(
                [
                    f"the WORKDIR '{workdir}' was trained on other data than '{data.info.name}' now holds:",
                    *(f'  - {line}' for line in changed),
                    'use the data it was trained on, another --workdir=DIR, or --force to start afresh. If they are '
                    'the same '
                    f'and only decoded otherwise (by another version of Pillow), remove {file}',
                ]
            )
        )
    return there, now


def _check_classifier(config: Config, network: Network) -> None:
    """Refuse a classifier that is neither finished nor trained, or that should be trained and cannot be."""
    epochs = config.baseline.epochs
    if not epochs and not config.baseline.init_from and not network.is_given:
        raise UserError(
            f"config.baseline.epochs is 0, but the classifier '{config.model.name}' comes without parameters: give "
            'config.model.custom.params, or train it'
        )
    if epochs and not network.can_train:
        raise UserError(
            f'config.baseline.epochs is {epochs}, but what config.model.custom.factory makes is a finished '
            'classifier; only '
            'a Flax linen module is trained here: set it to 0'
        )


def _make_program(config: Config, data: data_room.Data, network: Network) -> Program:
    prepare_train_fn, prepare_eval_fn = make_prepare_fns(config.data, data.info)
    return Program(
        network.apply,
        network.precompute,
        prepare_train_fn,
        prepare_eval_fn,
        data.info.ignore_label,
        config.evaluate.batch_size,
    )


def _load_data(config: DataConfig, workdir: Path) -> data_room.Data:
    """Return the data with the split of split.npz, which process 0 reads, or draws and writes, for all."""
    found: list[data_room.Data] = []

    def load() -> dict[str, np.ndarray]:
        found.append(data_room.load_data(config, workdir / 'split.npz'))
        return found[0].split

    split = processes.from_main(load)
    # Only now, so that a data set that has to be prepared on a shared disk is prepared once.
    return found[0] if found else data_room.load_data(config, split=split)
