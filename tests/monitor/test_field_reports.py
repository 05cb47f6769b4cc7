"""What users of other monitors reported in public, tried here; docs/field-reports.md names them."""

import dataclasses
import re

import numpy as np
import pytest
from monitor.population import made, units

from failpred_jax.monitor import Monitor, Options
from failpred_jax.monitor.output import prometheus_text


def test_a_verdict_does_not_depend_on_how_many_rows_come_at_a_time(rng):
    confidence, _ = units(rng, 3500)
    policy, reference = made(rng)
    monitors = [Monitor(policy, reference, Options(window=100)) for _ in range(3)]
    for monitor, rows in zip(monitors, (35, 1000, 3500), strict=True):
        for first in range(0, 3500, rows):
            monitor.update(confidence=confidence[first : first + rows])
        assert not monitor.raised
    assert monitors[0].latest == monitors[1].latest == monitors[2].latest
    # Eight rows that look odd are no verdict at all.
    few = Monitor(policy, reference)
    assert few.update(confidence=[0.3, 0.4] * 4) == [] and not few.raised and few.num_waiting == 8


@pytest.mark.parametrize('right', [True, False])
def test_windows_of_one_class_and_of_one_outcome_have_every_figure_that_can_be_had(rng, right):
    policy, reference = made(rng)
    monitor = Monitor(policy, reference, Options(window=50))
    labels = np.full(50, 1 if right else 2)
    (window,) = monitor.update(confidence=np.full(50, 0.9), predicted=np.ones(50, int), labels=labels)
    row = window.to_row()
    assert row['labeled_accuracy'] == right and row['brier'] == pytest.approx(0.01 if right else 0.81)
    assert 0 <= row['ece_debiased'] <= 1
    # No label, none accepted: empty, not 0 and no warning.
    (window,) = monitor.update(confidence=np.full(50, 0.1), predicted=np.ones(50, int))
    row = window.to_row()
    assert [row[k] for k in ('labeled_accuracy', 'ece_debiased', 'accepted_error', 'accepted_labeled_error')] == [
        ''
    ] * 4
    assert row['share_accept'] == 0 and row['labeled'] == 0


def test_prometheus_reads_every_line_whatever_is_not_known_and_of_several_monitors(rng):
    tiers = [{'name': 'say "yes"\\', 'thresholds': [0.6], 'kind': 'cost', 'risk': 0.1, 'reason': ''}]
    policy, reference = made(rng, tiers=tiers, calibrator=None)
    monitor = Monitor(policy, reference, Options(window=50))
    before = prometheus_text(monitor, 'a')
    confidence = units(rng, 60)[0]
    confidence[0] = np.inf
    monitor.update(confidence=confidence)
    text = prometheus_text(monitor, 'a')
    line = re.compile(r'[a-z_:][a-z0-9_:]*\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\} -?[0-9][0-9.e+-]*')
    for found in (before, text):
        lines = [x for x in found.splitlines() if not x.startswith('#')]
        assert lines and all(line.fullmatch(x) for x in lines), [x for x in lines if not line.fullmatch(x)]
    # Each family has one help line; the samples of two monitors differ by their label.
    assert len(re.findall('# HELP', text)) == len(set(re.findall(r'# HELP (\S+)', text)))
    samples = [{x.rsplit(' ', 1)[0] for x in prometheus_text(monitor, n).splitlines() if x[0] != '#'} for n in 'ab']
    assert not samples[0] & samples[1]


def test_confidences_that_fall_while_accuracy_holds_are_told_apart_from_errors(rng):
    policy, reference = made(rng, 2000)
    monitor = Monitor(policy, reference, Options(window=200))
    confidence, right = units(rng, 3000)
    # From 0.97 to 0.955, say: something moved, and next to nothing more is wrong.
    lower = np.where(confidence > 0.9, confidence - 0.004, confidence)
    monitor.update(confidence=lower, correct=right)
    assert set(monitor.raised) == {'confidence_ranks'} and monitor.raised['confidence_ranks'].direction == 'lower'


def test_a_stream_may_come_one_unit_at_a_time(rng):
    policy, reference = made(rng)
    whole, single = (Monitor(policy, reference, Options(window=20)) for _ in range(2))
    confidence, right = units(rng, 50)
    found = [w for c, r in zip(confidence, right, strict=True) for w in single.update(confidence=[c], correct=[r])]
    assert [w.to_row() for w in found] == [w.to_row() for w in whole.update(confidence=confidence, correct=right)]


def test_saturated_confidences_and_ties_keep_the_promise(rng):
    # Nine in ten are exactly 1: ranks are then mostly ties.
    draw = lambda n: np.where(rng.random(n) < 0.9, 1.0, rng.random(n))  # noqa: E731
    policy, reference = made(rng)
    reference = dataclasses.replace(reference, confidence=draw(1000))
    raised = 0
    for seed in range(20):
        monitor = Monitor(policy, reference, Options(window=100, alarms=('confidence_ranks',), seed=seed))
        monitor.update(confidence=draw(2000))
        raised += bool(monitor.raised)
    assert raised <= 4
    monitor.update(confidence=np.where(rng.random(1000) < 0.6, 1.0, rng.random(1000)))
    assert monitor.raised
