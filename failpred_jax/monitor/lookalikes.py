"""Columns of a stream that are not read, and look as if they were meant to be."""

import re
from collections.abc import Iterable

from failpred_jax.errors import nearest
from failpred_jax.monitor.columns import TIMES
from failpred_jax.prediction_file.names import UNLIKELY, meaning_of, vague_name

# Each group is one thing, of which one name is enough.
_READ = (('labels', 'correct'), ('predicted',), ('id',), ('group',), TIMES)
# To names of other things, such as 'predictor', 'mid' and 'update'.
_TOO_NEAR = (*UNLIKELY, 'time', 'date')
_VAGUE = {'datetime': 'time', 'date_time': 'time', 'created_at': 'time', 'is_correct': 'correct'}


def lookalikes(names: Iterable[str]) -> dict[str, str]:
    """Return name -> what it is perhaps meant as, of columns that stand for something that the stream lacks.

    Args:
      names: of all columns, as they are written.
    """
    given = {name: meaning_of(name) for name in names}
    plain = {name: re.sub(r'[\s.-]+', '_', name.strip().lower()) for name in given}
    there = {*given.values(), *plain.values()}
    lacking = [known for group in _READ if not there & set(group) for known in group]
    found = {}
    for name in given:
        meant = _VAGUE.get(plain[name]) or vague_name(name)
        if not meant:
            close = re.search(
                "'(.*)'", nearest(plain[name], [known for known in lacking if known not in _TOO_NEAR], 0.8)
            )
            meant = close[1] if close else ''
        if meant in lacking:
            found[name] = meant
    return found
