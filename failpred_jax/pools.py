"""The units that may be labeled, of a file of predictions or of new images through a finished run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from failpred_jax import apply
from failpred_jax.calibrate.confidence import fit_confidence
from failpred_jax.console import phase, say
from failpred_jax.decide.thresholds import PREDICTED
from failpred_jax.errors import UserError, given
from failpred_jax.evaluate.collect import collect
from failpred_jax.label.pool import Pool
from failpred_jax.predicting.inputs import Form, open_images
from failpred_jax.prediction_file import Units
from failpred_jax.prediction_file.unlabeled import read_unlabeled
from failpred_jax.predictor import Predictor, load
from failpred_jax.taken_images import checked_images
from failpred_jax.types import Examples

CALIBRATED = 'calibrated_'
DECISION = 'decision'


class Source(NamedTuple):
    """A pool, and its images where they are at hand.

    Attributes:
      pool: the units.
      images: places [M] -> images [M, H, W, channels] uint8; None where there are none.
      where: in words, from where it is.
      columns: what else is known of the units, name -> [N].
      group: [N] words or numbers, equal for units that belong together, or None.
    """

    pool: Pool
    images: Callable[[np.ndarray], np.ndarray] | None
    where: str
    columns: Mapping[str, np.ndarray] = MappingProxyType({})
    group: np.ndarray | None = None


def pool_of_file(path: Path, policy: Path | None = None) -> Source:
    """Return the pool that a file of predictions holds; its labels, if any, are not read.

    Columns `calibrated_<score>`, and `decision` with a policy's decisions, are understood as --mode=predict writes
    them. A confidence that the file's val_ part has too, with its labels, is calibrated on that.

    Raises:
      UserError: naming everything that is wrong with the file, or with the policy.
    """
    units, parts, predicted = read_unlabeled(path)
    probs = units.probabilities
    if units.logits is not None:
        predicted = units.logits.argmax(axis=1)
    columns = units.slices
    p_correct = {
        name.removeprefix(CALIBRATED): values for name, values in columns.items() if _is_calibrated(name, values)
    }
    if 'validation' in parts:
        p_correct = {**_calibrated_on(parts['validation'], units), **p_correct}
    if predicted is None:
        predicted = next((columns[name] for name in ('predicted_name', 'predicted_class') if name in columns), None)
    confidences = dict(units.confidences)
    decided = _decided(columns, confidences, predicted, policy)
    if decided.p_correct is not None:
        p_correct.setdefault(decided.score, decided.p_correct)
    training = parts.get('training')
    pool = Pool(
        ids=given(units.ids, 'what units are called'),
        confidences=confidences,
        probs=probs,
        predicted=predicted,
        features=units.features,
        p_correct=p_correct,
        labeled_features=None if training is None else training.features,
        class_names=units.class_names,
        accepted=decided.accepted,
        policy_score=decided.score,
        notes=units.notes,
    )
    # The names tell groups of two files apart, or not.
    group = None if units.group is None or units.group_names is None else units.group_names[units.group]
    return Source(pool, None, path.name, columns, group)


def _is_calibrated(name: str, values: np.ndarray) -> bool:
    if not name.startswith(CALIBRATED) or values.dtype.kind not in 'iuf':
        return False
    return bool(np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1)


def _calibrated_on(validation: Units, units: Units) -> dict[str, np.ndarray]:
    """Return score -> P(correct) of the units, by maps that are fitted on the validation units."""
    correct = validation.correct
    if correct is None and validation.logits is not None and validation.labels is not None:
        correct = validation.logits.argmax(axis=1) == validation.labels
    if correct is None or correct.dtype != bool or correct.all() or not correct.any():
        return {}
    both = units.confidences.keys() & validation.confidences.keys()
    return {
        name: fit_confidence(validation.confidences[name], correct)(units.confidences[name])
        for name in units.confidences
        if name in both
    }


class _Decided(NamedTuple):
    """Which predictions a policy accepts [N] bool, the score it reads ('' if not known), and its P(correct) [N]."""

    accepted: np.ndarray | None
    score: str = ''
    p_correct: np.ndarray | None = None


def _decided(
    columns: Mapping[str, np.ndarray],
    confidences: Mapping[str, np.ndarray],
    predicted: np.ndarray | None,
    policy: Path | None,
) -> _Decided:
    """Return what a policy decides: the one that is named, or that of the column `decision`."""
    if policy is None:
        decision = columns.get(DECISION)
        if decision is None or decision.dtype.kind not in 'US':
            return _Decided(None)
        accepted = decision.astype(str) == 'accept'
        return _Decided(accepted, _score_behind(accepted, confidences))
    try:
        found = apply.read_policy(policy)
        if found.score not in confidences:
            raise UserError(
                f"the policy '{policy}' reads the score '{found.score}', but the predictions have no "
                f"'confidence_{found.score}' (there are: {', '.join(confidences) or 'none'})"
            )
        by = str(found.content.get('by') or PREDICTED)
        if found.groups and by not in (PREDICTED, *columns):
            raise UserError(f"the policy '{policy}' has thresholds by '{by}', and the predictions have no such column")
        groups = None if not found.groups else predicted if by == PREDICTED else columns[by]
        decisions = apply.decide(found, confidences[found.score], groups=groups)
        return _Decided(decisions.code == 0, found.score, decisions.p_correct)
    except apply.PolicyError as error:
        raise UserError(str(error)) from error


def _score_behind(accepted: np.ndarray, confidences: Mapping[str, np.ndarray]) -> str:
    """Return the only score of which every accepted unit has more than any other unit; '' if there is no such one."""
    if accepted.all() or not accepted.any():
        return ''
    found = [name for name, values in confidences.items() if values[accepted].min() > values[~accepted].max()]
    return found[0] if len(found) == 1 else ''


def pool_of_run(workdir: Path, inputs: Path, with_features: bool) -> Source:
    """Return the pool that new images are to a finished run; see predictor.py.

    Args:
      workdir: of the run.
      inputs: see `open_images`.
      with_features: whether the network's features are wanted as well.

    Raises:
      UserError: there is no such run, or the inputs are no images that it takes.
    """
    predictor = load(workdir)
    if predictor.is_segmenter:
        raise UserError('pixels are not labeled one by one: what to label next is for classifiers')
    opened = open_images(inputs, Form(predictor.image_shape, predictor.resizes))
    say(f'{len(opened):,} images; {", ".join(predictor.asked(None))}')
    parts, features, numbers, problems = [], [], [], []
    size = max(1, 2**27 // (predictor.batch_size * int(np.prod(predictor.image_shape)))) * predictor.batch_size
    with phase('predicting', len(opened), 'images') as done:
        for start in range(0, len(opened), size):
            some = opened.read(start, min(start + size, len(opened)))
            problems += [f"'{opened.ids[number]}': {reason}" for number, reason in some.problems]
            if len(some.images):
                parts.append(predictor.predict(some.images, opened.ids[some.numbers], numbers=some.numbers))
                numbers.append(some.numbers)
                if with_features:
                    features.append(features_of(predictor, some.images))
            done.add(min(size, len(opened) - start))
    if not parts:
        raise UserError(f'none of the {len(opened):,} pictures can be used; the first: {problems[0]}')
    places = np.concatenate(numbers)
    notes = [f'{len(problems):,} pictures cannot be used and are left out, such as {problems[0]}'] if problems else []
    confidences = {name: np.concatenate([part.confidences[name] for part in parts]) for name in parts[0].confidences}
    p_correct = {name: np.concatenate([part.p_correct[name] for part in parts]) for name in parts[0].p_correct}
    decisions = [part.decision.code == 0 for part in parts if part.decision is not None]
    pool = Pool(
        ids=opened.ids[places],
        confidences=confidences,
        probs=np.concatenate([part.probs for part in parts]),
        predicted=np.concatenate([part.label for part in parts]),
        features=np.concatenate(features) if features else None,
        p_correct=p_correct,
        class_names=predictor.class_names,
        accepted=np.concatenate(decisions) if decisions else None,
        policy_score=predictor.policy.score if predictor.policy is not None else '',
        notes=(*notes, *(() if decisions else (f'no decisions: {predictor.no_policy}',))),
    )

    def images_at(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([opened.read(place, place + 1).images for place in places[rows].tolist()])

    return Source(pool, images_at, str(inputs))


def features_of(predictor: Predictor, images: np.ndarray) -> np.ndarray:
    """Return the network's features of images [N, H, W, channels] uint8 (or [N, H, W]): [N, D] float32."""
    pixels = checked_images(images, predictor.image_shape, predictor.resizes)
    reader = predictor.reader(frozenset({'features'}))
    found = collect(reader, Examples(pixels, np.zeros(len(pixels), np.int32)), 'computing features')
    assert found.features is not None
    return np.asarray(found.features).reshape(len(pixels), -1)
