"""Audits: how often their intervals cover and how wide they are; strategies: how long two million units take.

  python -m benchmarks.label [--draws=1000] [--workdir=DIR] [--units=2000000]

Coverage is over draws of the audit from populations of 10,000 units whose errors are known, so it is of the procedure
and not of one sample. `overconfident` says logits twice, `underconfident` half of what is true, `useless` shuffles them
among the units, and of `1 % stray` and `3 % stray` so many units are the other way round, whatever a calibrated
confidence says. `width` is that of the audit over that of the exact interval of a uniform sample of as many
labels. With --workdir, the test units of an evaluated run are such a population too, with P(correct) calibrated on its
validation units.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from failpred_jax.calibrate.confidence import fit_confidence
from failpred_jax.decide.binomial import share_interval
from failpred_jax.label.design import draw, inclusion_probabilities
from failpred_jax.label.estimate import estimate_mean
from failpred_jax.label.pool import Pool
from failpred_jax.label.strategy import choose
from failpred_jax.results import read_evaluation

UNITS = 10_000
# Mean and spread of the logit of the probability of an error.
POPULATIONS = {'sharp': (-7.0, 3.0), 'broad': (-4.5, 2.0), 'rare': (-9.0, 3.0), 'blunt': (-2.5, 0.7)}
CONFIDENCES = ('calibrated', 'overconfident', 'underconfident', 'useless', '1 % stray', '3 % stray')
STRATEGIES = ('margin', 'confidence', 'entropy', 'badge', 'coreset', 'cluster_margin', 'audit')


class Coverage(NamedTuple):
    """What many draws of an audit show: shares that cover, and mean widths over those of uniform samples."""

    error_rate: float
    covered: float
    width: float
    covered_accepted: float
    width_accepted: float
    bias: float


def population(name: str, confidence: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return which of 10,000 units are wrong, [N] bool, and what the model says of each being right, [N] float64."""
    rng = np.random.default_rng([seed, *name.encode()])
    mean, spread = POPULATIONS[name]
    logits = mean + spread * rng.standard_normal(UNITS)
    wrong = rng.random(UNITS) < expit(logits)
    if confidence.endswith('stray'):
        wrong ^= rng.random(UNITS) < float(confidence.split()[0]) / 100
    said = {
        'calibrated': logits, 'overconfident': 2 * logits, 'underconfident': logits / 2,
        'useless': rng.permutation(logits),
    }.get(confidence, logits)  # fmt: skip
    return wrong, 1 - expit(said)


def coverage(wrong: np.ndarray, p_correct: np.ndarray, budget: int, draws: int, has_policy: bool = False) -> Coverage:
    """Return how often intervals of audits cover the error rate of all, and of the surer four fifths, of the units."""
    accepted = p_correct > np.quantile(p_correct, 0.2)
    inclusion = inclusion_probabilities(p_correct, budget, accepted if has_policy else None)
    parts = {None: np.ones(len(wrong), bool), 'accepted': accepted}
    hits, widths, uniform, values = ({part: [] for part in parts} for _ in range(4))
    rng = np.random.default_rng(1)
    for number in range(draws):
        rows = draw(inclusion, budget, number)
        even = rng.choice(len(wrong), budget, replace=False)
        for part, inside in parts.items():
            truth = float(wrong[inside].mean())
            found = estimate_mean(wrong[rows], rows, p_correct, inclusion, None if part is None else inside)
            hits[part].append(found.low <= truth <= found.high)
            widths[part].append(found.high - found.low)
            values[part].append(found.value)
            of_part = even[inside[even]]
            low, high = share_interval(int(wrong[of_part].sum()), len(of_part))
            uniform[part].append(high - low)
    return Coverage(
        float(wrong.mean()),
        float(np.mean(hits[None])),
        float(np.mean(widths[None]) / np.mean(uniform[None])),
        float(np.mean(hits['accepted'])),
        float(np.mean(widths['accepted']) / np.mean(uniform['accepted'])),
        float(np.mean(values[None]) - wrong.mean()),
    )


def of_run(workdir: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return score -> (wrong, P(correct)) of the test units of a run, calibrated on its validation units."""
    evaluation = read_evaluation(workdir / 'evaluation')
    test, validation = evaluation.test, evaluation.validation
    assert validation is not None
    found = {}
    for name in ('mcp', 'confidnet'):
        fitted = fit_confidence(validation.confidences[name], validation.correct)
        found[name] = ~test.correct, np.asarray(fitted(test.confidences[name]), np.float64)
    return found


def seconds_of_strategies(units: int, dimensions: int = 128, classes: int = 10, budget: int = 100) -> None:
    """Print how long each strategy takes, in wall and processor time."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((units, dimensions), np.float32)
    logits = 3 * rng.standard_normal((units, classes), np.float32)
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    pool = Pool(np.arange(units).astype(str), probs=probs, predicted=probs.argmax(axis=1), features=features)
    print(f'\n{units:,} units x {dimensions} features, {classes} classes, budget {budget}')
    print('| strategy | s | processor s | looked at |\n|---|---|---|---|')
    for name in STRATEGIES:
        wall, processor = time.perf_counter(), time.process_time()
        found = choose(pool, name, budget)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        part = next((note for note in found.notes if 'chosen among' in note), 'all')
        print(f'| {name} | {wall:.1f} | {processor:.1f} | {part} |', flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description='audits and strategies')
    parser.add_argument('--draws', type=int, default=1000)
    parser.add_argument('--workdir', type=Path)
    parser.add_argument('--units', type=int, default=2_000_000)
    given = parser.parse_args()
    print('| population | confidence | labels | error rate | covers | width | accepted: covers | width | bias |')
    print('|---|---|---|---|---|---|---|---|---|')
    pools = {(name, how): population(name, how) for name in POPULATIONS for how in CONFIDENCES}
    if given.workdir:
        pools |= {(given.workdir.name, name): pool for name, pool in of_run(given.workdir).items()}
    for (name, how), (wrong, p_correct) in pools.items():
        # What matters most with each confidence; the rest where it is calibrated but for what strays, and with the run.
        asked = ((100, False), (300, False), (1000, False), (300, True))
        for budget, has_policy in asked[1:2] if how in CONFIDENCES[1:4] else asked:
            found = coverage(wrong, p_correct, budget, given.draws, has_policy)
            print(
                f'| {name} | {how} | {budget}{" policy" * has_policy} | {found.error_rate:.2%} | {found.covered:.1%} '
                f'| {found.width:.2f} | {found.covered_accepted:.1%} | {found.width_accepted:.2f} | '
                f'{found.bias:+.3%} |',
                flush=True,
            )
    if given.units:
        seconds_of_strategies(given.units)


if __name__ == '__main__':
    main()
