"""What is said of an evaluation besides its figures."""

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from failpred_jax.registry import METRICS, SCORES
from failpred_jax.results import DatasetDescription, Measures, MetricDescription, RunDescription, ScoreDescription


def describe(measures: Measures, dataset: DatasetDescription, interval: float, **facts: Any) -> RunDescription:
    """Return the description of an evaluation, with what each of its metrics and scores is.

    Args:
      measures: what was measured.
      dataset: of what.
      interval: probability that the intervals are to cover.
      facts: other fields of RunDescription.
    """
    return RunDescription(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        dataset=dataset,
        interval=interval,
        metrics=describe_metrics(measures),
        scores={**describe_scores(measures.scores), **describe_given(measures)},
        **facts,
    )


def describe_metrics(measures: Measures) -> Mapping[str, MetricDescription]:
    """Return what every metric is that was measured, in the order of registration."""
    found = {*measures.classifier.metrics, *measures.classifier.per_class, *measures.undefined}
    for score in measures.scores.values():
        found |= {*score.metrics, *score.calibration}
        for figures in score.calibrated.figures.values() if score.calibrated else ():
            found |= figures.keys()
    return {name: METRICS[name].describe() for name in METRICS if name in found}


def describe_given(measures: Measures) -> Mapping[str, ScoreDescription]:
    """Return what the scores are that came with the predictions."""
    return {
        name: ScoreDescription('given with the predictions', '', '', bool(score.calibration))
        for name, score in measures.scores.items()
        if name not in SCORES
    }


def describe_scores(names: Iterable[str]) -> Mapping[str, ScoreDescription]:
    """Return what the scores are, of those that are ours."""
    return {
        name: ScoreDescription(
            SCORES[name].description,
            SCORES[name].reference,
            SCORES[name].role,
            SCORES[name].is_probability,
            SCORES[name].estimates,
        )
        for name in names
        if name in SCORES
    }
