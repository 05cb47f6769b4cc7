"""What an alarm means, and what to do about it, in words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from failpred_jax.monitor.alarms import Armed
from failpred_jax.monitor.lookalikes import lookalikes
from failpred_jax.monitor.monitor import Monitor, Raised
from failpred_jax.monitor.options import ACCEPTED, ESTIMATED, RANKS, REALIZED

REMEDY = {
    ESTIMATED: (
        'look at the examples, label a few units (--mode=label), and hand more of them to people until a policy is '
        'certified on units of today'
    ),
    RANKS: (
        'look at what moved; if the estimated accuracy holds, the inputs or their mix have changed and not how well '
        'they are predicted'
    ),
    REALIZED: 'train or certify anew on units of today; until then hand more of them to people',
    ACCEPTED: 'stop accepting by this policy, and certify a new one on units of today (--mode=decide)',
}


def counted(number: int, what: str) -> str:
    """Return '1 row', '2 rows', '1,000 rows'."""
    return f'{number:,} {what}{"" if number == 1 else "s"}'


def of_alarm(alarm: Armed, found: Raised, unit: str = 'unit') -> str:
    """Return what an alarm that went off says: the reason, since when, and what to do."""
    limit, bound = f'{100 * alarm.limit:.3g} %', f'{100 * alarm.bound:.3g} %'
    promised = f'of all {unit}s are accepted and wrong' if alarm.among_all else 'of what it accepts is wrong'
    # Of a mean over draws, the policy's own units say what holds for them.
    says = 'the policy promises that' if np.isnan(alarm.bound) else "by the policy's calibration units"
    reason = {
        ESTIMATED: (
            f'by the calibrated confidences, more than {limit} of the {unit}s are wrong (the reference: at most '
            f'{bound}); no label was needed'
        ),
        RANKS: (
            'the confidences are no longer distributed as before: they are '
            f'{found.direction or "other"} than those of the reference and of the stream so far'
        ),
        REALIZED: f'more than {limit} of the {unit}s with labels are wrong (the reference: at most {bound})',
        ACCEPTED: f'{says} at most {limit} {promised}, and the labels say that it is more',
    }[alarm.name]
    where = f'{alarm.name}, at {unit} {found.unit:,} (window {found.window:,})'
    return f'{where}: {reason}. What to do: {REMEDY[alarm.name]}.'


def promise(monitor: Monitor) -> str:
    """Return what is promised of false alarms."""
    options, names = monitor.options, ' and '.join(a.name for a in monitor.armed)
    held = f'{len(monitor.armed)} alarms are' if len(monitor.armed) > 1 else f'{names} is'
    if not options.run_length:
        return (
            f'{held} armed. While nothing is over its limit, the probability that any ever goes off is at most '
            f'{100 * options.alpha:.3g} %, however long the stream is and however often one looks.'
        )
    return (
        f'{held} armed. While nothing is over its limit, at least {options.run_length:,} units pass on average '
        f'before one '
        f'goes off (if the bounds of the reference hold, which fails with a probability of at most '
        f'{100 * sum(a.alpha_source for a in monitor.armed):.3g} %).'
    )


def summary(monitor: Monitor, num_new: int) -> list[str]:
    """Return what is said of a monitor on the terminal after `num_new` windows were completed."""
    row = monitor.latest
    lines = [
        f'monitor: {counted(monitor.num_units, "unit")} in {counted(monitor.num_windows, "window")} of '
        f'{monitor.options.window:,} ({num_new:,} new); {monitor.num_waiting:,} '
        f'{"waits" if monitor.num_waiting == 1 else "wait"} for the next'
    ]
    if monitor.num_left_out:
        are = 'is' if monitor.num_left_out == 1 else 'are'
        lines.append(f'  {counted(monitor.num_left_out, "row")} had no confidence and {are} left out')
    if monitor.is_mostly_outside:
        ends = monitor.reference.confidence.min(), monitor.reference.confidence.max()
        lines.append(
            f'  note: most confidences ({monitor.num_outside:,}) are outside the range of the reference, '
            f'{ends[0]:.4g} to {ends[1]:.4g}: are they of the same score, on the same scale?'
        )
    if row:
        shares = ', '.join(f'{action} {100 * row[f"share_{action}"]:.3g} %' for action in monitor.actions)
        lines.append(f'  the latest window: {_accuracy(row)}; {shares}')
    lines += [f'  {line}' for line in (*_again(monitor), *_unlabeled(monitor))]
    for name, reason in monitor.off.items():
        lines.append(f'  alarm {name} is not armed: {reason}')
    if monitor.policy.content.get('not_valid'):
        lines.append(
            f'  the policy is marked: {monitor.policy.content["not_valid"]}; so are the bounds of the reference'
        )
    return [*lines, f'  {promise(monitor)}']


def of_rows(num_rows: int, num_repeated: int) -> str:
    """Return what is said of the rows of a call: how many are new, and how many were counted before; or ''."""
    if not num_repeated:
        return '' if num_rows else '0 new units: the stream has no rows'
    was = 'was' if num_repeated == 1 else 'were'
    if not num_rows:
        these = 'this row' if num_repeated == 1 else f'these {num_repeated:,} rows'
        return f'nothing new: {these} {was} counted in an earlier call'
    is_new = 'is' if num_rows == 1 else 'are'
    return f'{counted(num_repeated, "row")} {was} counted in an earlier call, {counted(num_rows, "row")} {is_new} new'


def _again(monitor: Monitor) -> Iterator[str]:
    """Yield what is said of rows whose id and confidence came before."""
    if monitor.num_again:
        about = round(monitor.num_again / monitor.share_seen)
        many = counted(about, 'row') if monitor.share_seen == 1 else f'about {counted(about, "row")}'
        yield (
            f'note: {many} of this call had an id and a confidence that were counted in an earlier call. Units that '
            'come again are counted again: give each once, or begin a new --state without those that came twice'
        )
    if monitor.num_twice:
        yield (
            f'note: in this call, at least {counted(monitor.num_twice, "row")} had the id and the confidence of a row '
            'before it. Each is counted: give each unit once'
        )


def _unlabeled(monitor: Monitor) -> Iterator[str]:
    """Yield which alarms go by labels that have not come so far."""
    if monitor.num_labeled is None or not monitor.num_windows:
        return
    num_labeled, num_accepted = monitor.num_labeled
    among_all = {alarm.name: alarm.among_all for alarm in monitor.armed}
    lacking = [name for name in (REALIZED, ACCEPTED) if name in among_all]
    if not num_labeled and lacking:
        goes = 'goes' if len(lacking) == 1 else 'go'
        yield (
            f'note: {" and ".join(lacking)} {goes} by labels, and of {counted(monitor.num_units, "unit")} none has had '
            'one so far: no drop of accuracy can set them off'
        )
    elif ACCEPTED in lacking and not num_accepted and not among_all[ACCEPTED]:
        yield f'note: {ACCEPTED} goes by labels of what the policy accepts, and none of that has had one so far'


def of_late(num_late: int) -> str:
    """Return what is said of labels that came after their rows were counted."""
    if not num_late:
        return ''
    these = 'this one is' if num_late == 1 else 'these are'
    return (
        f'{counted(num_late, "label")} came after the row was counted; {these} ignored, since a row is counted once. '
        'Labels that come late need a stream, and a --state, of their own: give the labeled rows there'
    )


def of_columns(columns: Iterable[str]) -> str:
    """Return what is said of columns that are not read and look as if they were meant to be; or ''."""
    found = [f"'{name}' to '{meant}'" for name, meant in lookalikes(columns).items()]
    return f'note: not read; perhaps rename {", ".join(found[:6])}' if found else ''


def of_groups(unknown: Sequence[str], by: str) -> str:
    """Return what is said of groups that the policy has no threshold for; or ''."""
    if not unknown:
        return ''
    shown = ', '.join(f"'{name}'" for name in unknown[:6]) + (', ...' if len(unknown) > 6 else '')
    return (
        f"note: '{by}' holds groups that the policy has no threshold for ({shown}): nothing "
        'of these is accepted. New groups need a policy of their own (--mode=decide)'
    )


def of_left(line: str, stream: str) -> str:
    """Return what is said of a last line that does not end with a newline."""
    shown = line if len(line) <= 60 else f'{line[:60]}...'
    return (
        f"the last line of '{stream}', '{shown}', does not end with a newline and may still be being written: it is "
        f"left for the next call. If it is whole, end it: echo >> '{stream}'"
    )


def _accuracy(row: Mapping[str, Any]) -> str:
    method, said = 'atc', 'estimated accuracy (ATC)'
    if row['accuracy_difference'] != '':
        method, said = 'difference', 'estimated accuracy'
    low, high = (100 * row[f'accuracy_{method}_{end}'] for end in ('low', 'high'))
    found = f'{said} {100 * row[f"accuracy_{method}"]:.3g} % ({low:.3g} to {high:.3g})'
    if row['labeled']:
        found += f', {counted(row["labeled"], "label")}: {100 * row["labeled_accuracy"]:.3g} %'
    return found
