"""Verdict: can this model be trusted, and which score tells when it cannot."""

from collections.abc import Sequence

import htpy as h

from failpred_jax.report import curves, words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.view import View

POOR_ECE = 0.05
TOO_FEW = 10  # with fewer errors or correct predictions, no failure metric is shown as a main number
TILE_METRICS = ('auroc', 'aupr_error')


@report_section(
    'verdict', order=10, title='Verdict', question='Can this model be trusted, and how would you know when it cannot?'
)
def fill(view: View, section: Section) -> None:
    """Add the answer in sentences, the main numbers, and what to know before relying on them."""
    section.add(h.div('.lead')[[h.p[text] for text in (_accuracy(view), _best_score(view), _rejection(view)) if text]])
    section.add(h.div('.tiles')[[_tile(*tile) for tile in _tiles(view)]])
    if warnings := warnings_of(view):
        section.add(
            h.div('.warnings', role='note')[
                h.h3['Before you rely on these numbers'], h.ul[[h.li[warning] for warning in warnings]]
            ]
        )


def _accuracy(view: View) -> h.Node:
    model, data = h.b[view.model_name or 'The model'], h.b[view.dataset.name or 'the test set']
    if view.accuracy is None:
        return [model, ' on ', data, ': accuracy unavailable, as no prediction was evaluated.']
    ends, level = view.classifier.intervals.get('accuracy'), view.run.interval
    if view.is_graded:
        spread = f' ({_level(level)} interval {words.interval(*ends)})' if ends else ''
        units = f'{spread} on the {words.count(view.num_units, f"test {view.unit}")} of '
        return [model, ' has a mean grade of ', h.b[words.percent(view.accuracy)], units, data, '.']
    if ends is None and not view.is_segmentation:
        # Images are independent; neighboring pixels are not, and without resampled images they have no interval.
        ends, level = words.wilson(view.num_correct, view.num_units), 0.95
    spread = f' ({_level(level)} interval {words.interval(*ends)})' if ends else ''
    return [
        model,
        ' is right on ',
        h.b[words.percent(view.accuracy)],
        f'{spread} of the {words.count(view.num_units, f"test {view.unit}")} of ',
        data,
        ' and wrong on ',
        h.b[words.number(view.num_errors)],
        '.',
    ]


def _level(level: float) -> str:
    return f'{level * 100:g}{words.THIN}%'


def _best_score(view: View) -> h.Node:
    if view.best is None:
        return 'The confidence scores cannot be compared: the failure metrics are undefined for this run.'
    metric = view.verdict_metric
    facts, ends = view.facts(metric), view.interval(view.best, metric)
    spread = f' ({_level(view.run.interval)} interval {view.interval_with_unit(metric, ends)})' if ends else ''
    meaning = f', {facts.meaning}' if facts.meaning else ''
    if sum(not view.is_bound(name) for name in view.scores) == 1:
        value = view.with_unit(metric, view.metric(view.best, metric))
        named = f', and its {facts.label}{meaning} is '
        return ['There is one score, ', h.b[view.best], named, h.b[value], f'{spread}.']
    sentence = [
        f'With only {view.scarce}, the scores can hardly be told apart. ' if view.scarce else '',
        'Among the scores that a deployed model can compute, ',
        h.b[view.best],
        f' is best by {facts.label}{meaning}: ',
        h.b[view.with_unit(metric, view.metric(view.best, metric))],
        f'{spread}. ',
    ]
    tied = view.tied_with_best(metric)
    others = [name for name in tied if name != view.best]
    if not tied:
        return [sentence, 'Whether the difference to the others is more than chance was not measured.']
    if not others:
        return [sentence, 'Every other score is worse by more than chance on this test set.']
    free = [name for name in others if view.role(name) == 'baseline']
    cheap = f' That includes the baseline {free[0]}, which costs nothing to compute.' if free else ''
    return [sentence, 'On this test set it cannot be told apart from ', _names(others), f'.{cheap}']


def _names(names: Sequence[str], most: int = 5) -> h.Node:
    """Return names in bold as a list in prose."""
    shown: list[h.Node] = [h.b[name] for name in names[:most]]
    if len(names) > most:
        shown.append(f'{len(names) - most} more')
    parts: list[h.Node] = []
    for index, name in enumerate(shown):
        parts += [' and ' if index == len(shown) - 1 else ', '] if index else []
        parts.append(name)
    return parts


def _rejection(view: View) -> h.Node:
    """Say what rejecting one tenth gains, which is what a score is for."""
    counts = view.figures(view.best).counts if view.best else None
    if counts is None or not counts.errors[-1]:
        return None
    row = curves.row_at_coverage(counts, 0.9)
    accepted, errors = int(counts.units[row]), float(counts.errors[row])
    rejected = 1 - accepted / counts.units[-1]
    if rejected < 0.02:
        return None
    return [
        f'If the least confident {words.percent(rejected, 0)} are rejected, ',
        h.b[words.percent(errors / accepted)],
        f' of the rest {"is lost" if view.is_graded else "are wrong"}, instead of '
        f'{words.percent(counts.errors[-1] / counts.units[-1])}.',
    ]


def _tiles(view: View) -> list[tuple[str, str, str]]:
    """Return (value, label, note) of the main numbers."""
    tiles = []
    if view.accuracy is not None:
        name = 'mean grade' if view.is_graded else 'accuracy'
        tiles.append((words.percent(view.accuracy), name, f'{words.count(view.num_units, view.unit)} tested'))
    if view.accuracy is not None and not view.is_graded:
        tiles.append((words.number(view.num_errors), 'errors', 'the basis of every failure metric'))
    for metric in TILE_METRICS:
        value = view.metric(view.best, metric) if view.best else None
        if view.best is None or value is None:
            continue
        if min(view.num_errors, view.num_correct) < TOO_FEW:
            tiles.append((words.DASH, view.facts(metric).label, f'cannot be judged with {view.scarce}'))
            continue
        ends = view.interval(view.best, metric)
        notes = [f'{view.best}, {view.interval_with_unit(metric, ends, 1)}' if ends else view.best]
        notes += [f'only {view.scarce}'] if view.scarce else []
        # With many errors a random score has a high AUPR-Error too.
        notes += [f'{words.percent(view.error_rate)} by chance'] if metric == 'aupr_error' else []
        tiles.append((view.with_unit(metric, value, 1), view.facts(metric).label, '; '.join(notes)))
    if (ece := _ece(view)) is not None:
        tiles.append((words.percent(ece), 'calibration error', 'of the class probabilities'))
    return tiles


def _tile(value: str, label: str, note: str) -> h.Element:
    return h.div('.tile')[h.b[value], h.span[label], h.small[note]]


def _ece(view: View) -> float | None:
    """Return the calibration error of the class probabilities: the classifier's, or the baseline score's."""
    baseline = [view.evaluation.scores[name].calibration for name in view.evaluation.with_role('baseline')]
    found = [metrics['ece'] for metrics in (view.classifier.metrics, *baseline) if words.is_number(metrics.get('ece'))]
    return found[0] if found else None


def warnings_of(view: View) -> list[h.Node]:
    """Return what training and evaluation warned of, then what the numbers themselves show."""
    told = (*view.run.warnings, *view.evaluation.measures.notes)
    warnings: list[h.Node] = [warning[:1].upper() + warning[1:] for warning in told]
    if view.is_graded:
        return [
            *warnings,
            'Predictions are right by a share, a grade: wherever this page says error rate, errors or risk, it is 1 '
            'less the grade.',
        ]
    if view.num_units and view.num_errors == 0:
        warnings.append('The model makes no error on the test set, so no failure metric is defined.')
    elif view.num_units and view.num_correct == 0:
        warnings.append('The model is right on no unit of the test set, so no failure metric is defined.')
    elif view.scarce:
        warnings.append(
            f'The test set holds only {view.scarce}. Differences between scores depend on so few that chance may '
            'decide them: read the intervals, not the last digit.'
        )
    ece = _ece(view)
    if ece is not None and ece > POOR_ECE:
        warnings.append(
            f'The class probabilities are poorly calibrated: they differ from the accuracy by {words.percent(ece)} on '
            'average. A threshold on them does not mean what its number says; see Calibration.'
        )
    # What is undefined for single classes stands with the classes.
    undefined = view.evaluation.measures.undefined
    of_classes = {*view.per_class, *(key for key in undefined if key.startswith('per_class.'))}
    warnings += [[h.b[k], f' is undefined: {reason}'] for k, reason in undefined.items() if k not in of_classes]
    return warnings
