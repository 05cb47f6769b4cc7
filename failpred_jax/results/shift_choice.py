"""Which score to use where strangers may come, from what was measured on shifted sets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from failpred_jax.results.shift_seeds import ShiftedSeeds, ShiftSpread
from failpred_jax.results.shifted import Shifted, ShiftedSet, ShiftValues

# Choices weigh every threshold, and one input in ten may be a stranger.
METRIC, SETTING = 'aurc', 'joint_10'
# Beyond this the names of sets are counted, and not listed.
_MOST_NAMED = 6


@dataclass(frozen=True)
class Choice:
    """A recommendation.

    Attributes:
      score: the one of least mean AURC over the sets of strangers, which make 10 % of the units.
      value: that mean.
      reference: the mean of the reference score; NaN without one.
      sentences: what speaks for it and against it.
    """

    score: str
    value: float
    reference: float
    sentences: tuple[str, ...]


def strangers_of(shifted: Shifted) -> list[ShiftedSet]:
    """Return the sets whose units are of no class."""
    return [found for found in shifted.sets if found.is_strangers]


def mean_over(sets: Sequence[ShiftedSet], score: str, setting: str, metric: str) -> float:
    """Return a score's mean value over sets; NaN where one lacks it, or there are none."""
    nothing = ShiftValues()
    values = [found.scores.get(score, {}).get(setting, nothing).metrics.get(metric, math.nan) for found in sets]
    return sum(values) / len(values) if values else math.nan


def recommend(shifted: Shifted) -> Choice | None:
    """Return which score to use if strangers may come; None where no strangers were measured."""
    sets = strangers_of(shifted)
    means = {name: mean_over(sets, name, SETTING, METRIC) for name in shifted.errors}
    means = {name: value for name, value in means.items() if not math.isnan(value)}
    if not means:
        return None
    best = min(means, key=lambda name: means[name])
    reference = means.get(shifted.reference, math.nan)
    say = [
        f'If one input in ten may be a stranger, {best} has the lowest mean AURC over {len(sets)} '
        f'set{"s" if len(sets) > 1 else ""} of strangers ({_thousandths(means[best])} x1000'
        + (
            ''
            if math.isnan(reference) or best == shifted.reference
            else f'; {shifted.reference} {_thousandths(reference)}'
        )
        + ').'
    ]
    if best != shifted.reference and shifted.reference in means:
        sure = [
            found.name
            for found in sets
            if (difference := found.scores[best][SETTING].differences.get(METRIC)) is not None and difference[1] < 0
        ]
        say.append(
            f'Its lead over {shifted.reference} is beyond chance in {len(sure)} of {len(sets)}'
            + (f' ({", ".join(sure)}).' if sure and len(sure) <= _MOST_NAMED else '.')
        )
    say += _of_errors(shifted, best)
    say.append(
        'It is chosen by the same figures that show it, and other strangers may rank scores otherwise: name the score '
        'beforehand, and measure it on strangers like yours.'
    )
    return Choice(best, means[best], reference, tuple(say))


def recommend_over_seeds(found: ShiftedSeeds) -> str:
    """Return which score to use if one input in ten may be a stranger; '' where no strangers were measured."""
    known = {name: one for name, one in found.strangers.items() if not math.isnan(one.mean)}
    if not known:
        return ''
    best = min(known, key=lambda name: known[name].mean)
    of, total = known[best], len(found.seeds)
    text = (
        f'If one input in ten may be a stranger, {best} has the lowest mean AURC over seeds and sets of strangers '
        f'({_spread(of)} x1000'
    )
    if best != found.reference and found.reference in known:
        text += f'; {found.reference} {_spread(known[found.reference])})'
        text += f', and a lower one than {found.reference} in {of.wins:g} of {total} seeds'
    else:
        text += ')'
    return f'{text}. It is the best of all in {of.best:g} of {total}.'


def _spread(value: ShiftSpread) -> str:
    mean = f'{1000 * value.mean:.3g}'
    return mean if math.isnan(value.std) else f'{mean} ± {1000 * value.std:.2g}'


def _of_errors(shifted: Shifted, best: str) -> list[str]:
    """Return what the score costs where no stranger comes."""
    alone = {name: values.metrics.get(METRIC, math.nan) for name, values in shifted.errors.items()}
    alone = {name: value for name, value in alone.items() if not math.isnan(value)}
    if not alone or best not in alone:
        return []
    first = min(alone, key=lambda name: alone[name])
    if first == best:
        return [f'It is also the best of the test set alone (AURC {_thousandths(alone[best])} x1000).']
    return [
        f'On the test set alone {first} is the best (AURC {_thousandths(alone[first])} x1000), and {best} has '
        f'{_thousandths(alone[best])}.'
    ]


def _thousandths(value: float) -> str:
    return f'{1000 * value:.3g}'
