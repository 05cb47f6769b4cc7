"""Several seeds of one experiment: means, spreads, and paired differences of their figures."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from failpred_jax.evaluate.table import COLUMNS, COMPARED, arrow, rule_table
from failpred_jax.registry import METRICS, SCORES
from failpred_jax.results import Results
from failpred_jax.scores.sampled import add_sample, finish_samples, init_samples
from failpred_jax.scores.score import SampleSummary


def summarize_ensemble(members: Sequence[Mapping[str, np.ndarray]]) -> dict[str, SampleSummary]:
    """Return split -> summary over the members' class probabilities, each given as split -> [N, C]."""
    found = {}
    for split in members[0]:
        samples = init_samples(members[0][split].shape)
        for member in members:
            samples = add_sample(samples, member[split])
        found[split] = finish_samples(samples)
    return found


def summarize_seeds(found: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of several seeds together.

    Args:
      found: seed -> metrics, as `table.measure` returns them.

    Returns:
      {'seeds': [seed], 'classifier': {metric: {'mean', 'std'}}, 'scores': {score: {metric: {'mean', 'std'}}},
      'paired': [{'metric', 'a', 'b', 'mean', 'std', 'a_wins', 'num_seeds'}]}. `std` is the sample standard deviation
      over seeds, NaN for one seed. `paired` has the difference a - b seed by seed, b being MCP. A score that some
      seed could not have is left out.
    """
    every = list(found.values())
    names = [name for name in every[0]['scores'] if all(name in m['scores'] for m in every)]
    scores = {
        name: {
            metric: _mean_and_std([m['scores'][name][metric] for m in every])
            for metric, value in every[0]['scores'][name].items()
            if isinstance(value, int | float)
        }
        for name in names
    }
    classifier = {
        metric: _mean_and_std([m['classifier'][metric] for m in every])
        for metric, value in every[0]['classifier'].items()
        if isinstance(value, int | float)
    }
    paired = []
    for metric in COMPARED:
        sign = 1 if METRICS[metric].higher_is_better else -1
        for name in names:
            if name == 'mcp' or 'mcp' not in names or SCORES[name].reads_label:
                continue
            change = np.array([m['scores'][name][metric] - m['scores']['mcp'][metric] for m in every])
            paired.append(
                {
                    'metric': metric,
                    'a': name,
                    'b': 'mcp',
                    **_mean_and_std(change),
                    'a_wins': float(np.mean(sign * change > 0) + np.mean(change == 0) / 2),
                    'num_seeds': len(every),
                }
            )
    return {'seeds': list(found), 'classifier': classifier, 'scores': scores, 'paired': paired}


def _mean_and_std(values: Any) -> dict[str, float]:
    values = np.asarray(values, np.float64)
    return {'mean': float(np.mean(values)), 'std': float(np.std(values, ddof=1)) if len(values) > 1 else math.nan}


def with_seeds(found: Mapping[int, Results], summary: Mapping[str, Any]) -> Results:
    """Return the first seed's results with what all seeds say together, which the report shows beside them."""
    first = next(iter(found.values()))
    return dataclasses.replace(
        first,
        metrics={**first.metrics, 'seeds': summary},
        context={
            **first.context,
            'seeds': [{'seed': seed, 'metrics': dict(results.metrics)} for seed, results in found.items()],
        },
    )


def to_markdown(summary: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    """Return the table of means and standard deviations over seeds."""
    seeds = ', '.join(map(str, summary['seeds']))
    rows = []
    for name, found in summary['scores'].items():
        marked = f'{name} *' if SCORES[name].reads_label else name
        rows.append([marked, *(_cell(found[column], title) for column, title in COLUMNS.items())])
    accuracy, errors = summary['classifier']['accuracy'], summary['classifier']['num_errors']
    lines = [
        f'{context["dataset"]["name"]}, seeds {seeds}: accuracy {accuracy["mean"]:.2%} ± {accuracy["std"]:.2%}, '
        f'{errors["mean"]:.1f} errors; mean ± standard deviation over seeds (percent, unless marked x1000)',
        '',
        *rule_table(['score', *(f'{title} {arrow(name)}' for name, title in COLUMNS.items())], rows),
        '',
        '\\* reads the label: an upper bound, not a score that can be used',
    ]
    return '\n'.join(lines) + '\n'


def _cell(value: Mapping[str, float], title: str) -> str:
    if math.isnan(value['mean']):
        return 'undefined'
    factor, digits = (1000, 3) if title.endswith('x1000') else (100, 2)
    return f'{value["mean"] * factor:.{digits}f} ± {value["std"] * factor:.{digits}f}'
