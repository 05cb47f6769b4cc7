"""The model: how it was trained, and which classes it confuses."""

from collections.abc import Callable
from typing import Any

import htpy as h
import numpy as np

from failpred_jax.report import figures_classes, figures_scores, figures_training, words
from failpred_jax.report.section import Section, report_section
from failpred_jax.report.tables import Column, Row, Table
from failpred_jax.report.view import View
from failpred_jax.results import Confusion

# What the head learned from, by config.confidence.targets.
TARGETS = {
    'train': 'On its own training set, the classifier makes {}.',
    'validation': 'On the half of the validation split that the head learns from, the classifier makes {}.',
    'crossfit': 'On the training set, where each part is predicted by a classifier that has not seen it, there are {}.',
}
TOP = 5  # confusions listed per class


@report_section(
    'model', order=50, title='The model', question='How did training go, and which classes does the model confuse?'
)
def fill(view: View, section: Section) -> None:
    """Add training curves, what the confidence head learned from, and everything that is known of each class."""
    _add_training(section, view)
    _add_target_histogram(section, view)
    _add_classes(section, view)


def _add_training(section: Section, view: View) -> None:
    section.heading('Training')
    stages = {stage.name: stage for stage in view.run.stages}
    figures = []
    for stage, history in view.evaluation.history.items():
        items = []
        for panel in figures_training.PANELS:
            columns = figures_training.panel_columns(history, panel)
            if not columns:
                continue
            kept = stages[stage].step if stage in stages else None
            figure = figures_training.training_curves(history, panel, stage, kept)
            figures.append(figure)
            alt = f'Training curves of stage {stage}: {", ".join(columns)}.'
            items.append(section.figure_html(f'training_{len(figures)}', figure, '', alt))
        section.add_grid(items)
    if not figures:
        section.missing('Training curves unavailable: this run trained no stage.')
        return
    section.add_combined('training_curves', figures, 'Training curves', 2)
    selections = [
        f'{stage.name}: {view.facts(stage.select_by).label} {words.number(stage.best_value, 4)} at step '
        f'{words.number(stage.step)}'
        for stage in view.run.stages
        if stage.select_by
    ]
    sentence = 'The dotted line marks the checkpoint that was kept, chosen on validation data.'
    section.text(f'{sentence} {"; ".join(selections)}{"." if selections else ""}')


def _add_target_histogram(section: Section, view: View) -> None:
    targets = view.run.train_targets
    if targets is None or not len(targets.edges):
        return
    section.heading('What the confidence head learned from')
    counts = np.asarray(targets.correct) + np.asarray(targets.wrong)
    top = words.percent(counts[-1] / max(counts.sum(), 1))
    errors = f'{words.count(targets.num_errors, "error")} in {words.count(targets.num_units, view.unit)}'
    section.text(TARGETS.get(targets.source, TARGETS['train']).format(errors))
    section.add_figure(
        'train_tcp',
        figures_scores.true_class_probability_histogram(targets.edges, counts),
        f'The head learns these values. {top} of them lie in the last bin: the larger that share, the fewer errors '
        'there are to learn from.',
        f'Histogram of the true-class probability on the training set; {top} in the last bin.',
    )


def _add_classes(section: Section, view: View) -> None:
    section.heading('Classes')
    section.add(_classifier_facts(view))
    confusion = view.confusion
    if confusion is None:
        section.missing('Results per class unavailable: they need labels and logits, or a confusion matrix.')
        return
    if view.is_subsample and view.classifier.confusion is None:
        section.missing(f'From a sample of {words.count(len(view.test.labels), view.unit)}, not from all of them.')
    rows = _class_rows(view, confusion)
    _add_class_figures(section, view, confusion, rows)
    _add_report(section, rows)
    notes = [
        h.li[h.b[view.facts(metric).label], f': {reason}']
        for metric, reason in view.evaluation.measures.undefined.items()
        if metric in view.per_class
    ]
    section.add(h.ul('.notes')[notes] if notes else None)
    _add_confusions(section, view, confusion)


def _add_class_figures(section: Section, view: View, confusion: Confusion, rows: list[dict[str, Any]]) -> None:
    right, occurs, _ = confusion.marginals()
    size = confusion.num_classes
    # All classes, or those with most errors, in label order.
    shown = np.sort(np.argsort(right - occurs, kind='stable')[: figures_classes.MAX_CLASSES])
    names = [view.class_names[c] for c in shown]
    only = '' if len(shown) == size else f' Only the {len(shown)} classes with most errors are drawn, of {size}.'
    # Normalized by all units of the class, also where only some classes are drawn.
    section.add_figure(
        'confusion_matrix',
        figures_classes.confusion_matrix(_block(confusion, shown), names, occurs[shown]),
        f'Rows are true classes and sum to 100{words.THIN}%; cells off the diagonal are confusions.{only}',
        f'Confusion matrix of {size} classes; {right.sum()} of {occurs.sum()} on the diagonal.',
    )
    worst = min((row for row in rows if row['support']), key=lambda row: row['recall'], default=None)
    worst_text = f' The worst is {worst["class"]} with {words.percent(worst["recall"])}.' if worst else ''
    figures = {
        'class_accuracy': (
            figures_classes.class_accuracy(right[shown], occurs[shown], names),
            f'Worst class first; lines are 95{words.THIN}% Wilson intervals.{only}',
            f'Accuracy of each class.{worst_text}',
        ),
    }
    if view.has_units:
        columns = [[row[key] for row in rows] for key in ('mean_tcp', 'median_tcp')]
        mean, median = (np.array([np.nan if v is None else v for v in column])[shown] for column in columns)
        figures['class_true_probability'] = (
            figures_classes.true_class_probability(mean, median, names),
            'The probability given to the true class. A mean far below the median: few units, but badly wrong.',
            'Mean and median true-class probability of each class; the values are in the table below.',
        )
    items = []
    for name, (figure, caption, alt) in figures.items():
        section.figures[name] = figure
        items.append(section.figure_html(name, figure, caption, alt))
    section.add_grid(items, 'wide')


def _block(confusion: Confusion, shown: np.ndarray) -> np.ndarray:
    """Return the confusion matrix of some classes [S]: [S, S] int64."""
    place = np.full(confusion.num_classes, -1)
    place[shown] = np.arange(len(shown))
    row, column = place[confusion.label], place[confusion.predicted]
    is_shown = (row >= 0) & (column >= 0)
    block = np.zeros((len(shown), len(shown)), np.int64)
    block[row[is_shown], column[is_shown]] = confusion.count[is_shown]
    return block


def _classifier_facts(view: View) -> h.Node:
    """Return the classifier's own metrics, as far as they are single numbers."""
    facts = [
        h.div[
            h.dt(title=view.facts(name).meaning or None)[view.facts(name).label],
            h.dd[view.with_unit(name, value, 1)],
        ]
        for name, value in view.classifier.metrics.items()
        if words.is_number(value)
    ]
    return h.dl('.facts')[facts] if facts else None


def _class_rows(view: View, confusion: Confusion) -> list[dict[str, Any]]:
    right, occurs, chosen = confusion.marginals()
    parts = [np.zeros(0)] * len(occurs)
    if view.has_units:
        order = np.argsort(view.test.labels, kind='stable')
        sizes = np.bincount(view.test.labels, minlength=len(occurs))
        parts = np.split(view.true_probability[order], np.cumsum(sizes)[:-1])
    return [
        {
            'class': name,
            'precision': right[c] / chosen[c] if chosen[c] else None,
            'recall': right[c] / occurs[c] if occurs[c] else None,
            'f1': 2 * right[c] / (occurs[c] + chosen[c]) if occurs[c] + chosen[c] else None,
            'support': int(occurs[c]),
            'errors': int(occurs[c] - right[c]),
            'mean_tcp': float(parts[c].mean()) if len(parts[c]) else None,
            'median_tcp': float(np.median(parts[c])) if len(parts[c]) else None,
        }
        for c, name in enumerate(view.class_names)
    ]


def _add_report(section: Section, rows: list[dict[str, Any]]) -> None:
    present = [row for row in rows if row['support']]
    average: dict[str, Any] = {'class': 'average of classes', '_muted': True}
    for key in ('support', 'errors'):
        average[key] = sum(row[key] for row in rows)
    for key in ('precision', 'recall', 'f1', 'mean_tcp', 'median_tcp'):
        # A class that is never predicted has no precision; scikit-learn counts it as 0, and so does this average.
        average[key] = float(np.mean([row[key] or 0.0 for row in present])) if present else None
    columns = [
        Column('class', 'class'),
        Column('precision', 'precision', _percent, True, 'of the units predicted as the class, the share that is'),
        Column('recall', 'recall (accuracy)', _percent, True, 'of the units of the class, the share predicted as it'),
        Column('f1', 'F1', _percent, True, 'harmonic mean of precision and recall'),
        Column('support', 'support', lambda v, _: words.number(v), True, 'units of the class'),
        Column('errors', 'errors', lambda v, _: words.number(v), True),
        Column('mean_tcp', 'mean TCP', _percent, True, 'mean true-class probability'),
        Column('median_tcp', 'median TCP', _percent, True, 'median true-class probability'),
    ]
    if not any(row['mean_tcp'] is not None for row in rows):
        columns = [column for column in columns if not column.key.endswith('tcp')]
    section.add_table(Table('classes', 'Classification report, in percent.', columns, [*rows, average]))


def _percent(value: float | None, _: Row) -> str:
    return f'{value * 100:.1f}' if words.is_number(value) else words.DASH


def _add_confusions(section: Section, view: View, confusion: Confusion) -> None:
    is_wrong = confusion.label != confusion.predicted
    label, predicted, count = (cells[is_wrong] for cells in (confusion.label, confusion.predicted, confusion.count))
    order = np.lexsort((-count, label))
    starts = np.searchsorted(label[order], np.arange(confusion.num_classes + 1))
    rows = []
    for c, name in enumerate(view.class_names):
        cells = order[starts[c] : starts[c + 1]]
        row: dict[str, Any] = {'class': name, 'errors': int(count[cells].sum())}
        for rank, cell in enumerate(cells[:TOP], start=1):
            row[f'confusion_{rank}'] = view.class_names[predicted[cell]]
            row[f'count_{rank}'] = int(count[cell])
        rows.append(row)
    columns = [Column('class', 'true class'), Column('errors', 'errors', lambda v, _: words.number(v), True)]
    columns += [Column(f'confusion_{rank}', f'{rank}.', _confusion_cell(rank)) for rank in range(1, TOP + 1)]
    caption = 'The classes that each class is most often confused with, and how many times.'
    section.heading('Top five confusions of each class')
    section.add_table(Table('confusions', caption, columns, rows, [f'count_{rank}' for rank in range(1, TOP + 1)]))


def _confusion_cell(rank: int) -> Callable[[Any, Row], h.Node]:
    def show(value: str | None, row: Row) -> h.Node:
        return [value, ' ', h.small('.inline')[f'\u00d7{words.number(row[f"count_{rank}"])}']] if value else None

    return show
