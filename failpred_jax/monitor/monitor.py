"""A monitor: units go in, windows and alarms come out, and what it keeps does not grow with the stream."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from failpred_jax import apply
from failpred_jax.errors import UserError
from failpred_jax.monitor import ranks
from failpred_jax.monitor.alarms import Armed, arm, log_bets
from failpred_jax.monitor.columns import Rows, Signature, read_rows
from failpred_jax.monitor.counted import Taken, files_from_json
from failpred_jax.monitor.estimates import atc_level
from failpred_jax.monitor.examples import Examples, tenths
from failpred_jax.monitor.groups import OneOfEach
from failpred_jax.monitor.options import ACCEPTED, ESTIMATED, RANKS, REALIZED, Options
from failpred_jax.monitor.packing import rows_from_json, rows_to_json
from failpred_jax.monitor.reference import Reference, read_policy_and_reference
from failpred_jax.monitor.seen import Seen, hashes_of
from failpred_jax.monitor.wealth import Wealth, no_wealth
from failpred_jax.monitor.window import Window, measure


class Raised(NamedTuple):
    """An alarm that went off.

    Attributes:
      window: number of the window, from 1.
      unit: number of the unit at which the evidence sufficed, from 1 (of label alarms, the window's last).
      direction: of the ranks: 'lower' or 'higher' confidences than before; '' of others.
    """

    window: int
    unit: int
    direction: str = ''


class Monitor:
    """Watches a stream of units that a policy decides on; see docs/monitoring.md.

    Attributes:
      policy, reference, options: what it was made of.
      armed: the alarms that can go off.
      off: alarm -> why it is not armed.
      raised: alarm -> where it went off; it stays so.
      num_units: units in the windows that are complete.
      num_windows: windows that are complete.
      num_rows: rows taken so far: where a stream that was cut off goes on.
      num_left_out: rows without a confidence, of all.
      num_outside: of the rows that this object was given, those whose confidence is outside the reference's range; not
        kept in the state.
      num_labeled: units in the windows that had a label, and of those that the policy accepts; None where a state from
        before they were counted does not say.
      num_again: rows that this object was given whose id and confidence were counted before it was made, as far as
        `seen` knows; not kept in the state.
      num_twice: the same of rows that this object was given before; not kept in the state.
      seen: a sample of the units that were counted; see seen.py.
      files: what is known of the files that were counted; see counted.py.
      examples: a few units from before and after.
      latest: the latest window as a row of monitor.csv, column -> value; {} before the first.
    """

    def __init__(self, policy: apply.Policy, reference: Reference, options: Options | None = None):
        self.policy, self.reference, self.options = policy, reference, options or Options()
        self.armed, self.off = arm(policy, reference, self.options)
        self.raised: dict[str, Raised] = {}
        self.num_units = self.num_windows = self.num_rows = self.num_left_out = 0
        self.num_labeled: tuple[int, int] | None = (0, 0)
        self.num_again = self.num_twice = 0
        self.seen = self._seen_first = Seen()
        self.files: tuple[Taken, ...] = ()
        self.examples = Examples()
        self.latest: Mapping[str, Any] = {}
        self._level, self._tenths = atc_level(reference), tenths(reference.confidence)
        self._edges, self._counts = ranks.split_reference(reference.confidence, self.options.seed)
        is_ever = not self.options.run_length
        self._wealth = {a.name: no_wealth(a.num_strategies, is_ever) for a in self.armed}
        self._signature: Signature | None = None
        self._groups = OneOfEach(self.options.seed)
        self._waiting: Rows | None = None
        self._skipped = 0
        self._num_known = self.num_outside = 0

    @classmethod
    def from_policy(cls, path: str | Path, **options: Any) -> 'Monitor':
        """Return a new monitor for a policy.json with its reference.npz beside it.

        Args:
          path: of policy.json.
          **options: see `Options`.

        Raises:
          UserError: a file is missing or damaged, or an option is not allowed.
        """
        policy, reference = read_policy_and_reference(Path(path))
        return cls(policy, reference, Options(**options))

    @property
    def actions(self) -> tuple[str, ...]:
        """What the policy does with units, by their codes."""
        return (*(tier.name for tier in self.policy.tiers), self.policy.otherwise)

    @property
    def num_waiting(self) -> int:
        """Units that wait for their window to be full."""
        return self._groups.num_open + (0 if self._waiting is None else len(self._waiting.code))

    @property
    def is_mostly_outside(self) -> bool:
        """Whether most rows that this object was given are outside the reference's range of confidences."""
        return 2 * self.num_outside > self._num_known

    @property
    def signature(self) -> Signature | None:
        """What all parts of the stream have in common; None before the first."""
        return self._signature

    def update(self, arrays: Mapping[str, Any] | None = None, where: str = 'the stream', **named: Any) -> list[Window]:
        """Take further rows of the stream and return the windows that they complete.

        How a stream is cut into calls does not matter: what comes out is the same to the last bit.

        Args:
          arrays: name -> [n] (or [n, C]): `confidence_<score>` of the policy's score, or `confidence`, or logits or
            probs of which it is computed; optional `labels` and `predicted`, or `correct` (empty or NaN where not
            known), `id`, `time`, `group`.
          where: what is read, for messages.
          **named: further arrays, by name.

        Raises:
          UserError: the rows are not usable, or differ from earlier ones; nothing of the state has changed then.
        """
        return self.take(*self.read({**(arrays or {}), **named}, where), where)

    def read(self, arrays: Mapping[str, Any], where: str) -> tuple[Rows, Signature]:
        """Return the rows that arrays hold; see `update`. The monitor stays as it is."""
        given = dict(arrays)
        if 'confidence' in given:
            given[f'confidence_{self.policy.score}'] = given.pop('confidence')
        return read_rows(given, self.policy, self.reference, where)

    def take(self, rows: Rows, signature: Signature, where: str) -> list[Window]:
        """Take one or more rows that `read` returned, and return the windows that they complete.

        Raises:
          UserError: they differ from earlier ones; nothing of the state has changed then.
        """
        self._check_same(signature, where)
        self._signature = signature
        skipped = self.num_left_out + np.cumsum(~rows.is_known)
        self.num_rows, self.num_left_out = self.num_rows + len(skipped), int(skipped[-1])
        kept = rows._replace(skipped=skipped).take(rows.is_known)
        ends = self.reference.confidence.min(), self.reference.confidence.max()
        self._num_known += len(kept.code)
        self.num_outside += int(np.count_nonzero((kept.confidence < ends[0]) | (kept.confidence > ends[1])))
        self._notice(hashes_of(kept))
        if signature.group:
            kept = self._groups.drawn(kept)
        self._waiting = kept if self._waiting is None else self._waiting.plus(kept)
        size, windows, start = self.options.window, [], 0
        while len(self._waiting.code) - start >= size:
            windows.append(self._close(self._waiting.take(slice(start, start + size))))
            start += size
        self._waiting = self._waiting.take(slice(start, None))
        return windows

    @property
    def share_seen(self) -> float:
        """Which share of the units counted before this object was made `seen` had then; 1 for all."""
        return self._seen_first.share

    def _notice(self, hashes: np.ndarray) -> None:
        """Count the units that came before, and remember all of them as far as there is room."""
        again = self._seen_first.count(hashes)
        distinct = np.unique(hashes)
        self.num_again += again
        self.num_twice += self.seen.count(distinct) + len(hashes) - len(distinct) - again
        self.seen = self.seen.after(distinct)

    def _check_same(self, signature: Signature, where: str) -> None:
        if self._signature is None or signature == self._signature:
            return
        name = next(n for n in signature._fields if getattr(signature, n) != getattr(self._signature, n))
        raise UserError(
            f'{where} has other columns than the stream so far: {name} was {getattr(self._signature, name)!r} and is '
            f'{getattr(signature, name)!r}; give the same, or begin a new state'
        )

    def _close(self, rows: Rows) -> Window:
        """Report a full window and bet on it."""
        number, first = self.num_windows + 1, self.num_units + 1
        window = measure(rows, self.actions, self.reference, self._level, number, first)
        skipped = int(rows.skipped[-1])
        window = dataclasses.replace(window, left_out=skipped - self._skipped)
        evidence, raised = {}, []
        for alarm in self.armed:
            factors, units, direction = self._bets(alarm, rows, number)
            self._wealth[alarm.name], path = self._wealth[alarm.name].after(factors)
            evidence[alarm.name] = self._wealth[alarm.name].log_value() / math.log(10)
            over = np.flatnonzero(path >= alarm.log_level)
            if len(over) and alarm.name not in self.raised:
                self.raised[alarm.name] = Raised(number, first + int(units[over[0]]), direction)
                raised.append(alarm.name)
        self.examples = self.examples.after(rows, number, first, bool(raised), self._tenths, self.options.seed)
        if self.num_labeled is not None:
            has_label = ~np.isnan(rows.correct)
            new = int(has_label.sum()), int((has_label & (rows.code == 0)).sum())
            self.num_labeled = self.num_labeled[0] + new[0], self.num_labeled[1] + new[1]
        self.num_windows, self.num_units, self._skipped = number, first + len(rows.code) - 1, skipped
        window = dataclasses.replace(window, evidence=evidence, raised=tuple(raised))
        self.latest = window.to_row()
        return window

    def _bets(self, alarm: Armed, rows: Rows, number: int) -> tuple[np.ndarray, np.ndarray, str]:
        """Return log-factors [m, K] of a window for an alarm, the places [m] in it of their units, and a direction."""
        every = np.arange(len(rows.code))
        if alarm.name == RANKS:
            uniform = np.random.default_rng([self.options.seed, 13, number]).random(len(every))
            cells = ranks.cells_of(rows.confidence, self._edges)
            p_values, self._counts = ranks.rank_p_values(cells, self._counts, uniform)
            return ranks.log_bets(p_values), every, 'lower' if p_values.mean() < 0.5 else 'higher'
        if alarm.name == ESTIMATED:
            return log_bets(1 - rows.p_correct, alarm.limit), every, ''
        counted = ~np.isnan(rows.correct)
        errors = 1 - rows.correct
        if alarm.name == ACCEPTED and alarm.among_all:
            errors = errors * (rows.code == 0)
        elif alarm.name == ACCEPTED:
            counted &= rows.code == 0
        else:
            assert alarm.name == REALIZED
        return log_bets(errors[counted], alarm.limit), every[counted], ''

    def to_json(self) -> dict[str, Any]:
        """Return all that a state file keeps; see state.py."""
        return {
            'raised': {name: list(found) for name, found in self.raised.items()},
            'num_units': self.num_units,
            'num_windows': self.num_windows,
            'num_rows': self.num_rows,
            'num_left_out': self.num_left_out,
            'skipped': self._skipped,
            'counts': self._counts.tolist(),
            'wealth': {name: wealth.to_json() for name, wealth in self._wealth.items()},
            'signature': None if self._signature is None else list(self._signature),
            'groups': self._groups.to_json(),
            'waiting': None if self._waiting is None else rows_to_json(self._waiting),
            'examples': self.examples.to_json(),
            'latest': dict(self.latest),
            'files': [list(file) for file in self.files],
            'num_labeled': None if self.num_labeled is None else list(self.num_labeled),
            'seen': self.seen.to_json(),
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take the place of the monitor that `to_json` described.

        Raises:
          KeyError, TypeError or ValueError: the content is damaged.
        """
        self.raised = {str(name): Raised(*found) for name, found in content['raised'].items()}
        self.num_units, self.num_windows = int(content['num_units']), int(content['num_windows'])
        self.num_rows, self.num_left_out = int(content['num_rows']), int(content['num_left_out'])
        self._skipped = int(content['skipped'])
        counts = np.array(content['counts'], np.int64)
        if counts.shape != self._counts.shape or set(content['wealth']) != set(self._wealth):
            raise ValueError('it has other cells or alarms')
        self._counts = counts
        is_ever = not self.options.run_length
        self._wealth = {a.name: Wealth.from_json(content['wealth'][a.name], is_ever) for a in self.armed}
        found = content['signature']
        self._signature = None if found is None else Signature(*found)
        self._groups = OneOfEach.from_json(content['groups'], self.options.seed)
        self._waiting = None if content['waiting'] is None else rows_from_json(content['waiting'])
        self.examples = Examples.from_json(content['examples'])
        self.latest = dict(content['latest'])
        # A state from before these were remembered has none.
        self.files = files_from_json(content.get('files', ()))
        labeled = content.get('num_labeled')
        self.num_labeled = None if labeled is None else (int(labeled[0]), int(labeled[1]))
        self.seen = self._seen_first = Seen.from_json(content.get('seen', ''))
