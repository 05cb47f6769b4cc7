"""The example of adding a score, as docs/scores.md and the README print it, works; and the table there is true."""

import re
from pathlib import Path

import numpy as np

from failpred_jax.catalog import table
from failpred_jax.registry import SCORES
from failpred_jax.scores.score import ScoreInputs

PAGE = Path(__file__).parents[2] / 'docs' / 'scores.md'


def test_the_example_adds_a_score():
    page = PAGE.read_text()
    (example,) = re.findall(r'```python\n(.*?)```', page, flags=re.DOTALL)
    assert len(example.strip().splitlines()) <= 20
    before = set(SCORES)
    try:
        exec(compile(example, str(PAGE), 'exec'), {})  # noqa: S102  (our own page)
        (name,) = set(SCORES) - before
        logits = np.array([[1.0, 3.0, 2.0], [0.0, 5.0, 1.0]], np.float32)
        np.testing.assert_allclose(SCORES[name].fn(ScoreInputs(logits)), [1.0, 4.0])
    finally:
        # The registry has no removal, on purpose; other tests must not see the example.
        for name in set(SCORES) - before:
            del SCORES._entries[name]


def test_the_table_describes_scores_as_they_describe_themselves():
    """A new score need not stand in it; what stands there is made by `python -m failpred_jax.catalog scores`."""
    shown = PAGE.read_text().partition('## What is there')[2].partition('| score |')[2].partition('\n\n')[0]
    rows = shown.splitlines()[2:]
    assert len(rows) >= 20
    assert set(rows) <= set(table('scores').splitlines())
