"""Two scores as one, fitted to a stream without labels: what --mode=combine --stream=FILE does.

The labeled units are validation units, of a file of predictions (val_...) or of a finished run; the stream is another
file, such as --mode=predict writes of new images. What is written is

  NAME.npz         the labeled units with confidence_two_scores_stream in every part, which --mode=decide certifies
  NAME.json        the line and a threshold, which `apply.combine` reads
  NAME.stream.csv  the stream: id, the two scores, the one, and whether it is accepted
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from failpred_jax import __version__, apply, processes
from failpred_jax.calibrate.selective import threshold_at_coverage
from failpred_jax.combined import PREFIXES, check_output, outcome
from failpred_jax.console import say
from failpred_jax.errors import ScoreUnavailableError, UserError, nearest
from failpred_jax.files import whole_file, write_json, write_npz
from failpred_jax.metrics.weighted import values_of_units
from failpred_jax.outcomes import is_correct
from failpred_jax.prediction_file import Units, parse_arrays, read_parts
from failpred_jax.prediction_file.part import CONFIDENCE
from failpred_jax.prediction_file.unlabeled import read_unlabeled
from failpred_jax.results import Predictions, read_evaluation
from failpred_jax.scores.logits import mcp
from failpred_jax.scores.score import ScoreInputs
from failpred_jax.scores.two_scores import TwoScores, fit_two_scores

SCORE = 'two_scores_stream'
# Of a stream: with fewer, P(a right labeled unit ranks above one of the stream) is uncertain by 0.1 and more.
MIN_UNITS = 30


class Labeled(NamedTuple):
    """Labeled units.

    Attributes:
      parts: 'evaluated', 'validation', 'calibration' -> name of a score -> [N].
      right: of each part, [N] bool.
      arrays: what is written again, by its name in a file of predictions.
    """

    parts: Mapping[str, Mapping[str, np.ndarray]]
    right: Mapping[str, np.ndarray]
    arrays: Mapping[str, np.ndarray]


def fit_to_stream(
    labeled: Path, scores: Sequence[str], stream: Path, output: Path, coverage: float, right_at: float | None = None
) -> None:
    """Fit two scores to a stream, and write what the module says.

    Args:
      labeled: a file of predictions in any format of readers/, or the WORKDIR of a finished run.
      scores: the names of the one that ranks errors, and of the one that tells strangers.
      stream: a file of units without labels that has both.
      output: an .npz, which must not be there yet.
      coverage: accepted is what lies over the threshold that accepts this share of the validation units.
      right_at: grades of at least this are right.

    Raises:
      UserError: something given is wrong; nothing was written then.
    """
    if processes.is_one_of_several():
        raise UserError('--mode=combine is for one process; start it without a job')
    table = output.with_suffix('.stream.csv')
    check_output(output, output.with_suffix('.json'), table)
    names = _checked(scores)
    given = _of_run(labeled) if labeled.is_dir() and (labeled / 'config.json').exists() else _of_file(labeled, right_at)
    if 'validation' not in given.parts:
        raise UserError(
            f"two scores are fitted on validation units, and '{labeled}' has none: of a file, add them as val_... "
            f'(val_labels or val_correct, val_{CONFIDENCE}{names[0]}, ...)'
        )
    columns = {part: _pair(of, names, f'the {part} part') for part, of in given.parts.items()}
    ids, met = _met(stream, names)
    try:
        fitted, notes = fit_two_scores(*columns['validation'], given.right['validation'], met)
    except ScoreUnavailableError as error:
        raise UserError(f'two scores cannot be fitted here: {error}') from error
    content = _content(fitted, names, notes)
    # What is certified is what will be applied, to the last bit.
    confidence = {
        part: apply.combine(content, SCORE, dict(zip(names, pair, strict=True)))
        for part, pair in {**columns, 'stream': met}.items()
    }
    threshold = threshold_at_coverage(confidence['validation'], coverage)
    accepted = confidence['stream'] > threshold
    content |= {'threshold': threshold, 'coverage': coverage, 'accepted': float(accepted.mean())}
    of_parts = {f'{PREFIXES[part]}{CONFIDENCE}{SCORE}': confidence[part] for part in columns}
    if clash := [name for name in of_parts if name in given.arrays]:
        raise UserError(f"'{labeled}' has a '{clash[0]}' of its own; rename it, since what is written has that name")
    write_npz(output, {**given.arrays, **of_parts})
    write_json(output.with_suffix('.json'), content)
    _write_table(table, ids, {**dict(zip(names, met, strict=True)), SCORE: confidence['stream']}, accepted)
    lines = [*notes, *_ranks(names, columns['validation'], met, confidence, given.right['validation'])]
    lines += [_accepts(accepted, confidence['validation'] > threshold, given.right['validation'], coverage)]
    lines += _shared(columns, met)
    say('\n'.join(lines))
    say(f'{table}: the stream, accepted or not; {output.stem}.json: what apply.combine reads')
    say(f'{output}: the labeled units with {CONFIDENCE}{SCORE}; to certify a threshold on cal_... of them:')
    say(f'--mode=decide --predictions={output} --score={SCORE}')


def _checked(scores: Sequence[str]) -> list[str]:
    names = [name.removeprefix(CONFIDENCE) for name in scores]
    if len(names) != 2 or names[0] == names[1]:
        raise UserError(
            f"--components is '{','.join(scores)}'; with --stream name two scores, the one that ranks errors first and "
            'the one that tells strangers second, such as mcp,knn_distance'
        )
    return names


def _of_file(path: Path, right_at: float | None) -> Labeled:
    arrays = read_parts(path)
    found = parse_arrays(arrays, f"'{path}'", right_at=right_at)
    if any(units.is_segmentation for units in found.values()) or any(f'{p}mask' in arrays for p in PREFIXES.values()):
        raise UserError('--mode=combine is for units that all count: leave out pixels and masked units first')
    parts = {part: _with_mcp(found[part]) for part in PREFIXES if part in found and part != 'training'}
    right = {part: outcome(found[part]) for part in parts}
    return Labeled(parts, right, {name: np.asarray(array) for name, array in arrays.items()})


def _of_run(workdir: Path) -> Labeled:
    evaluation = read_evaluation(workdir / 'evaluation')
    if evaluation.seeds:
        raise UserError(f"the WORKDIR '{workdir}' holds a run of several seeds; name the folder of one: DIR/seed_K")
    if evaluation.run.dataset.task != 'classification':
        raise UserError(f"'{workdir}' is a segmenter's run; two scores are fitted to units that err independently")
    known: dict[str, Predictions | None] = {
        'evaluated': evaluation.test, 'validation': evaluation.validation, 'calibration': evaluation.calibration,
    }  # fmt: skip
    kept = {part: found for part, found in known.items() if found is not None}
    arrays = {}
    for part, found in kept.items():
        arrays |= {f'{PREFIXES[part]}labels': found.labels, f'{PREFIXES[part]}logits': found.logits}
        arrays |= {f'{PREFIXES[part]}{CONFIDENCE}{name}': values for name, values in found.confidences.items()}
    right = {part: np.asarray(is_correct(found.logits, found.labels)) for part, found in kept.items()}
    return Labeled({part: found.confidences for part, found in kept.items()}, right, arrays)


def _with_mcp(units: Units) -> dict[str, np.ndarray]:
    """Return the scores of units, the maximum class probability among them where there are outputs."""
    own = {} if units.logits is None else {'mcp': np.asarray(mcp(ScoreInputs(units.logits, probabilities=units.probs)))}
    return own | dict(units.confidences)


def _met(stream: Path, names: Sequence[str]) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return the ids and the two scores of a stream."""
    units, parts, _ = read_unlabeled(stream, may_have_labels=False)
    if parts:
        raise UserError(f"--stream is '{stream}', which has parts ({', '.join(parts)}); a stream is of one part")
    pair = _pair(_with_mcp(units), names, f"the stream '{stream}'")
    if len(pair[0]) < MIN_UNITS:
        raise UserError(f"the stream '{stream}' has {len(pair[0])} units; two scores are fitted to {MIN_UNITS} or more")
    assert units.ids is not None
    return units.ids, pair


def _pair(scores: Mapping[str, np.ndarray], names: Sequence[str], whose: str) -> tuple[np.ndarray, np.ndarray]:
    for name in names:
        if name not in scores:
            raise UserError(
                f"{whose} has no '{CONFIDENCE}{name}'{nearest(name, scores)} (scores there: "
                f'{", ".join(scores) or "none"}); --mode=predict --scores=all writes all of a run'
            )
    first, second = (np.asarray(scores[name]) for name in names)
    return first, second


def _content(fitted: TwoScores, names: Sequence[str], notes: Sequence[str]) -> dict[str, Any]:
    """Return what `apply.combine` reads."""
    axes = [{key: float(value) for key, value in axis._asdict().items()} for axis in fitted]
    assumes = "the stream's own units are like the labeled ones; what else comes is strange"
    return {
        'format': apply.COMBINATION,
        'made_by': f'failpred_jax {__version__}',
        'components': [{'name': name, **axis} for name, axis in zip(names, axes, strict=True)],
        'rules': {SCORE: {'assumes': assumes}},
        'angle': fitted.angle,
        'notes': list(notes),
    }


def _ranks(
    names: Sequence[str],
    own: tuple[np.ndarray, np.ndarray],
    met: tuple[np.ndarray, np.ndarray],
    confidence: Mapping[str, np.ndarray],
    right: np.ndarray,
) -> list[str]:
    """Return how often a right validation unit ranks above one of the stream, by each score alone and by both."""
    pairs = {name: (own[at], met[at]) for at, name in enumerate(names)}
    pairs[SCORE] = confidence['validation'], confidence['stream']
    width = max(map(len, pairs))
    lines = ['a right validation unit ranks above a unit of the stream, which the angle makes the most of:']
    for name, (labeled, others) in pairs.items():
        is_own = np.arange(right.sum() + len(others)) < right.sum()
        found = values_of_units(np.concatenate([labeled[right], others]).astype(np.float64), is_own)['auroc']
        lines.append(f'  {name:<{width}}  {found:.2%}')
        if found < 0.5:
            lines.append(f'  note: {name} ranks the stream higher; if it is large for strangers, give it with a minus')
    return lines


def _accepts(accepted: np.ndarray, own: np.ndarray, right: np.ndarray, coverage: float) -> str:
    errors = float(np.mean(~right[own])) if own.any() else np.nan
    return (
        f'over the threshold that accepts {coverage:.0%} of the validation units: {accepted.mean():.1%} of the stream '
        f'({accepted.sum():,} of {len(accepted):,}); of the accepted validation units {errors:.2%} are wrong, of all '
        f'{np.mean(~right):.2%}'
    )


def _shared(columns: Mapping[str, tuple[np.ndarray, np.ndarray]], met: tuple[np.ndarray, np.ndarray]) -> list[str]:
    """Return what is to be said of units of the stream that stand among the labeled ones as well."""
    seen = set(zip(*(values.tolist() for values in met), strict=True))
    lines = []
    for part, pair in columns.items():
        keys = list(zip(*(values.tolist() for values in pair), strict=True))
        count = sum(key in seen for key in keys)
        # Where units of one part share values, as rounded scores do, equal values are no proof.
        if count > 0.01 * len(keys) and len(set(keys)) > 0.99 * len(keys):
            lines.append(
                f'note: {count:,} of {len(keys):,} {part} units have both scores of a unit of the stream; units '
                'that certify or judge must not be in it'
            )
    return lines


def _write_table(path: Path, ids: np.ndarray, scores: Mapping[str, np.ndarray], accepted: np.ndarray) -> None:
    import pyarrow as pa
    from pyarrow import csv

    columns = {'id': ids, **{f'{CONFIDENCE}{name}': values for name, values in scores.items()}, 'accepted': accepted}
    with whole_file(path) as file:
        csv.write_csv(pa.table(columns), file)
