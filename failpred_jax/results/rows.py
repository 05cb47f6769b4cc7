"""Rows as the text of a csv file."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any


def to_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as csv, with the keys of the first as its header; '' for none. A NaN or None is an empty cell."""
    out = io.StringIO()
    writer = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(out, list(row), lineterminator='\n')
            writer.writeheader()
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return out.getvalue()


def _cell(value: Any) -> Any:
    return '' if value is None or (isinstance(value, float) and value != value) else value
