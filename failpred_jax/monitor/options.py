"""What a monitor is asked for; fixed with its first unit, since a promise that is changed on the way is none."""

from dataclasses import asdict, dataclass
from typing import Any

from failpred_jax.errors import UserError, nearest, share_of_percent

ESTIMATED, RANKS, REALIZED, ACCEPTED = 'estimated_error', 'confidence_ranks', 'realized_error', 'accepted_error'
ALARMS = (ESTIMATED, RANKS, REALIZED, ACCEPTED)
MOST_UNITS = 100_000


@dataclass(frozen=True)
class Options:
    """Options of a monitor.

    Attributes:
      window: units of a window, for which everything is reported; from 20 to 100,000.
      alpha: the probability of any false alarm in the whole stream, however long; the alarms that are armed share it.
      run_length: instead, the mean number of units between false alarms; 0 for none. `alpha` is then that of the
        reference's bounds alone.
      tolerance: by how much the error rate may rise over the reference's upper bound without an alarm, in [0, 1).
      alarms: those that are armed, of ALARMS; () for all that policy and reference allow.
      seed: of what is drawn: ties, one unit of each group.
    """

    window: int = 500
    alpha: float = 0.05
    run_length: int = 0
    tolerance: float = 0.01
    alarms: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise a UserError for a value that is not allowed."""
        rules = {
            'window': (20 <= self.window <= MOST_UNITS, f'from 20 to {MOST_UNITS:,}'),
            'alpha': (0 < self.alpha < 1, 'between 0 and 1'),
            'run_length': (self.run_length == 0 or self.run_length >= self.window, '0, or at least one window'),
            'tolerance': (0 <= self.tolerance < 1, '0 or greater, and below 1'),
            'seed': (self.seed >= 0, '0 or greater'),
        }
        for name, (is_allowed, allowed) in rules.items():
            if not is_allowed:
                value = getattr(self, name)
                percent = share_of_percent(value) if name in ('alpha', 'tolerance') else ''
                raise UserError(f'{name} is {value}{percent}; allowed: {allowed}')
        for name in self.alarms:
            if name not in ALARMS:
                raise UserError(f"there is no alarm '{name}'{nearest(name, ALARMS)} (alarms: {', '.join(ALARMS)})")
        if len(set(self.alarms)) < len(self.alarms):
            raise UserError(f'alarms is {",".join(self.alarms)}; each may be listed once')

    def to_json(self) -> dict[str, Any]:
        """Return the options as plain values."""
        return {**asdict(self), 'alarms': list(self.alarms)}
