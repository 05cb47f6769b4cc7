"""From labels, logits and confidences to the figures: pure functions of arrays, for our runs and for anybody's."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from failpred_jax.config import EvaluateConfig
from failpred_jax.metrics import (
    Resamples,
    bootstrap,
    calibration_metrics,
    classifier_metrics,
    compare,
    intervals,
    level_with_best,
    score_metrics,
    segmentation_metrics,
    undefined_reasons,
)
from failpred_jax.registry import METRICS, SCORES
from failpred_jax.types import Array

# The columns of the table for people, with the paper's four first.
COLUMNS = {
    'fpr_at_95tpr': 'FPR@95%TPR',
    'aupr_error': 'AUPR-Error',
    'aupr_success': 'AUPR-Success',
    'auroc': 'AUROC',
    'aurc': 'AURC x1000',
    'e_aurc': 'E-AURC x1000',
    'augrc': 'AUGRC x1000',
}
# One for every evaluation, so that the same predictions have the same intervals wherever they are measured.
RESAMPLES_SEED = 0
# The metrics by which scores are compared in pairs.
COMPARED = ('aurc', 'auroc', 'aupr_error', 'fpr_at_95tpr')


def measure(
    probs: Array,
    labels: Array,
    correct: Array,
    confidences: Mapping[str, Array],
    task: str,
    options: EvaluateConfig,
    notes: Mapping[str, tuple[str, ...]],
    unavailable: Mapping[str, str],
) -> dict[str, Any]:
    """Return the content of metrics.json; undefined values are NaN here.

    Args:
      probs: [N, C] float32 class probabilities.
      labels: [N] int32.
      correct: [N] bool.
      confidences: score name -> [N] float32.
      task: 'classification', or 'segmentation', where units are pixels and IoU is measured too.
      options: resamples and interval.
      notes: score name -> sentences that its fit left.
      unavailable: score name -> why it is not there.
    """
    scores: dict[str, dict[str, Any]] = {}
    undefined: dict[str, str] = {}
    for name, confidence in confidences.items():
        found = score_metrics(confidence, correct)
        undefined |= undefined_reasons(found)
        scores[name] = {**found, 'notes': list(notes.get(name, ()))}
        if name in SCORES and SCORES[name].is_probability:
            scores[name]['calibration'] = calibration_metrics(confidence, correct)
    classifier = classifier_metrics(probs, labels)
    if task == 'segmentation':
        classifier |= segmentation_metrics(classifier['confusion'])
    metrics = {
        'classifier': {
            **classifier,
            'num_errors': int(np.count_nonzero(~correct)),
            'num_units': len(correct),
        },
        'scores': scores,
        'unavailable': dict(unavailable),
        'undefined': undefined,
    }
    if options.resamples and confidences:
        drawn = bootstrap(confidences, correct, num_resamples=options.resamples, seed=RESAMPLES_SEED)
        add_resampled(metrics, drawn, options.interval)
    return metrics


def add_resampled(metrics: dict[str, Any], drawn: Resamples, level: float) -> None:
    """Add to the content of metrics.json what resamples say: intervals, the best scores, paired differences."""
    for name, limits in intervals(drawn, level).items():
        metrics['scores'][name]['ci'] = {metric: list(limit) for metric, limit in limits.items()}
    usable = _without_bounds(drawn)
    if usable.scores:
        metrics['best'] = {m: list(names) for m, names in level_with_best(usable, level).items()}
        metrics['comparisons'] = _comparisons(usable, metrics['best'], level)


def _without_bounds(drawn: Resamples) -> Resamples:
    """Return the resamples of the scores that can be used, which are those that do not read the label."""
    keep = [i for i, name in enumerate(drawn.scores) if not (name in SCORES and SCORES[name].reads_label)]
    return dataclasses.replace(
        drawn,
        scores=tuple(drawn.scores[i] for i in keep),
        values=drawn.values[:, keep],
        samples=drawn.samples[:, keep],
    )


def _comparisons(drawn: Resamples, best: Mapping[str, list[str]], level: float) -> list[dict[str, Any]]:
    """Return the paired differences of every score to the best one, and to MCP, which costs nothing to have."""
    rows = []
    for metric in COMPARED:
        references = dict.fromkeys([*best[metric][:1], *(['mcp'] if 'mcp' in drawn.scores else [])])
        for b in references:
            for a in drawn.scores:
                # The pair of the two references would stand twice.
                if a != b and not (b == 'mcp' and a in references):
                    found = compare(drawn, a, b, metric, level)
                    rows.append(
                        {
                            'metric': metric,
                            'a': a,
                            'b': b,
                            'difference': found.difference,
                            'low': found.low,
                            'high': found.high,
                            'a_wins': found.wins,
                        }
                    )
    return rows


def definitions(scores: Iterable[str]) -> dict[str, Any]:
    """Return what every metric and every one of the scores is, for the report and for metrics.json's readers."""
    return {
        'metrics': {
            name: {
                'definition': METRICS[name].definition,
                'reference': METRICS[name].reference,
                'higher_is_better': METRICS[name].higher_is_better,
                'undefined': METRICS[name].undefined,
            }
            for name in METRICS
        },
        'scores': {
            name: {
                'description': SCORES[name].description,
                'reference': SCORES[name].reference,
                'reads_label': SCORES[name].reads_label,
                'is_probability': SCORES[name].is_probability,
            }
            for name in scores
            if name in SCORES
        },
    }


def to_markdown(metrics: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    """Return the table that people read, with what it cannot show said below it."""
    classifier = metrics['classifier']
    known = context['definitions']['scores']
    bounds = {name for name in metrics['scores'] if known.get(name, {}).get('reads_label')}
    head = ['score', *(f'{title} {arrow(name)}' for name, title in COLUMNS.items())]
    best = metrics.get('best', {})
    rows = [
        [
            f'{name} *' if name in bounds else name,
            *(
                _cell(found[column], title) + ('=' if name in best.get(column, ()) else '')
                for column, title in COLUMNS.items()
            ),
        ]
        for name, found in metrics['scores'].items()
    ]
    lines = [
        f'{context["dataset"]["name"]}: accuracy {classifier["accuracy"]:.2%}, {classifier["num_errors"]:,} errors in '
        f'{classifier["num_units"]:,} test {"pixels" if context["dataset"]["task"] == "segmentation" else "images"} '
        '(percent, unless marked x1000)',
        '',
        *rule_table(head, rows),
    ]
    if best:
        lines += [
            '',
            '= the best, or not distinguishable from it (the paired bootstrap interval of the difference holds 0)',
        ]
    if bounds:
        lines += ['', '\\* reads the label: an upper bound, not a score that can be used']
    remarks = [f'{name}: {note}' for name, found in metrics['scores'].items() for note in found.get('notes', ())]
    remarks += [f'{name} is not there: {reason}' for name, reason in metrics['unavailable'].items()]
    remarks += [f'{name} is {reason}' for name, reason in metrics['undefined'].items() if name in COLUMNS]
    remarks += context['warnings']
    if remarks:
        lines += ['', *(f'- {text}' for text in remarks)]
    return '\n'.join(lines) + '\n'


def rule_table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a markdown table whose columns also line up in a terminal."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(cells: list[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
        return f'| {" | ".join(padded)} |'

    return [line(head), '|' + '|'.join('-' * (w + 2) for w in widths) + '|', *(line(row) for row in rows)]


def arrow(name: str) -> str:
    """Return the direction in which a metric gets better."""
    return '↑' if METRICS[name].higher_is_better else '↓'


def _cell(value: float | None, title: str) -> str:
    if value is None or np.isnan(value):
        return 'undefined'
    return f'{value * 1000:.3f}' if title.endswith('x1000') else f'{value * 100:.2f}'
