"""Where units stand in the file that somebody wrote: rows, counted from 1, the header of a table not counted."""

import numpy as np

_MOST = 5


class Places:
    """The rows of the units of one part.

    Args:
      rows: [N] int, the row of each unit, from 0; None where the units are the rows in their order.
      per_row: units of one row, which are more than one for pixels.
    """

    def __init__(self, rows: np.ndarray | None = None, per_row: int = 1):
        self._rows, self._per_row = rows, per_row

    def of_kept(self, kept: np.ndarray, per_row: int) -> 'Places':
        """Return the places of the units that are kept, flat bool, each of which holds so many of something."""
        units = np.flatnonzero(kept) // self._per_row
        return Places(units if self._rows is None else self._rows[units], per_row)

    def named(self, which: np.ndarray) -> str:
        """Return 'row 3', 'rows 3, 5' or 'rows 3, 5, 6, 8, 9, ...' of the units for which `which`, bool, is True."""
        units = np.unique(np.flatnonzero(which.reshape(-1)) // self._per_row)
        rows = units if self._rows is None else np.unique(self._rows[units])
        listed = ', '.join(f'{row + 1}' for row in rows[:_MOST].tolist())
        return f'row{"" if len(rows) == 1 else "s"} {listed}{", ..." if len(rows) > _MOST else ""}'
