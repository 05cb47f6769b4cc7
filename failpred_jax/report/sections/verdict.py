"""Verdict: can this model be trusted, and which score says when not."""

from typing import Any

from failpred_jax.report import curves, words
from failpred_jax.report.html import Html, join, tag
from failpred_jax.report.section import Section
from failpred_jax.report.view import View, as_mapping

FEW_ERRORS = 50  # below this, an interval on any failure metric spans much of its range
POOR_ECE = 0.05


def make(view: View) -> Section:
    """Return the section that opens the page."""
    section = Section('verdict', 'Verdict', 'Can this model be trusted, and how would you know when not?')
    section.add(tag('div', _sentences(view), class_='lead'))
    section.add(tag('div', [_tile(*tile) for tile in _tiles(view)], class_='tiles'))
    warnings = _warnings(view)
    if warnings:
        section.add(
            tag(
                'div',
                tag('h3', 'Before you rely on these numbers'),
                tag('ul', [tag('li', warning) for warning in warnings]),
                class_='warnings',
                role='note',
            )
        )
    return section


def _sentences(view: View) -> list[Html]:
    return [tag('p', text) for text in (_accuracy(view), _best_score(view), _rejection(view)) if text]


def _accuracy(view: View) -> Html | None:
    model = as_mapping(view.context.get('model')).get('name') or 'The model'
    data = view.dataset.get('name') or 'the test set'
    if view.accuracy is None:
        return join(tag('b', model), ' on ', tag('b', data), ': the evaluation holds no accuracy.')
    low, high = words.wilson(view.accuracy * view.num_units, view.num_units)
    spread = f' (95 % interval {words.interval(low, high)})' if not view.is_segmentation else ''
    return join(
        tag('b', model),
        ' is right on ',
        tag('b', words.percent(view.accuracy)),
        f'{spread} of the {words.count(view.num_units, f"test {view.unit}")} of ',
        tag('b', data),
        ' and wrong on ',
        tag('b', words.number(view.num_errors)),
        '.',
    )


def _best_score(view: View) -> Any:
    if view.best is None:
        return 'No confidence score could be compared: the failure metrics are undefined for this run.'
    metric = view.verdict_metric
    label = words.metric_words(metric)
    value = view.metric(view.best, metric)
    ends = view.interval(view.best, metric)
    level = f'{view.interval_level * 100:g}'
    spread = f' ({level} % interval {words.interval(*ends, 2)})' if ends else ''
    sentence = join(
        'Of the scores that a deployed model can compute, ',
        tag('b', view.best),
        f' comes out best by {label.label}, {label.meaning}: ',
        tag('b', words.percent(value, 2)),
        f'{spread}. ',
    )
    others = [name for name in view.equals(metric) if name != view.best]
    if not view.equals(metric):
        return join(sentence, 'Whether it differs from the others by more than chance was not measured.')
    if not others:
        return join(sentence, 'Every other score is worse by more than chance on this test set.')
    names = join(*_names(others))
    free = ' MCP is among them, and it costs nothing to compute.' if 'mcp' in others else ''
    return join(sentence, 'This test set cannot tell it apart from ', names, '.', free)


def _names(names: list[str], most: int = 5) -> list[Any]:
    """Return names in bold as a list in prose."""
    shown = [tag('b', name) for name in names[:most]]
    if len(names) > most:
        shown.append(f'{len(names) - most} more')
    parts: list[Any] = []
    for index, name in enumerate(shown):
        parts += [' and ' if index == len(shown) - 1 else ', '] if index else []
        parts.append(name)
    return parts


def _rejection(view: View) -> Html | None:
    """Say what rejecting a tenth buys, which is what a score is for."""
    counts = view.curves(view.best).counts if view.best else None
    if counts is None or not counts.errors[-1]:
        return None
    row = curves.row_at_coverage(counts, 0.9)
    accepted, errors = int(counts.units[row]), int(counts.errors[row])
    rejected = 1 - accepted / counts.units[-1]
    if rejected < 0.02:
        return None
    return join(
        f'Rejecting the least sure {words.percent(rejected, 0)} leaves ',
        tag('b', words.percent(errors / accepted)),
        f' errors among the rest, instead of {words.percent(counts.errors[-1] / counts.units[-1])}.',
    )


def _tiles(view: View) -> list[tuple[str, str, str]]:
    """Return (value, label, note) of the numbers on top."""
    tiles = []
    if view.accuracy is not None:
        tiles.append((words.percent(view.accuracy), 'accuracy', f'{words.count(view.num_units, view.unit)} tested'))
        tiles.append((words.number(view.num_errors), 'errors', 'what every failure metric rests on'))
    for metric in ('auroc', 'aupr_error'):
        value = view.metric(view.best, metric) if view.best else None
        if value is not None:
            ends = view.interval(view.best, metric)
            note = f'{view.best}, {words.interval(*ends)}' if ends else view.best
            tiles.append((words.percent(value), words.metric_words(metric).label, note))
    ece = _ece(view)
    if ece is not None:
        tiles.append((words.percent(ece), 'calibration error', 'of the class probabilities'))
    return tiles


def _tile(value: str, label: str, note: str) -> Html:
    return tag('div', tag('b', value), tag('span', label), tag('small', note), class_='tile')


def _ece(view: View) -> float | None:
    given = view.classifier.get('ece', view.calibration('mcp').get('ece'))
    return float(given) if words.is_number(given) else None


def _warnings(view: View) -> list[Any]:
    """Return what training and evaluation warned of, then what the numbers themselves give away."""
    given = view.context.get('warnings') or []
    given = [str(warning) for warning in ([given] if isinstance(given, str) else given)]
    warnings: list[Any] = [warning[:1].upper() + warning[1:] for warning in given]
    if view.num_errors == 0:
        warnings.append('The model makes no error on the test set, so no failure metric is defined.')
    elif view.num_errors is not None and view.num_errors < FEW_ERRORS:
        warnings.append(
            f'The test set holds only {words.count(view.num_errors, "error")}. Differences between scores rest on '
            'these alone: read the intervals, not the last digit.'
        )
    ece = _ece(view)
    if ece is not None and ece > POOR_ECE:
        warnings.append(
            f'The class probabilities are poorly calibrated: they miss the accuracy by {words.percent(ece)} on '
            'average. A threshold on them does not mean what its number says; see Calibration.'
        )
    undefined = as_mapping(view.results.metrics.get('undefined'))
    warnings += [join(tag('b', name), f' is undefined: {reason}') for name, reason in undefined.items()]
    return warnings
