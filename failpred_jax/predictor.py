"""A finished run as a function of new images.

  predictor = failpred_jax.load('runs/digits')
  found = predictor.predict(images)  # [N, H, W, channels] uint8, as the run's own images are stored
  found.label, found.confidences['confidnet'], found.p_correct['confidnet']

It needs the WORKDIR alone: config.json, the checkpoints that were evaluated and evaluation/fitted. Neither the data set
nor the config file has to be there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax import apply
from failpred_jax.data.prepare import make_prepare_fns
from failpred_jax.data.resize import resize_images
from failpred_jax.decide.thresholds import PREDICTED
from failpred_jax.devices import num_devices
from failpred_jax.errors import UserError, nearest
from failpred_jax.evaluate.collect import Reader, missing_needs
from failpred_jax.evaluate.evaluation import TEST, evaluation_key
from failpred_jax.evaluate.scoring import Fitted, Plan, compute_scores
from failpred_jax.finished_run import FinishedRun, read_run
from failpred_jax.models.network import make_network
from failpred_jax.outcomes import predicted_classes
from failpred_jax.registry import SCORES
from failpred_jax.scores.score import Score
from failpred_jax.types import Array, Examples

# What is computed unless other scores are asked for: what costs next to nothing, and the trained heads.
DEFAULT_ROLES = ('baseline', 'learned')
_NO_ENSEMBLE = 'it needs the classifiers of all seeds, and this is one of them'


@dataclass(frozen=True)
class Prediction:
    """What a run says of N images.

    Attributes:
      ids: [N] words, as given, or the numbers from 0.
      label: [N] int32, the class predicted.
      class_names: C names, in label order.
      probs: [N, C] float32, of the classes.
      confidences: score -> [N], higher means more confident.
      p_correct: score -> [N] float64, the calibrated probability that the prediction is right; of those scores that the
        run's validation units could calibrate.
      decision: what the run's policy decides, `decision.names()` for each image; None without a policy.
    """

    ids: np.ndarray
    label: np.ndarray
    class_names: tuple[str, ...]
    probs: np.ndarray
    confidences: Mapping[str, np.ndarray]
    p_correct: Mapping[str, np.ndarray]
    decision: apply.Decisions | None = None

    def __len__(self) -> int:
        return len(self.label)

    @property
    def names(self) -> np.ndarray:
        """The name of the class predicted: [N] of words."""
        return np.array(self.class_names)[self.label]


def join(parts: Sequence[Prediction]) -> Prediction:
    """Return several predictions of one run, with the same scores, as one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    together: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in ('ids', 'label', 'probs')
    }
    for field in ('confidences', 'p_correct'):
        columns = [getattr(part, field) for part in parts]
        together[field] = {name: np.concatenate([of[name] for of in columns]) for name in columns[0]}
    decisions = [part.decision for part in parts if part.decision is not None]
    if decisions:
        columns = zip(*((d.code, d.audit) for d in decisions), strict=True)
        code, audit = (np.concatenate(column) for column in columns)
        known = [d.p_correct for d in decisions if d.p_correct is not None]
        together['decision'] = decisions[0]._replace(
            code=code, audit=audit, p_correct=np.concatenate(known) if known else None
        )
    return replace(first, **together)


def load(workdir: str | Path, batch_size: int | None = None) -> 'Predictor':
    """Return a finished run as a function of new images.

    Args:
      workdir: of a run of one seed that was evaluated.
      batch_size: images a pass, over all devices; None for that of the run's evaluation. Each size is compiled once.

    Raises:
      UserError: there is no such run, its evaluation kept no fits, or a file of it is damaged or was changed since.
    """
    return Predictor(read_run(Path(workdir)), batch_size)


class Predictor:
    """A finished run; see `load`.

    Attributes:
      run: what is known of it.
      scores: names of the scores that new images can have, in the order of the run's table.
      unavailable: name of any other -> why not.
      policy: of the run, which decides; None without one, or where it cannot be applied.
      no_policy: why not, or ''.
      batch_size: images a pass, over all devices.
      network: the run's network.
      prepare_fn: normalizes images.
    """

    def __init__(self, run: FinishedRun, batch_size: int | None = None):
        self.run = run
        wanted = run.config.evaluate.batch_size if batch_size is None else batch_size
        if wanted < 1:
            raise UserError(f'batch_size is {wanted}; it must be 1 or greater')
        # Every device gets as many rows.
        self.batch_size = -(-wanted // num_devices()) * num_devices()
        self.network = make_network(run.config.model, run.info)
        self.prepare_fn = make_prepare_fns(run.config.data, run.info)[1]
        self._readers: dict[frozenset[str], Reader] = {}
        self.scores, self.unavailable = self._available()
        self.policy, self.no_policy = self._usable_policy()

    @property
    def class_names(self) -> tuple[str, ...]:
        """C names, in label order."""
        return self.run.info.class_names

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, channels) of the images that the network sees."""
        return self.run.info.image_shape

    @property
    def resizes(self) -> bool:
        """Whether images of other sizes are brought to that one, as the run's own were."""
        return self.run.config.data.new_size is not None

    def predict(
        self,
        images: Array,
        ids: Sequence[Any] | np.ndarray | None = None,
        scores: Sequence[str] | None = None,
        numbers: Array | None = None,
    ) -> Prediction:
        """Return what the run says of new images.

        The confidences are those that the run's own evaluation would find: to the last bit where the batches are of the
        same size on as many devices, else to rounding.

        Args:
          images: [N, H, W, channels] uint8, 0 to 255, in the form in which the run's own are stored; [N, H, W] for gray
            ones. Other sizes are allowed where the run resizes (config.data.image_size).
          ids: N of them, handed back; None for the numbers from 0.
          scores: names; 'all' is every one of `self.scores`. None for the baseline and the trained heads. That of
            the policy is always there.
          numbers: [N] int from 0, by which dropout passes are drawn, so that an image has the same ones wherever it
            stands. None for the places 0 to N - 1, which are those of the test split in the evaluation. No other score
            depends on them.

        Raises:
          UserError: the images are not what the run takes, or a score cannot be had.
        """
        names = self.asked(scores)
        if self.policy is not None and self.policy.score not in names:
            names = [name for name in self.scores if name in (*names, self.policy.score)]
        pixels = self._checked_images(images)
        count = len(pixels)
        words = _checked_ids(ids, count)
        places = _checked_numbers(numbers, count)
        plan = self._plan(names)
        logits, found = [], {name: [] for name in names}
        fitted = Fitted(self.run.fits.values)
        examples = Examples(pixels, np.zeros(count, np.int32))
        for inputs, real in self._reader(plan).batches(examples, places):
            values, lost = compute_scores(plan, inputs, fitted)
            for name, column in found.items():
                if name in lost:
                    raise UserError(f"score '{name}' cannot be computed for these images: {lost[name]}")
                column.append(values[name][:real])
            logits.append(inputs.logits[:real])
        whole = np.concatenate(logits)
        confidences = {name: np.concatenate(column) for name, column in found.items()}
        label = np.asarray(predicted_classes(whole))
        return Prediction(
            ids=words,
            label=label,
            class_names=self.class_names,
            probs=np.asarray(jax.nn.softmax(jnp.asarray(whole, jnp.float32))),
            confidences=confidences,
            p_correct=self.p_correct(confidences),
            decision=self._decide(confidences, label, places),
        )

    def _decide(
        self, confidences: Mapping[str, np.ndarray], label: np.ndarray, places: np.ndarray
    ) -> apply.Decisions | None:
        if self.policy is None:
            return None
        groups = label if self.policy.groups else None
        return apply.decide(
            self.policy, confidences[self.policy.score], groups=groups, model=self.run.model, keys=places
        )

    def _usable_policy(self) -> tuple[apply.Policy | None, str]:
        policy = self.run.policy
        if policy is None:
            return None, 'the run has no decisions/policy.json (--mode=decide makes one)'
        if policy.score not in self.scores:
            reason = self.unavailable.get(policy.score, 'the evaluation did not compute it')
            return None, f"the policy reads the score '{policy.score}', which cannot be had of new images: {reason}"
        if policy.groups and policy.content.get('by') != PREDICTED:
            return None, (
                f"the policy has thresholds by '{policy.content.get('by')}', which images do not say; apply it with "
                'failpred_jax.apply.decide(policy, confidence, groups=...)'
            )
        return policy, ''

    def p_correct(self, confidences: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return score -> [N] float64, confidences as calibrated probabilities; scores without a map are left out."""
        maps = self.run.fits.calibrators
        return {name: maps[name](values) for name, values in confidences.items() if name in maps}

    def asked(self, scores: Sequence[str] | None) -> list[str]:
        """Return the names of the scores that are meant, in the order of the table; see `predict`."""
        if isinstance(scores, str):
            scores = [scores]
        if scores is None:
            return [name for name in self.scores if SCORES[name].role in DEFAULT_ROLES]
        for name in scores:
            if name != 'all' and name not in self.scores:
                why = self.unavailable.get(name)
                reason = f': {why}' if why else nearest(name, self.scores)
                raise UserError(
                    f"the score '{name}' cannot be had of new images{reason} (available: {', '.join(self.scores)})"
                )
        return [name for name in self.scores if name in scores or 'all' in scores]

    def _available(self) -> tuple[tuple[str, ...], dict[str, str]]:
        fits, found, unavailable = self.run.fits, [], dict(self.run.fits.unavailable)
        missing = missing_needs(self.network, self.run.weights) | {'ensemble': _NO_ENSEMBLE}
        for name in fits.scores:
            if name not in SCORES:
                unavailable[name] = 'it is not registered here; import the module that registers it first'
                continue
            score: Score = SCORES[name]
            if score.reads_label:
                unavailable[name] = 'it reads the label, which a new image does not have'
            elif lacking := [missing[need] for need in sorted(score.needs) if need in missing]:
                unavailable[name] = '; '.join(lacking)
            elif score.fit is not None and name not in fits.values:
                unavailable[name] = 'its fit was not kept'
            else:
                found.append(name)
        return tuple(found), unavailable

    def _plan(self, names: Sequence[str]) -> Plan:
        """Return the plan for these scores; one that combines others needs all of them."""
        entries: list[Score] = [SCORES[name] for name in self.scores]
        if not any(score.combines for score in entries if score.name in names):
            return Plan(tuple(score for score in entries if score.name in names), {})
        return Plan(tuple(score for score in entries if score.name in names or not score.combines), {})

    def _reader(self, plan: Plan) -> Reader:
        needs = plan.needs() - {'logits', 'columns'}
        if needs not in self._readers:
            config = self.run.config
            self._readers[needs] = Reader(
                self.network, self.run.weights, self.prepare_fn, needs, self.batch_size, config.evaluate.mc_samples,
                evaluation_key(config.seed, TEST),
            )  # fmt: skip
        return self._readers[needs]

    def _checked_images(self, images: Any) -> np.ndarray:
        """Return images [N, H, W, channels] uint8 as the network takes them."""
        height, width, channels = self.image_shape
        form = f'(N, {height}, {width}, {channels})' + (f' or (N, {height}, {width})' if channels == 1 else '')
        try:
            pixels = np.asarray(images)
        except ValueError as error:
            raise UserError(f'the images are not one array ({error}); this run takes {form} uint8') from error
        if pixels.dtype != np.uint8:
            raise UserError(
                f'the images are of type {pixels.dtype}; this run takes uint8, 0 to 255, as its own images are stored '
                '(images in [0, 1]: (images * 255).round().astype("uint8"))'
            )
        if pixels.ndim == 3 and channels == 1:
            pixels = pixels[..., None]
        if pixels.ndim == 4 and len(pixels) == 0:
            raise UserError('there are no images: the array is empty')
        if pixels.ndim != 4 or pixels.shape[-1] != channels or (pixels.shape[1:3] != (height, width)):
            if pixels.ndim == 4 and pixels.shape[-1] == channels and self.resizes:
                return resize_images(pixels, (height, width))
            raise UserError(
                f'the images have shape {np.shape(images)}; this run takes {form}{self._hint(np.shape(images))}'
            )
        return pixels

    def _hint(self, shape: tuple[int, ...]) -> str:
        """Return what to do about images of a wrong shape."""
        height, width, channels = self.image_shape
        if shape in ((height, width), self.image_shape):
            return ': one image alone is image[None]'
        if len(shape) == 4 and shape[1] == channels and shape[-1] != channels:
            return ', with the channels last: images.transpose(0, 2, 3, 1)'
        if len(shape) == 4 and shape[-1] != channels:
            return f': images of {channels} channel{"s" if channels > 1 else ""}'
        return '; bring them to this size as those that it was trained on were'


def _checked_ids(ids: Sequence[Any] | np.ndarray | None, count: int) -> np.ndarray:
    found = np.arange(count) if ids is None else np.asarray(ids)
    if found.shape != (count,):
        raise UserError(f'ids has shape {found.shape}, but there are {count:,} images; give one for each')
    return found.astype(str)


def _checked_numbers(numbers: Array | None, count: int) -> np.ndarray:
    found = np.arange(count) if numbers is None else np.asarray(numbers)
    if found.shape != (count,) or found.dtype.kind not in 'iu' or (found < 0).any() or (found >= 2**31).any():
        raise UserError(
            f'numbers has type {found.dtype} and shape {found.shape}; give one whole number from 0 for each of the '
            f'{count:,} images'
        )
    return found
