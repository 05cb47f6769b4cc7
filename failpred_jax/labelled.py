"""What to label next, and what the labels of an audit say: from a pool to a folder in the WORKDIR, and back."""

import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from failpred_jax.console import say
from failpred_jax.errors import UserError, numbered
from failpred_jax.label.estimate import Estimate, estimate_mean
from failpred_jax.label.pool import Pool
from failpred_jax.label.returned import OtherAuditError, matched, share_labeled
from failpred_jax.label.sheet import make_sheet
from failpred_jax.label.strategy import Picked, choose
from failpred_jax.pools import Source
from failpred_jax.readers.reading import read_file
from failpred_jax.registry import STRATEGIES
from failpred_jax.results.labelled import (
    FOLDER,
    MOST_SHOWN,
    TABLES,
    Labelled,
    Rate,
    designs,
    read_labelled,
    write_labelled,
)
from failpred_jax.results.measures import Interval

# A gallery is looked at, so it need not be large.
_GALLERY_BYTES = 2**26


class Asked(NamedTuple):
    """What is asked for: strategy, budget, score ('' for the learned one) and seed."""

    strategy: str
    budget: int
    score: str = ''
    seed: int = 0


def reads_features(strategy: str) -> bool:
    """Return whether features are of use: a strategy needs them, or leaves near-duplicates out by them."""
    return STRATEGIES[strategy].name != 'audit'


def select(source: Source, asked: Asked, workdir: Path) -> Path:
    """Choose what to label next, write it into a new folder of WORKDIR/labelling, and return that.

    Raises:
      UserError: the strategy cannot be had for this pool, or the budget is none; nothing was written then.
    """
    pool = source.pool
    picked = choose(pool, asked.strategy, asked.budget, asked.score, asked.seed)
    shown = _shown_confidence(source, picked.score, asked.score)
    names = pool.predicted_names
    rows = [
        {
            'id': pool.ids[row],
            'row': int(row),
            'prediction': names[row],
            'confidence': float(shown[row]) if shown is not None else np.nan,
            'probability': float(picked.probability[rank]),
            'rank': rank + 1,
            'reason': picked.reasons[rank],
            'label': '',
        }
        for rank, row in enumerate(picked.rows.tolist())
    ]
    images = gallery_of(source.images, picked.rows[:MOST_SHOWN])
    captions = [
        [f'{row["rank"]}: {row["id"]}', f'predicted {row["prediction"]}']
        for row in rows[: 0 if images is None else len(images)]
    ]
    design = _design(pool, picked)
    unweighted = (
        f'no sampling probability: labels chosen like this are biased towards {STRATEGIES[asked.strategy].favors}, so '
        'no rate is estimated from them',
    )
    found = Labelled(
        kind='selection',
        name=asked.strategy,
        strategy=asked.strategy,
        pool=pool.digest,
        units=len(pool),
        budget=asked.budget,
        seed=asked.seed,
        score=picked.score,
        made=now(),
        source=source.where,
        notes=(*pool.notes, *picked.notes, *(() if design is not None else unweighted)),
        images=images,
    )
    sheet = None if images is None else make_sheet(images, captions)
    place = write_labelled(found, rows, workdir / FOLDER, design, sheet)
    say(f'{len(rows):,} of {len(pool):,} units by {asked.strategy}: {place / TABLES["selection"]}')
    for note in found.notes:
        say(f'  note: {note}')
    if sheet is not None:
        say(f'  their images: {place / "sheet.png"}')
    return place


def _design(pool: Pool, picked: Picked) -> dict[str, np.ndarray] | None:
    """Return what an estimate will need of the pool when labels come back; None where the choice allows for none."""
    if picked.inclusion is None or picked.estimates is None:
        return None
    design = {
        'id': pool.ids.astype(str), 'row': picked.rows, 'p_correct': picked.estimates, 'inclusion': picked.inclusion,
        'predicted_name': pool.predicted_names,
    }  # fmt: skip
    if pool.predicted is not None and pool.predicted.dtype.kind in 'iu':
        design |= {'predicted': pool.predicted, 'class_names': np.array(pool.class_names, str)}
    if pool.accepted is not None:
        design['accepted'] = pool.accepted
    return design


def _shown_confidence(source: Source, score: str, asked: str) -> np.ndarray | None:
    pool = source.pool
    if score.startswith('calibrated ') or (score and score not in pool.confidences):
        return pool.probability_correct(asked)[0] if score.startswith('calibrated ') else pool.confidence('')[0]
    return np.asarray(pool.confidences[score]) if score else None


def gallery_of(read: Callable[[np.ndarray], np.ndarray] | None, rows: np.ndarray) -> np.ndarray | None:
    """Return the images of the first of some rows, as many as are looked at; None where there are none."""
    if read is None or not len(rows):
        return None
    first = read(rows[:1])
    count = max(1, min(len(rows), _GALLERY_BYTES // max(first.nbytes, 1)))
    return np.concatenate([first, read(rows[1:count])]) if count > 1 else first


def now() -> str:
    """Return date and time, to the microsecond, so that what was made later comes later."""
    return datetime.datetime.now(datetime.UTC).isoformat()


def estimate(returned: Path, workdir: Path) -> Path:
    """Estimate error rates from the labels of an audit that came back; return the folder in which they are.

    Args:
      returned: a table with `label` (a class, by name or number) or `correct`, and `id`, or `row` as in to_label.csv.
      workdir: in whose folder `labelling` the audit was drawn.

    Raises:
      UserError: the labels are not those of an audit of this WORKDIR, contradict one another, or are no classes;
        nothing was written then.
    """
    drawn = list(designs(workdir / FOLDER))
    if not drawn:
        there = ', '.join(one.name for one in read_labelled(workdir / FOLDER)) or 'nothing'
        raise UserError(
            f"'{workdir / FOLDER}' holds no audit whose labels could come back (it holds {there}); draw one with "
            '--mode=label --strategy=audit'
        )
    table = read_file(returned)
    problems, nearly, seen = [], [], []
    for asked, design in drawn:
        if any(np.array_equal(design['row'], rows) and asked.pool == pool for pool, rows in seen):
            # Drawn twice, with one seed: the same audit.
            continue
        seen.append((asked.pool, design['row']))
        try:
            places, wrong, notes = matched(table, design, str(returned))
        except OtherAuditError as error:
            problems.append(f"  - '{asked.name}': {error}")
            if error.share >= 0.5:
                nearly.append((error.share, asked.name, str(error)))
            continue
        return _estimated(asked, design, places, wrong, notes, workdir)
    if nearly:
        _, name, why = max(nearly, key=lambda one: one[0])
        raise UserError(
            f"'{returned}' is not only of the audit '{name}' in '{workdir / FOLDER}': {why}; correct such rows, or "
            'take them out: units that chance did not draw bias the estimate'
        )
    raise UserError('\n'.join([f"'{returned}' holds no labels of an audit in '{workdir / FOLDER}':", *problems]))


def _estimated(
    asked: Labelled,
    design: Mapping[str, np.ndarray],
    ranks: np.ndarray,
    wrong: np.ndarray,
    notes: Sequence[str],
    workdir: Path,
) -> Path:
    """Write what the labels say, and return the folder."""
    share, more = share_labeled(ranks, len(design['row']), design)
    rows, inclusion = design['row'][ranks], design['inclusion'] * share
    p_correct = design['p_correct']
    rates = [_rate('all predictions', estimate_mean(wrong, rows, p_correct, inclusion))]
    if 'accepted' in design and design['accepted'].any():
        accepted = design['accepted'].astype(bool)
        rates.append(_rate('accepted predictions', estimate_mean(wrong, rows, p_correct, inclusion, accepted)))
    table: list[dict[str, Any]] = [
        {
            'of': rate.of, 'error_rate': rate.value, 'low': rate.interval.low, 'high': rate.interval.high,
            'labels': rate.labels, 'errors': rate.errors, 'units': rate.units, 'uniform_width': rate.uniform_width,
            'slope': rate.slope,
        }
        for rate in rates
    ]  # fmt: skip
    found = Labelled(
        kind='audit',
        name=f'{asked.name}-returned',
        strategy=asked.strategy,
        pool=asked.pool,
        units=asked.units,
        budget=asked.budget,
        seed=asked.seed,
        score=asked.score,
        made=now(),
        source=asked.source,
        rates=tuple(rates),
        notes=(*notes, *more),
    )
    place = write_labelled(found, table, workdir / FOLDER)
    for rate in rates:
        low, high = rate.interval
        say(
            f'error rate of {rate.of}: {rate.value:.2%} ({low:.2%} to {high:.2%} at 95 %), of '
            f'{numbered(rate.units, "unit")} from {numbered(rate.labels, "label")}; a uniform sample of as many would '
            f'leave {100 * rate.uniform_width:.2g} points instead of {100 * (high - low):.2g}'
        )
    for note in found.notes:
        say(f'  note: {note}')
    say(f'estimates: {place / TABLES["audit"]}')
    return place


def _rate(of: str, found: Estimate) -> Rate:
    return Rate(
        of, found.value, Interval(found.low, found.high), found.labels, found.errors, found.units, found.uniform_width,
        found.slope,
    )  # fmt: skip
