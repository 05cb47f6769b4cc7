"""A page of very many units tells what it would tell of all rows of their counts."""

import numpy as np

from failpred_jax import metrics
from failpred_jax.report import curves


def test_the_rows_that_are_kept_of_many_give_the_same_working_points(monkeypatch):
    monkeypatch.setattr(curves, '_MOST_ROWS', 1000)
    rng = np.random.default_rng(0)
    confidence = rng.normal(size=20_000)
    exact = metrics.threshold_counts(confidence, rng.random(20_000) < 0.7 + 0.1 * np.tanh(confidence))
    thresholds = [-1.0, float(confidence[5]), 99.0]
    few = curves.shown_counts(exact, thresholds)
    assert len(few.threshold) < 500

    def told(counts):
        rows = [curves.row_at_coverage(counts, coverage) for coverage in curves.COVERAGES]
        rows += [row for risk in curves.RISKS if (row := curves.row_at_risk(counts, risk)) is not None]
        rows += [row - 1 for threshold in thresholds if (row := curves.rows_over(counts, threshold))]
        return [tuple(column[row] for column in counts) for row in rows]

    assert told(few) == told(exact)
    assert curves.shown_counts(few) is few
