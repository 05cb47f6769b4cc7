"""Rows as a state file keeps them: bit for bit."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from failpred_jax.monitor.columns import Rows


def rows_to_json(rows: Rows) -> dict[str, Any]:
    """Return rows as JSON keeps them to the bit: numbers as hexadecimal bytes, since it has no NaN."""
    content = {}
    for name, column in rows._asdict().items():
        kind = column.dtype.str
        content[name] = column.tolist() if column.dtype.kind == 'U' else {'type': kind, 'hex': column.tobytes().hex()}
    return content


def rows_from_json(content: Mapping[str, Any]) -> Rows:
    """Return the rows that `rows_to_json` wrote."""
    columns = {}
    for name in Rows._fields:
        found = content[name]
        if isinstance(found, list):
            columns[name] = np.array(found, dtype=str) if found else np.zeros(0, '<U1')
        else:
            columns[name] = np.frombuffer(bytes.fromhex(found['hex']), np.dtype(found['type']))
    if len({len(column) for column in columns.values()}) != 1:
        raise ValueError('its columns differ in length')
    return Rows(**columns)
