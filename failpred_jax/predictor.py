"""A finished run as a function of new images.

  predictor = failpred_jax.load('runs/digits')
  found = predictor.predict(images)  # [N, H, W, channels] uint8, as the run's own images are stored
  found.label, found.confidences['confidnet'], found.p_correct['confidnet']

It needs the WORKDIR alone: config.json, the checkpoints that were evaluated and evaluation/fitted. Neither the data set
nor the config file has to be there. A segmenter's predictions are of every pixel. Scores of an ensemble read the
classifiers of the other seeds too, in the folders beside this one.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax import apply
from failpred_jax.data.prepare import make_prepare_fns
from failpred_jax.decide.thresholds import PREDICTED
from failpred_jax.devices import num_devices
from failpred_jax.errors import UserError, nearest
from failpred_jax.evaluate.collect import Reader, Weights, missing_needs
from failpred_jax.evaluate.evaluation import TEST, evaluation_key
from failpred_jax.evaluate.faults import drop_undefined
from failpred_jax.evaluate.probe import check_fits, check_unchanged
from failpred_jax.evaluate.scoring import Fitted, Plan, compute_scores
from failpred_jax.finished_run import FinishedRun, read_run, read_stage
from failpred_jax.models.network import make_network
from failpred_jax.outcomes import predicted_classes
from failpred_jax.predicted import Prediction, join
from failpred_jax.processes import check_platform
from failpred_jax.registry import SCORES
from failpred_jax.scores.sampled import add_sample, finish_samples, init_samples, unchecked_samples
from failpred_jax.scores.score import Score, ScoreInputs
from failpred_jax.taken_images import checked_ids, checked_images, checked_numbers
from failpred_jax.types import Array, Examples

__all__ = ['Prediction', 'Predictor', 'join', 'load']

# What is computed unless other scores are asked for: what costs next to nothing, and the trained heads.
DEFAULT_ROLES = ('baseline', 'learned')

# So many images are scored at once, where a pass takes fewer.
GROUP = 8192


def load(workdir: str | Path, batch_size: int | None = None) -> 'Predictor':
    """Return a finished run as a function of new images.

    Args:
      workdir: of a run of one seed that was evaluated; of several seeds, the folder of one, DIR/seed_K.
      batch_size: images a pass, over all devices; None for that of the run's evaluation. Each size is compiled once.

    Raises:
      UserError: there is no such run, it was not evaluated, or a file of it is damaged or was changed since, as the
        code of a network of its own may be; or JAX_PLATFORMS names devices that are not there.
    """
    check_platform()
    return Predictor(read_run(Path(workdir).expanduser()), batch_size)


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
        check_fits(self.network, run.weights, run.config.model)
        self.prepare_fn = make_prepare_fns(run.config.data, run.info)[1]
        self._readers: dict[frozenset[str], Reader] = {}
        self._members: list[Reader] = []
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
    def is_segmenter(self) -> bool:
        """Whether what it says is of every pixel."""
        return self.run.info.task == 'segmentation'

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
        """Return what the run says of new images, or, of a segmenter, of every pixel of them.

        The confidences are those that the run's own evaluation would find: of scores of the outputs alone to the last
        bit where the batches are of the same size on as many devices; else, and of scores that multiply features, to
        rounding, since images are scored in groups of other sizes.

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
          UserError: the images are not what the run takes, a score cannot be had, or the code of a network of its own
            was changed since the evaluation.
        """
        names = self.asked(scores)
        if self.policy is not None and self.policy.score not in names:
            names = [name for name in self.scores if name in (*names, self.policy.score)]
        pixels = checked_images(images, self.image_shape, self.resizes)
        count = len(pixels)
        words = checked_ids(ids, count)
        places = checked_numbers(numbers, count)
        plan = self._plan(names)
        logits, found = [], {name: [] for name in names}
        examples = Examples(pixels, np.zeros(pixels.shape[:3] if self.is_segmenter else count, np.int32))
        for inputs, real in self._groups(plan, examples, places):
            for name, column in self._values(plan, inputs, real, names).items():
                found[name].append(column)
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

    def _values(self, plan: Plan, inputs: ScoreInputs, real: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return name -> [real], the confidences of a batch's images ([real, H, W] of pixels)."""
        if not self.is_segmenter:
            return {name: values[:real] for name, values in self._computed(plan, inputs, names).items()}
        # An image at a time, as the evaluation does: all of its pixels are one row of units.
        size = inputs.logits.shape[1:3]
        rows = [
            self._computed(plan, jax.tree.map(lambda x, i=i: x[i].reshape(-1, *x.shape[3:]), inputs), names)
            for i in range(real)
        ]
        return {name: np.stack([row[name].reshape(size) for row in rows]) for name in names}

    def _computed(self, plan: Plan, inputs: ScoreInputs, names: Sequence[str]) -> dict[str, np.ndarray]:
        # A few images that all passes agree on are no sign that dropout is off.
        with unchecked_samples():
            values, lost = compute_scores(plan, inputs, Fitted(self.run.fits.values), is_told=not self.is_segmenter)
        for name in names:
            if name in lost:
                raise UserError(f"score '{name}' cannot be computed for these images: {lost[name]}")
        return {name: values[name] for name in names}

    def read_units(self, images: np.ndarray, numbers: Array) -> ScoreInputs:
        """Return what all scores that can be had read of images, [N, ...], from one pass of the network.

        Args:
          images: [N, H, W, channels] uint8, as `predict` takes them.
          numbers: [N] int from 0, see `predict`.
        """
        pixels = checked_images(images, self.image_shape, self.resizes)
        plan = self._plan(self.scores)
        places = checked_numbers(numbers, len(pixels))
        found = [
            jax.tree.map(lambda x, real=real: x[:real], inputs)
            for inputs, real in self._batches(plan, Examples(pixels, np.zeros(len(pixels), np.int32)), places)
        ]
        return jax.tree.map(lambda *parts: np.concatenate(parts), *found)

    def score_units(self, inputs: ScoreInputs) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Return (score -> [N], score -> why it could not be computed) of what `read_units` gave."""
        plan = self._plan(self.scores)
        with unchecked_samples():
            values, lost = compute_scores(plan, inputs, Fitted(self.run.fits.values), is_told=False)
        values = drop_undefined(values, lost)
        return values, {name: why for name, why in lost.items() if name in self.scores}

    def _decide(
        self, confidences: Mapping[str, np.ndarray], label: np.ndarray, places: np.ndarray
    ) -> apply.Decisions | None:
        if self.policy is None:
            return None
        size = int(np.prod(label.shape[1:]))
        keys = (places[:, None].astype(np.int64) * size + np.arange(size)).reshape(-1)
        groups = label.reshape(-1) if self.policy.groups else None
        confidence = confidences[self.policy.score].reshape(-1)
        found = apply.decide(self.policy, confidence, groups=groups, model=self.run.model, keys=keys)
        known = None if found.p_correct is None else found.p_correct.reshape(label.shape)
        return found._replace(
            code=found.code.reshape(label.shape), audit=found.audit.reshape(label.shape), p_correct=known
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
        missing = missing_needs(self.network, self.run.weights)
        if self.run.no_ensemble:
            missing['ensemble'] = self.run.no_ensemble
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

    def _groups(self, plan: Plan, examples: Examples, places: np.ndarray) -> Iterator[tuple[ScoreInputs, int]]:
        """Yield what `_batches` does, joined to 1, 2, 4, ... batches of images, since scores cost by the call."""
        most = 1 if self.is_segmenter else max(1, GROUP // self.batch_size)
        held: list[tuple[ScoreInputs, int]] = []
        for batch in self._batches(plan, examples, places):
            held.append(batch)
            if len(held) >= most:
                yield _joined(held)
                held = []
        while held:
            # Few sizes, so that little is compiled.
            size = 1 << (len(held).bit_length() - 1)
            yield _joined(held[:size])
            held = held[size:]

    def _batches(self, plan: Plan, examples: Examples, places: np.ndarray) -> Iterator[tuple[ScoreInputs, int]]:
        """Yield what scores read of a batch, and the number of real examples in it."""
        needs = plan.needs() - {'logits', 'columns', 'ensemble'}
        own = self.reader(needs).batches(examples, places)
        if 'ensemble' not in plan.needs():
            yield from own
            return
        if not self._members:
            weights = [Weights(read_stage(*member), None, False) for member in self.run.members]
            self._members = [self._reader(of_member, frozenset()) for of_member in weights]
        for (inputs, real), *others in zip(own, *(m.batches(examples) for m in self._members), strict=True):
            samples = init_samples(inputs.logits.shape)
            for found, _ in others:
                samples = add_sample(samples, jax.nn.softmax(jnp.asarray(found.logits)))
            yield inputs._replace(ensemble=jax.tree.map(np.asarray, finish_samples(samples))), real

    def reader(self, needs: frozenset[str]) -> Reader:
        """Return the compiled pass that fills these fields of ScoreInputs, besides the logits.

        Raises:
          UserError: the network's code was changed since the evaluation.
        """
        if needs not in self._readers:
            made = self._reader(self.run.weights, needs)
            # By the pass that is needed anyway, so that nothing more is compiled.
            check_unchanged(self.run.fits.probe, made, self.run.config.model)
            self._readers[needs] = made
        return self._readers[needs]

    def _reader(self, weights: Weights, needs: frozenset[str]) -> Reader:
        config = self.run.config
        return Reader(
            self.network, weights, self.prepare_fn, needs, self.batch_size, config.evaluate.mc_samples,
            evaluation_key(config.seed, TEST),
        )  # fmt: skip


def _joined(batches: Sequence[tuple[ScoreInputs, int]]) -> tuple[ScoreInputs, int]:
    """Return batches as one; only the last of them may be padded."""
    parts, reals = zip(*batches, strict=True)
    return jax.tree.map(lambda *columns: np.concatenate(columns), *parts), sum(reals)
