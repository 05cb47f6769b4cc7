"""Two scores as one: a line in the plane of a ranker of errors and a score that tells strangers.

What is accepted lies on one side of a line, cos(a) r + sin(a) s > t, for the standardized ranker r and stranger score
s. The angle a is found without a stranger that is known to be one:

With a stream, as it will be met: own units and strangers, without labels. If the own units among them are like the
labeled ones and make a share 1 - e, then the share of the stream that is accepted and wrong, at the threshold t, is
A(t) - (1 - e) R(t): what is accepted of the stream, less what is accepted and right of the labeled units. Over all
coverages of the stream this integrates to its AUGRC,

    1/2 - (1 - e) P(right) P(a right labeled unit ranks above a unit of the stream),

so that the angle of least AUGRC on the stream does not depend on e, and nobody has to estimate how many strangers came.

Without one, nothing says what strangers are worth. The angle is then the largest, the one that listens most to the
stranger score, at which the AUGRC of the labeled units is at most 5 % above the least: strangers are watched for at a
price in errors that is known.

The labels are those of validation units. Units that certify a threshold afterwards must not be among them, and units
that judge the score must be neither among them nor in the stream.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.errors import ScoreUnavailableError, UserError
from failpred_jax.outcomes import is_correct
from failpred_jax.scores.logits import mcp
from failpred_jax.scores.score import FitInputs, ScoreInputs, score
from failpred_jax.types import Array

# By how much the AUGRC of labeled units may exceed the least, where no stream says what strangers are worth.
PRICE = 0.05
# Of the line, in degrees: 0 is the ranker alone, 90 the stranger score alone.
ANGLES = tuple(range(91))
# Of a run, the first that is there and ranks validation errors no worse than the last: a trained ranker before the
# network's own.
RANKERS = ('confidnet', 'learned_from_features', 'mcp')
STRANGERS = ('knn_distance', 'residual', 'mahalanobis', 'trust_score')


class Axis(NamedTuple):
    """How one of the two scores enters: weight * (value - center) / scale.

    Attributes:
      center: scalar float32, the mean over labeled units.
      scale: scalar float32, their standard deviation.
      weight: scalar float32 in [0, 1], the cosine or sine of the angle.
    """

    center: np.ndarray
    scale: np.ndarray
    weight: np.ndarray

    def of(self, values: Array) -> jax.Array:
        """Return what values [N] add: [N] float32."""
        # The factor may be tiny or huge where a score hardly varies; the difference is taken first.
        return (jnp.asarray(values, jnp.float32) - self.center) * (self.weight / self.scale)


class TwoScores(NamedTuple):
    """A fitted line.

    Attributes:
      ranker, stranger: the two axes.
    """

    ranker: Axis
    stranger: Axis

    @property
    def angle(self) -> float:
        """In degrees, from 0 (the ranker alone) to 90 (the stranger score alone)."""
        return float(np.degrees(np.arctan2(self.stranger.weight, self.ranker.weight)))

    def of(self, ranker: Array, stranger: Array) -> jax.Array:
        """Return the confidence of units from their two scores [N]: [N] float32, unbounded."""
        return self.ranker.of(ranker) + self.stranger.of(stranger)


def fit_two_scores(
    ranker: Array, stranger: Array, correct: Array, stream: tuple[Array, Array] | None = None
) -> tuple[TwoScores, tuple[str, ...]]:
    """Return the line between two scores, and sentences on how it was chosen; see the module.

    Args:
      ranker: [N] float, a score that ranks errors, of labeled units that are used for nothing else afterwards.
      stranger: [N] float, one that is low for inputs of no class, of the same units.
      correct: [N] bool.
      stream: ([M], [M]) float, the same two scores of units without labels, as the classifier will meet them; None
        without any.

    Raises:
      UserError: shapes do not match, a value is not finite, or there are no units.
      ScoreUnavailableError: nothing is right; or nothing is wrong, and there is no stream.

    Reference: Narasimhan, Menon, Jitkrittum, Gupta & Kumar, "Plugin estimators for selective classification with
      out-of-distribution detection", ICLR 2024 (a linear rule on two scores, fitted with an unlabeled mixture); the
      mixture as in Blanchard, Lee & Scott, "Semi-supervised novelty detection", JMLR 2010; AUGRC: Traub et al.,
      NeurIPS 2024.
    """
    own, right = _checked((ranker, stranger), 'labeled'), np.asarray(correct)
    if right.shape != own[0].shape or right.dtype != bool:
        raise UserError(f"'correct' is {right.dtype} of shape {right.shape}; it must be bool, {own[0].shape}")
    others = own if stream is None else _checked(stream, "stream's")
    if not right.any():
        raise ScoreUnavailableError('two_scores ranks what is right above the rest; of the labeled units nothing is')
    if stream is None and right.all():
        raise ScoreUnavailableError('two_scores weighs errors against strangers; the validation set holds no errors')
    scales = [(values.mean(), _scale(values)) for values in own]
    labeled, met = (
        [(values - center) / scale for values, (center, scale) in zip(pair, scales, strict=True)]
        for pair in (own, others)
    )
    risks = np.array([_risk(_turned(labeled, angle), _turned(met, angle), right) for angle in ANGLES])
    angle = ANGLES[_chosen(risks, has_stream=stream is not None)]
    weights = _weights(angle)
    axes = [
        Axis(*(np.asarray(value, np.float32) for value in (center, scale, weight)))
        for (center, scale), weight in zip(scales, weights, strict=True)
    ]
    return TwoScores(*axes), (_describe(angle, risks, right, None if stream is None else len(others[0])),)


def _checked(pair: tuple[Array, Array], whose: str) -> list[np.ndarray]:
    """Return two scores of the same units as float64."""
    ranker, stranger = found = [np.asarray(jax.device_get(values)).astype(np.float64) for values in pair]
    if ranker.ndim != 1 or ranker.shape != stranger.shape or not len(ranker):
        raise UserError(
            f'the {whose} scores have shapes {ranker.shape} and {stranger.shape}; both must be (N,), with one unit or '
            'more'
        )
    if not (np.isfinite(ranker).all() and np.isfinite(stranger).all()):
        raise UserError(f'the {whose} scores hold NaN or infinity; leave these units out, and reject them')
    return found


def _scale(values: np.ndarray) -> float:
    """Return the standard deviation; of what does not vary, something that is not 0."""
    return max(float(values.std()), 1e-6 * float(np.abs(values).max()), 1e-30)


def _weights(angle: int) -> tuple[float, float]:
    # Both ends exactly, so that a score alone is that score.
    ends = {0: (1.0, 0.0), 90: (0.0, 1.0)}
    return ends.get(angle) or (float(np.cos(np.radians(angle))), float(np.sin(np.radians(angle))))


def _turned(pair: list[np.ndarray], angle: int) -> np.ndarray:
    first, second = _weights(angle)
    return first * pair[0] + second * pair[1]


def _risk(labeled: np.ndarray, met: np.ndarray, right: np.ndarray) -> float:
    """Return the AUGRC of what is met, as if all of it were like the labeled units or wrong; ties count half.

    With the labeled units themselves it is their AUGRC.
    """
    in_order, values = np.sort(met), labeled[right]
    below = np.searchsorted(in_order, values, 'left') + np.searchsorted(in_order, values, 'right')
    return 0.5 - float(below.sum()) / (2 * len(met) * len(labeled))


def _chosen(risks: np.ndarray, has_stream: bool) -> int:
    """Return the place of the angle: of least risk, or beyond it as long as the price is not exceeded."""
    best = int(np.argmin(risks))
    if has_stream:
        return best
    # Sums of ties at halves: nothing at all must not be beyond a price of nothing.
    over = np.flatnonzero(risks[best:] > (1 + PRICE) * risks[best] + 1e-12)
    return best + int(over[0]) - 1 if len(over) else len(risks) - 1


def _describe(angle: int, risks: np.ndarray, right: np.ndarray, num_met: int | None) -> str:
    known = f'{angle} degrees from the ranker (0) to the stranger score (90)'
    if num_met is not None:
        return f'{known}: the least AUGRC of {num_met:,} units without labels, met with {len(right):,} labeled ones'
    errors = int((~right).sum())
    return (
        f'{known}: the largest at which the AUGRC of {len(right):,} validation units ({errors:,} errors) is at most '
        f'{100 * PRICE:g} % above the least ({1000 * risks[angle]:.3g} and {1000 * risks.min():.3g} x1000)'
    )


class NamedAxes(NamedTuple):
    """The same over named columns.

    Attributes:
      axes: name of the score -> its axis; the ranker's first.
    """

    axes: Mapping[str, Axis]


def _column(inputs: ScoreInputs, name: str) -> Array:
    columns = inputs.columns or {}
    if name in columns:
        return columns[name]
    if name == 'mcp':
        return mcp(inputs)
    raise ScoreUnavailableError(f'two_scores was fitted on {name}, which these units do not have')


def _fit(given: FitInputs) -> tuple[NamedAxes, tuple[str, ...]]:
    columns = given.val.columns or {}
    stranger = next((name for name in STRANGERS if name in columns), None)
    if stranger is None:
        raise ScoreUnavailableError(
            f'two_scores reads a score that tells strangers; ask for one: {", ".join(STRANGERS)}'
        )
    correct = np.asarray(is_correct(given.val.logits, given.val_labels))
    ranker, worse = _ranker(given.val, correct)
    fitted, notes = fit_two_scores(_column(given.val, ranker), _column(given.val, stranger), correct)
    named = NamedAxes({ranker: fitted.ranker, stranger: fitted.stranger})
    return named, (f'{ranker} and {stranger}', *worse, *notes)


def _ranker(val: ScoreInputs, correct: np.ndarray) -> tuple[str, tuple[str, ...]]:
    """Return the ranker, and a sentence on each that was passed over since it ranks validation errors worse than mcp.

    A trained ranker may have learned nothing. The validation units' columns come from fits that have not seen the
    label of the unit, so that it is not flattered.
    """
    least, worse = _augrc(_column(val, RANKERS[-1]), correct), []
    for name in (name for name in RANKERS[:-1] if name in (val.columns or {})):
        risk = _augrc(_column(val, name), correct)
        if risk <= least:
            return name, tuple(worse)
        worse.append(
            f'not {name}, which ranks the {int((~correct).sum()):,} validation errors worse than {RANKERS[-1]} (AUGRC '
            f'{1000 * risk:.3g} and {1000 * least:.3g} x1000)'
        )
    return RANKERS[-1], tuple(worse)


def _augrc(values: Array, correct: np.ndarray) -> float:
    """Return the AUGRC of units that are ranked by values [N]."""
    found = np.asarray(jax.device_get(values)).astype(np.float64)
    return _risk(found, found, correct)


@score(
    'two_scores',
    needs=['logits', 'columns'],
    description='a ranker of errors and a score that tells strangers, weighed so that errors cost at most 5 % more',
    reference='Narasimhan et al., ICLR 2024 (a linear rule on two scores); AUGRC: Traub et al., NeurIPS 2024',
    fit=_fit,
)
def two_scores(inputs: ScoreInputs, fitted: NamedAxes) -> jax.Array:
    """Return cos(a) r + sin(a) s of the standardized ranker r and stranger score s.

    Args:
      inputs: reads `columns`, and `logits` for mcp where that is no column.
      fitted: the two axes.

    Returns:
      [N] float32, unbounded.

    Reference: see `fit_two_scores`, which also takes a stream of units without labels.
    """
    return sum((axis.of(_column(inputs, name)) for name, axis in fitted.axes.items()), jnp.float32(0))
