"""A file of several components' confidences into one with those of the whole: what --mode=combine does.

The file has confidence_<component> of each, `correct` (or labels and outputs) of the whole, perhaps
correct_<component>, and the same with val_ in front, of held-out units that the rules are fitted on. What is written is
the same file with confidence_<rule> in every part, which --mode=decide certifies, and NAME.json, which
`apply.combine` reads.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax import __version__, apply, processes
from failpred_jax.calibrate.folds import draw_folds
from failpred_jax.console import phase, say
from failpred_jax.decide.choices import aurc
from failpred_jax.decide.combining import ASSUMES, Combination, Compared, combine_components, compare_combinations
from failpred_jax.errors import UserError, nearest
from failpred_jax.files import write_json, write_npz
from failpred_jax.prediction_file import Units, parse_arrays, read_parts
from failpred_jax.prediction_file.part import CONFIDENCE

PREFIXES = {'evaluated': '', 'validation': 'val_', 'calibration': 'cal_', 'training': 'train_'}
CORRECT = 'correct_'
NUM_FOLDS = 5
# Resampling sorts every rule's confidences anew.
_MOST_SORTED = 200_000_000


def combine_file(
    predictions: Path, components: Sequence[str], rules: Sequence[str], output: Path, right_at: float | None = None
) -> None:
    """Combine the components of a file, compare the rules on its evaluated units, and write both; see the module.

    Args:
      predictions: the file, in any format of readers/.
      components: names of scores of the file.
      rules: names, of `decide.combining.ASSUMES`.
      output: an .npz, which must not be there yet.
      right_at: grades of at least this are right.

    Raises:
      UserError: something given is wrong; nothing was written then.
    """
    if processes.is_one_of_several():
        raise UserError('--mode=combine is for one process; start it without a job')
    check_output(output, output.with_suffix('.json'))
    for rule in rules:
        if rule not in ASSUMES:
            raise UserError(f"--rules names '{rule}'{nearest(rule, ASSUMES)} (allowed: {', '.join(ASSUMES)})")
    arrays = read_parts(predictions)
    given = parse_arrays(arrays, f"'{predictions}'", right_at=right_at)
    names = _check(given, components, arrays)
    validation = given['validation']
    right, whole = _right(validation, names)
    with phase('fitting the rules'):
        fitted = _fit(rules, validation, names, right, whole)
        held_out = _cross_fitted(rules, validation, names, right, whole)
    content = _content(fitted, names, isinstance(right, dict))
    # What is certified is what will be applied, to the last bit.
    combined = {
        part: held_out
        if part == 'validation'
        else {rule: apply.combine(content, rule, _of(units, names)) for rule in fitted}
        for part, units in given.items()
    }
    added = {f'{PREFIXES[p]}{CONFIDENCE}{rule}': values for p, of in combined.items() for rule, values in of.items()}
    rows = _compare(given['evaluated'], names, combined['evaluated'], validation, whole)
    write_npz(output, {**{name: np.asarray(array) for name, array in arrays.items()}, **added})
    write_json(output.with_suffix('.json'), {**content, 'compared': [vars(row) for row in rows]})
    say('\n'.join(_lines(rows, names, isinstance(right, dict))))
    say(f'{output}: the file with {", ".join(f"{CONFIDENCE}{rule}" for rule in rules)}; certify one that was named')
    say(f'beforehand with --mode=decide --predictions={output} --score=RULE; apply.combine reads {output.stem}.json')


def check_output(output: Path, *others: Path) -> None:
    """Raise a UserError for an output that cannot be written, or that is there already; `others` go beside it."""
    if output.suffix.lower() != '.npz':
        raise UserError(f"--output is '{output}'; name a file that ends with .npz")
    for file in (output, *others):
        if file.exists():
            raise UserError(f"--output is '{output}', but '{file}' is there already; name another, or remove it")
    if not output.parent.is_dir():
        raise UserError(f"--output is '{output}', but there is no folder '{output.parent}'; make it first")


def _check(given: Mapping[str, Units], components: Sequence[str], arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Return the components' names; raise a UserError for a file that cannot be combined."""
    names = [name.removeprefix(CONFIDENCE) for name in components]
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f'--components is {",".join(components)!r}; name two or more, each once')
    if 'validation' not in given:
        raise UserError(
            'the rules are fitted on held-out units, and the file has none: add them as val_... (val_correct, '
            f'val_{CONFIDENCE}{names[0]}, ...)'
        )
    for part, units in given.items():
        for name in names:
            if name not in units.confidences:
                there = ', '.join(units.confidences) or 'none'
                raise UserError(
                    f"there is no '{PREFIXES[part]}{CONFIDENCE}{name}'{nearest(name, units.confidences)} (scores of "
                    f'the {part} part: {there})'
                )
        if units.is_segmentation or f'{PREFIXES[part]}mask' in arrays:
            raise UserError('--mode=combine is for units that all count: leave out pixels and masked units first')
    if clash := [rule for rule in ASSUMES if f'{CONFIDENCE}{rule}' in arrays]:
        raise UserError(f"the file has a '{CONFIDENCE}{clash[0]}' of its own; rename it, since a rule has that name")
    return names


def outcome(units: Units) -> np.ndarray:
    """Return which units are right: [N] bool.

    Raises:
      UserError: they have grades.
    """
    if units.correct is not None:
        if units.correct.dtype != bool:
            raise UserError('correct holds grades; say from which grade on a prediction is right, --right_at=GRADE')
        return units.correct
    assert units.labels is not None and units.logits is not None
    return np.argmax(units.logits, axis=1) == units.labels


def _right(units: Units, names: Sequence[str]) -> tuple[dict[str, np.ndarray] | np.ndarray, np.ndarray]:
    """Return whether each component is right, where the file says so, else whether the whole is; and the latter."""
    whole = outcome(units)
    own = {name: units.slices[CORRECT + name] for name in names if CORRECT + name in units.slices}
    if own and len(own) < len(names):
        lacking = [f'val_{CORRECT}{name}' for name in names if name not in own]
        raise UserError(f'the file says of some components whether they are right, but lacks {", ".join(lacking)}')
    return (own or whole), whole


def _of(units: Units, names: Sequence[str], rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
    return {name: units.confidences[name] if rows is None else units.confidences[name][rows] for name in names}


def _fit(
    rules: Sequence[str], units: Units, names: Sequence[str], right: Any, whole: np.ndarray, rows: Any = None
) -> dict[str, Combination]:
    """Return the rules, whose calibrators are the same."""
    rows = np.arange(len(whole)) if rows is None else rows
    of = {name: column[rows] for name, column in right.items()} if isinstance(right, dict) else right[rows]
    found: dict[str, Combination] = {}
    for rule in rules:
        known = next(iter(found.values())).calibrators if found else None
        found[rule] = combine_components(rule, _of(units, names, rows), of, whole[rows], known)
    return found


def _cross_fitted(
    rules: Sequence[str], units: Units, names: Sequence[str], right: Any, whole: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the rules' values of the units that they are fitted on, each by a fit that has not seen the unit."""
    folds, found = draw_folds(whole, NUM_FOLDS, 0), {rule: np.empty(len(whole)) for rule in rules}
    for fold in np.unique(folds):
        out = np.flatnonzero(folds == fold)
        try:
            fitted = _fit(rules, units, names, right, whole, np.flatnonzero(folds != fold))
        except UserError as error:
            raise UserError(f'the validation units are too few to fit on a part of them: {error}') from error
        for rule in rules:
            found[rule][out] = fitted[rule](_of(units, names, out))
    return found


def _compare(
    units: Units, names: Sequence[str], combined: Mapping[str, np.ndarray], validation: Units, whole: np.ndarray
) -> list[Compared]:
    """Return how well components and rules find the errors of the whole, next to the best component alone."""
    correct = outcome(units)
    alone = {name: aurc(validation.confidences[name], whole) for name in names}
    first = min(alone, key=lambda name: alone[name])
    columns = {name: units.confidences[name] for name in sorted(names, key=lambda name: name != first)}
    columns |= combined
    resamples = int(np.clip(_MOST_SORTED // (len(correct) * len(columns)), 20, 500))
    with phase('comparing on resampled units'):
        return compare_combinations(columns, correct, resamples, belongs=units.group)


def _content(fitted: Mapping[str, Combination], names: Sequence[str], are_own: bool) -> dict[str, Any]:
    """Return what `apply.combine` reads."""
    first = next(iter(fitted.values()))
    return {
        'format': apply.COMBINATION,
        'made_by': f'failpred_jax {__version__}',
        'components': [{'name': name, 'calibrator': first.calibrators[name].to_dict()} for name in names],
        'calibrated_to': 'each component being right' if are_own else 'the whole being right',
        'rules': {
            rule: {'assumes': made.assumes, 'weights': list(made.weights), 'intercept': made.intercept}
            for rule, made in fitted.items()
        },
    }


def _lines(rows: Sequence[Compared], names: Sequence[str], are_own: bool) -> list[str]:
    """Return the table, with what every rule assumes."""
    first = rows[0].rule
    lines = [
        f'AURC x1000 of the evaluated units, lower is better, with 95 % intervals; next to {first}, the best component '
        'alone on the validation units:'
    ]
    width = max(len(row.rule) for row in rows)
    for row in rows:
        found = [1000 * value for value in (row.aurc, row.low, row.high)]
        line = f'  {row.rule:<{width}}  {found[0]:.3f} ({found[1]:.3f} to {found[2]:.3f})'
        if row.rule != first:
            found = [1000 * value for value in (row.difference, row.difference_low, row.difference_high)]
            line += f'  {found[0]:+.3f} ({found[1]:+.3f} to {found[2]:+.3f})'
        lines.append(line + (f'  assumes: {row.assumes}' if row.assumes else ''))
    if not are_own:
        lines.append(
            '  note: each component is calibrated to the whole being right, as the file has no '
            f'{CORRECT}{names[0]}, ...: then product and noisy_or are no probabilities of the whole'
        )
    return lines
