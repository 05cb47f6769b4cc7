"""Selective prediction: what remains wrong when only confident predictions are accepted.

At the threshold t, coverage is the share of units with confidence >= t, the selective risk is the share of errors
among those, and the generalized risk is the number of errors among those over the number of all units.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from failpred_jax.metrics.metric import Metric, nan_unless, register
from failpred_jax.metrics.sorting import count_nan, sort_units
from failpred_jax.metrics.walk import STANDARD, Counts, Found, Points, float_type, walk
from failpred_jax.types import Array


def risk_name(coverage: float) -> str:
    """Return the name of the risk at `coverage`, such as 'risk_at_80coverage'."""
    return f'risk_at_{100 * coverage:g}coverage'


def coverage_name(risk: float) -> str:
    """Return the name of the coverage at `risk`, such as 'coverage_at_1risk'."""
    return f'coverage_at_{100 * risk:g}risk'


def best_aurc(error_rate: jax.Array) -> jax.Array:
    """Return the AURC of a perfect ranking with this error rate in the limit of many units: e + (1 - e) ln(1 - e).

    Reference: Geifman, Uziel & El-Yaniv, ICLR 2019, "E-AURC".
    """
    kept = 1 - error_rate
    return error_rate + kept * jnp.log(jnp.where(kept > 0, kept, 1))


def selective_names(points: Points) -> tuple[str, ...]:
    """Return the names of what `selective_values` returns, in the order of tables."""
    return ('aurc', 'e_aurc', 'augrc', *map(risk_name, points.coverage), *map(coverage_name, points.risk))


def selective_values(found: Found, total: Counts, points: Points) -> dict[str, jax.Array]:
    """Return AURC, E-AURC, AUGRC, risks and coverages from a walk; [...] lanes of the default float type."""
    sums = found.totals()
    some = total.units > 0
    units = jnp.maximum(total.units, 1).astype(float_type())
    aurc = sums['aurc'] / (2 * units)
    values = {
        'aurc': nan_unless(some, aurc),
        'e_aurc': nan_unless(some, aurc - best_aurc(total.errors.astype(float_type()) / units)),
        'augrc': nan_unless(some, sums['augrc'] / (2 * units * units)),
    }
    for coverage, (units_above, errors_above) in zip(points.coverage, found.at_coverage, strict=True):
        risk = errors_above.astype(float_type()) / units_above.astype(float_type())
        values[risk_name(coverage)] = nan_unless(some, risk)
    for risk, units_above in zip(points.risk, found.at_risk, strict=True):
        values[coverage_name(risk)] = nan_unless(some, units_above.astype(float_type()) / units)
    return values


def _one(name: str, confidence: Array, correct: Array, mask: Array | None = None) -> jax.Array:
    found, total = walk(sort_units(confidence, correct, mask))
    value = selective_values(found, total, STANDARD)[name]
    return nan_unless(count_nan(confidence, mask) == 0, value)


def _register(name: str, **facts: Any) -> None:
    # All of them are means of a risk, which may be 1 - grade.
    fn = functools.partial(_one, name)
    register(Metric(name=name, family='selective', inputs='ranking', fn=fn, has_grades=True, **facts))


_register(
    'aurc',
    label='AURC',
    meaning='the error rate among accepted predictions, averaged over every coverage',
    definition='Area under the selective risk as a function of coverage, by trapezoids between distinct thresholds '
    'from coverage 1 down; the last risk is carried to coverage 0.',
    reference='Geifman, Uziel & El-Yaniv, ICLR 2019 ("AURC")',
    higher_is_better=False,
    scale=1000,
    column=4,
    is_compared=True,
)
_register(
    'e_aurc',
    label='E-AURC',
    meaning='how far AURC is from that of a perfect ordering',
    definition='AURC less that of a perfect ranking at the same error rate e in the limit of many units, '
    'e + (1 - e) ln(1 - e). Slightly below 0 is possible, because trapezoids are not that limit.',
    reference='Geifman, Uziel & El-Yaniv, ICLR 2019 ("E-AURC")',
    higher_is_better=False,
    low=-0.5,
    scale=1000,
    column=5,
)
_register(
    'augrc',
    label='AUGRC',
    meaning='the share of all predictions that are accepted and wrong, averaged over every coverage',
    definition='Area under the generalized risk (errors accepted, over all units) as a function of coverage, by '
    'trapezoids between distinct thresholds, ending in (0, 0): the chance that a prediction is wrong and accepted.',
    reference='Traub et al., NeurIPS 2024 ("AUGRC")',
    higher_is_better=False,
    high=0.5,
    scale=1000,
    column=6,
)
for _coverage in STANDARD.coverage:
    _register(
        risk_name(_coverage),
        label=f'Risk at {100 * _coverage:g}% coverage',
        meaning=f'the error rate when the {100 * _coverage:g}% most confident predictions are accepted',
        definition='Share of errors among the accepted at the largest threshold that accepts at least '
        f'{100 * _coverage:g}% of the units.',
        reference='El-Yaniv & Wiener, JMLR 2010 ("selective risk")',
        higher_is_better=False,
        column=None,
    )
for _risk in STANDARD.risk:
    _register(
        coverage_name(_risk),
        label=f'Coverage at {100 * _risk:g}% risk',
        meaning=f'the share of predictions that can be accepted with at most {100 * _risk:g}% errors among them',
        definition=f'Largest share of units that some threshold accepts with at most {100 * _risk:g}% errors among '
        'them; 0 where no threshold does.',
        reference='Geifman & El-Yaniv, NeurIPS 2017 ("selection with guaranteed risk")',
        higher_is_better=True,
        column=None,
    )
