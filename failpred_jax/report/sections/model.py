"""The model: how it was trained, and which classes it confuses."""

import numpy as np

from failpred_jax.report import figures_classes, figures_scores, figures_training, words
from failpred_jax.report.html import Html, join, tag
from failpred_jax.report.section import Section
from failpred_jax.report.tables import Column, Table
from failpred_jax.report.view import View, as_mapping

# What the head learned from, by config.confidence.targets.
TARGETS = {
    'train': 'On its own training set the classifier makes',
    'validation': 'On the half of the validation split that the head learns from, the classifier makes',
    'crossfit': 'On the training set, each part predicted by a classifier that has not seen it, there are',
}


def make(view: View) -> Section:
    """Return the section on training and classes."""
    section = Section('model', 'The model', 'How did training go, and which classes does it confuse?')
    _add_training(section, view)
    _add_target_histogram(section, view)
    _add_classes(section, view)
    return section


def _add_training(section: Section, view: View) -> None:
    section.heading('Training')
    stages = {str(s.get('name')): as_mapping(s) for s in view.context.get('stages') or ()}
    figures = []
    for stage, history in view.results.history.items():
        items = []
        for panel in figures_training.PANELS:
            columns = figures_training.panel_columns(history, panel)
            if not columns:
                continue
            best = stages.get(stage, {}).get('step')
            best = best if words.is_number(best) else None
            figure = figures_training.training_curves(history, panel, stage, best)
            figures.append(figure)
            name = f'training_{len(figures)}'
            alt = f'Training curves of stage {stage}: {", ".join(columns)}.'
            items.append(section.figure_html(name, figure, '', alt))
        section.add_grid(items, 'four')
    if not figures:
        section.missing('No training history is here: the stages were not trained by this run.')
        return
    section.add_combined('training_curves', figures, 'Training curves', 2)
    sentence = 'The dotted line marks the checkpoint that was kept, chosen on validation data.'
    selections = [
        f'{name}: {s.get("select_by")} = {words.number(s.get("best_value"), 4)} at step {words.number(s.get("step"))}'
        for name, s in stages.items()
        if s.get('select_by')
    ]
    section.text(f'{sentence} {"; ".join(selections)}{"." if selections else ""}')


def _add_target_histogram(section: Section, view: View) -> None:
    targets = as_mapping(view.context.get('train_targets'))
    histogram = as_mapping(targets.get('histogram')) or as_mapping(view.context.get('train_tcp_histogram'))
    if not histogram.get('edges'):
        return
    section.heading('What the confidence head learned from')
    if 'counts' in histogram:
        counts = np.asarray(histogram['counts'])
    else:
        counts = np.asarray(histogram['correct']) + np.asarray(histogram['wrong'])
    top = counts[-1] / max(counts.sum(), 1)
    if words.is_number(targets.get('num_errors')):
        section.text(
            f'{TARGETS.get(targets.get("source"), TARGETS["train"])} {words.count(targets["num_errors"], "error")} in '
            f'{words.count(targets.get("num_units") or 0, view.unit)}.'
        )
    section.add_figure(
        'train_tcp',
        figures_scores.true_class_probability_histogram(histogram['edges'], counts),
        f'The head learns these values. {words.percent(top)} of them lie in the last bin: the more do, the fewer '
        'errors there are to learn from.',
        f'Histogram of the true-class probability on the training set; {words.percent(top)} in the last bin.',
    )


def _add_classes(section: Section, view: View) -> None:
    section.heading('Classes')
    section.add(_classifier_facts(view))
    counts, size = view.confusion, len(view.class_names)
    if counts is None:
        section.missing('Figures per class need labels and logits, or a confusion matrix; neither is here.')
        return
    if view.is_subsample and view.classifier.get('confusion') is None:
        section.missing(f'From a sample of {words.count(len(view.results.labels), view.unit)}, not from all of them.')
    rows = _class_rows(view, counts)
    shown = _most_errors(counts, figures_classes.MAX_CLASSES)
    names = [view.class_names[c] for c in shown]
    only = '' if len(shown) == size else f' Only the {len(shown)} classes with most errors are drawn, of {size}.'
    block = counts[np.ix_(shown, shown)]
    totals = counts.sum(axis=1)
    # Normalize by all units of the class, also where only some classes are drawn.
    section.add_figure(
        'confusion_matrix',
        figures_classes.confusion_matrix(block, names, totals[shown]),
        f'Rows are true classes and sum to 100 %; what is off the diagonal is confused.{only}',
        f'Confusion matrix of {size} classes; {int(np.trace(counts))} of {int(counts.sum())} on the diagonal.',
    )
    worst = min((row for row in rows if row['support']), key=lambda row: row['recall'], default=None)
    worst_text = f' The worst is {worst["class"]} with {words.percent(worst["recall"])}.' if worst else ''
    figures = {
        'class_accuracy': (
            figures_classes.class_accuracy(np.diag(counts)[shown], totals[shown], names),
            f'Worst class first; lines are 95 % Wilson intervals.{only}',
            f'Accuracy of each class.{worst_text}',
        ),
    }
    if view.has_units:
        columns = [[row[key] for row in rows] for key in ('mean_tcp', 'median_tcp')]
        mean, median = (np.array([np.nan if v is None else v for v in column])[shown] for column in columns)
        figures['class_true_probability'] = (
            figures_classes.true_class_probability(mean, median, names),
            'The probability given to the true class. A mean far below the median: few units, missed badly.',
            'Mean and median true-class probability of each class; the values are in the table below.',
        )
    items = []
    for name, (figure, caption, alt) in figures.items():
        section.figures[name] = figure
        items.append(section.figure_html(name, figure, caption, alt))
    section.add_grid(items, 'wide')
    _add_report(section, rows)
    _add_confusions(section, view, counts)


def _classifier_facts(view: View) -> Html:
    """Return the classifier's own metrics, as far as they are single numbers."""
    facts = []
    for name, value in view.classifier.items():
        if name in ('num_units', 'num_errors') or not words.is_number(value):
            continue
        known = words.metric_words(name)
        shown = words.percent(value) if known.is_share and 0 <= value <= 1 else words.number(value)
        facts.append(tag('div', tag('dt', known.label, title=known.meaning or None), tag('dd', shown)))
    return tag('dl', facts, class_='facts') if facts else Html('')


def _most_errors(counts: np.ndarray, most: int) -> np.ndarray:
    """Return the classes to draw, in label order: all, or those with most errors."""
    errors = counts.sum(axis=1) - np.diag(counts)
    return np.sort(np.argsort(-errors, kind='stable')[:most])


def _class_rows(view: View, counts: np.ndarray) -> list[dict]:
    right, support, called = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    parts = [np.zeros(0)] * len(support)
    if view.has_units:
        labels = np.asarray(view.results.labels)
        sizes = np.bincount(labels, minlength=len(support))
        parts = np.split(view.true_probability[np.argsort(labels, kind='stable')], np.cumsum(sizes)[:-1])
    rows = []
    for c, name in enumerate(view.class_names):
        recall = right[c] / support[c] if support[c] else None
        precision = right[c] / called[c] if called[c] else None
        f1 = 2 * right[c] / (support[c] + called[c]) if support[c] + called[c] else None
        rows.append(
            {
                'class': name,
                'precision': precision,
                'recall': recall,
                'f1': f1,
                'support': int(support[c]),
                'errors': int(support[c] - right[c]),
                'mean_tcp': float(parts[c].mean()) if len(parts[c]) else None,
                'median_tcp': float(np.median(parts[c])) if len(parts[c]) else None,
            }
        )
    return rows


def _add_report(section: Section, rows: list[dict]) -> None:
    present = [row for row in rows if row['support']]
    average = {'class': 'average of classes', '_muted': True, 'support': sum(row['support'] for row in rows)}
    average['errors'] = sum(row['errors'] for row in rows)
    for key in ('precision', 'recall', 'f1', 'mean_tcp', 'median_tcp'):
        # A class that is never predicted has no precision; scikit-learn counts it as 0, and so does this average.
        average[key] = float(np.mean([row[key] or 0.0 for row in present])) if present else None
    columns = [
        Column('class', 'class'),
        Column('precision', 'precision', _percent, True, 'of those called so, the share that is'),
        Column('recall', 'recall (accuracy)', _percent, True, 'of those that are, the share called so'),
        Column('f1', 'F1', _percent, True, 'harmonic mean of precision and recall'),
        Column('support', 'support', lambda v, _: words.number(v), True, 'units of the class'),
        Column('errors', 'errors', lambda v, _: words.number(v), True),
        Column('mean_tcp', 'mean TCP', _percent, True, 'mean true-class probability'),
        Column('median_tcp', 'median TCP', _percent, True, 'median true-class probability'),
    ]
    if not any(row['mean_tcp'] is not None for row in rows):
        columns = [column for column in columns if not column.key.endswith('tcp')]
    section.add_table(Table('classes', 'Classification report, in percent.', columns, [*rows, average]))


def _percent(value: float | None, _: dict) -> str:
    return f'{value * 100:.1f}' if words.is_number(value) else words.DASH


def _add_confusions(section: Section, view: View, counts: np.ndarray) -> None:
    rows = []
    for c, name in enumerate(view.class_names):
        wrong = counts[c].copy()
        wrong[c] = 0
        first = [int(k) for k in np.argsort(-wrong, kind='stable')[:5] if wrong[k]]
        row = {'class': name, 'errors': int(wrong.sum())}
        for rank in range(5):
            known = rank < len(first)
            row[f'confusion_{rank + 1}'] = view.class_names[first[rank]] if known else None
            row[f'count_{rank + 1}'] = int(wrong[first[rank]]) if known else None
        rows.append(row)

    def cell(rank: int):
        def show(value: str | None, row: dict):
            if value is None:
                return ''
            return join(value, ' ', tag('small', f'\u00d7{words.number(row[f"count_{rank}"])}', class_='inline'))

        return show

    columns = [Column('class', 'true class'), Column('errors', 'errors', lambda v, _: words.number(v), True)]
    columns += [Column(f'confusion_{rank}', f'{rank}.', cell(rank)) for rank in range(1, 6)]
    caption = 'What each class is most often taken for, and how many times.'
    section.heading('Top five confusions of each class')
    section.add_table(Table('confusions', caption, columns, rows, [f'count_{rank}' for rank in range(1, 6)]))
