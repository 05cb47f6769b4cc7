"""How often 95 % intervals hold the true value, and how often equally good scores are told apart.

    python benchmarks/coverage.py --quick     # under a minute
    python benchmarks/coverage.py             # the table of docs/metrics.md; about 10 minutes of one core

Data are drawn again and again from populations whose true values are known. Correct units have normal confidences; of
the errors, most lie `gap` below them, and a share `hard` is as confident as correct units are, as the errors of real
networks are. Between two errors, all that a ranking metric needs of the correct units is their number, so a data set
and its resamples are drawn as counts, and 10,000 units cost no more than their errors. `ours` is `metrics.intervals`
itself, given such resamples.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, t

from failpred_jax.metrics import Resamples, compare, compare_with_reference, intervals, level_with_best
from failpred_jax.metrics.clusters import cluster_weights
from failpred_jax.metrics.resampling import NUM_PLACES

LEVEL = 0.95
NAMES = ('auroc', 'aurc', 'aupr_error', 'fpr_at_95tpr')
POPULATIONS = ((1.5, 0.0), (2.5, 0.0), (2.5, 0.1), (3.0, 0.05), (3.0, 0.3))
TAIL = (1 - LEVEL) / 2
Z = norm.ppf(1 - TAIL)


def metrics_of(between: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return AUROC, AURC, AUPR-Error and FPR@95%TPR: [..., 4].

    Args:
      between: [..., E + 1] correct units before, between and after the errors, in falling confidence.
      errors: [..., E] how often each error counts.
    """
    correct, wrong = np.cumsum(between, axis=-1), np.cumsum(errors, axis=-1)
    num_correct, num_errors = correct[..., -1:], wrong[..., -1:]
    above, before = correct[..., :-1], wrong - errors
    total = num_errors[..., 0]
    auroc = np.sum(errors * above, axis=-1) / (num_correct[..., 0] * total)
    below = num_errors - before
    aupr = np.sum(errors * below / np.maximum(below + num_correct - above, 1e-9), axis=-1) / total
    fpr = np.sum(errors * (above < np.ceil(0.95 * num_correct - 1e-9)), axis=-1) / total
    units, end = above + wrong, correct[..., 1:] + wrong
    # Between two errors the risk falls as one over the units accepted.
    area = np.sum(np.where(units > 0, wrong * np.log(np.maximum(end, 1) / np.maximum(units, 1)), 0), axis=-1)
    first = above + before
    risk = wrong / np.maximum(units, 1e-9)
    risk_before = np.where(first > 0, before / np.maximum(first, 1e-9), risk)
    area += np.sum(errors * (risk + risk_before) / 2, axis=-1)
    return np.stack([auroc, area / (num_correct[..., 0] + total), aupr, fpr], axis=-1)


@dataclass(frozen=True)
class Population:
    """Correct units around `gap`, errors around 0 but for a share `hard` of them; a share `rate` of units is wrong."""

    gap: float
    hard: float
    rate: float

    def truth(self, num_places: int = 20_000) -> np.ndarray:
        """Return the true values, from errors at the quantiles of their distribution."""
        grid = np.linspace(-8, self.gap + 8, 400_001)
        cdf = (1 - self.hard) * norm.cdf(grid) + self.hard * norm.cdf(grid - self.gap)
        errors = np.interp((np.arange(num_places) + 0.5) / num_places, cdf, grid)[::-1]
        between = np.diff(np.concatenate([[0], norm.sf(errors - self.gap), [1]]))
        return metrics_of(between * (1 - self.rate) * 1e9, np.full(num_places, self.rate * 1e9 / num_places))

    def draw(self, rng: np.random.Generator, num_units: int) -> np.ndarray:
        """Return the correct units between the errors of a data set: [E + 1]."""
        num_errors = max(rng.binomial(num_units, self.rate), 2)
        errors = rng.standard_normal(num_errors) + self.gap * (rng.random(num_errors) < self.hard)
        chance = np.diff(np.concatenate([[0], norm.sf(np.sort(errors)[::-1] - self.gap), [1]]))
        return rng.multinomial(num_units - num_errors, chance)


def resample(
    rng: np.random.Generator, between: np.ndarray, num_resamples: int, keep_errors: bool = False
) -> np.ndarray:
    """Return the metrics of plain resamples, [R, 4]; `keep_errors` draws as many errors as the data have."""
    num_errors, num_correct = len(between) - 1, between.sum()
    drawn = np.full(num_resamples, num_errors)
    if not keep_errors:
        drawn = np.maximum(
            rng.binomial(num_correct + num_errors, num_errors / (num_correct + num_errors), drawn.shape), 1
        )
    errors = rng.multinomial(drawn, np.full(num_errors, 1 / num_errors))
    return metrics_of(rng.multinomial(num_correct + num_errors - drawn, between / num_correct), errors)


def resample_with_one_more(rng: np.random.Generator, between: np.ndarray, num_resamples: int) -> np.ndarray:
    """Return the metrics of the resamples that `metrics.bootstrap` draws, [R, 4]."""
    num_errors, num_correct = len(between) - 1, between.sum()
    places = num_correct * (2 * np.arange(NUM_PLACES) + 1) // (2 * NUM_PLACES)
    position = np.concatenate([np.cumsum(between)[:-1], places])
    chance = np.concatenate([np.ones(num_errors), np.full(NUM_PLACES, 1 / NUM_PLACES)]) / (num_errors + 1)
    order = np.argsort(position, kind='stable')
    between = np.diff(np.concatenate([[0], position[order], [num_correct]]))
    num_units = num_correct + num_errors + 1
    drawn = np.maximum(rng.binomial(num_units, (num_errors + 1) / num_units, num_resamples), 1)
    errors = rng.multinomial(drawn, chance[order])
    return metrics_of(rng.multinomial(num_units - drawn, between / num_correct), errors)


def bca(value: np.ndarray, samples: np.ndarray, left_out: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return BCa intervals [2, M] from values without one unit [J, M], each standing for `count` [J] units."""
    gone = np.average(left_out, axis=0, weights=count) - left_out
    square, cube = (np.sum(count[:, None] * gone**power, axis=0) for power in (2, 3))
    skew = np.where(square > 1e-20, cube / (6 * np.maximum(square, 1e-20) ** 1.5), 0)
    share = np.mean(samples < value, axis=0) + np.mean(samples == value, axis=0) / 2
    bias = norm.ppf(np.clip(share, 0.5 / len(samples), 1 - 0.5 / len(samples)))
    ends = [norm.cdf(bias + (bias + z) / np.maximum(1 - skew * (bias + z), 0.05)) for z in (-Z, Z)]
    return np.array([[np.quantile(samples[:, m], end[m]) for m in range(len(value))] for end in ends])


def without_one(between: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the metrics without each error and without a correct unit of each gap, and how many units each is."""
    num_errors = len(between) - 1
    filled = np.flatnonzero(between)
    fewer = np.tile(between, (len(filled), 1))
    fewer[np.arange(len(filled)), filled] -= 1
    errors = metrics_of(np.tile(between, (num_errors, 1)), 1 - np.eye(num_errors))
    correct = metrics_of(fewer, np.ones((len(filled), num_errors)))
    return np.concatenate([errors, correct]), np.concatenate([np.ones(num_errors), between[filled]])


def studentized_auroc(between: np.ndarray, rng: np.random.Generator, num_resamples: int) -> np.ndarray:
    """Return the bootstrap-t interval of the AUROC on the logit scale, with the errors' part of DeLong's variance."""
    num_errors, num_correct = len(between) - 1, between.sum()
    share = np.cumsum(between)[:-1] / num_correct
    drawn = share[rng.integers(0, num_errors, (num_resamples, num_errors))]
    edge = 0.5 / (num_errors * num_correct)

    def scaled(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = np.clip(rows.mean(axis=-1), edge, 1 - edge)
        return logit(mean), np.maximum(rows.std(axis=-1, ddof=1), edge) / np.sqrt(num_errors) / (mean * (1 - mean))

    center, error = scaled(share)
    centers, errors = scaled(drawn)
    low, high = np.quantile((centers - center) / errors, [TAIL, 1 - TAIL])
    ends = expit(np.array([center - high * error, center - low * error]))
    return np.stack([ends, *[np.full(2, np.nan)] * 3], axis=1)


def ours(value: np.ndarray, samples: np.ndarray, support: int, names: tuple[str, ...], is_clustered: bool = False):
    """Return what `metrics.intervals` makes of samples [R, M]: [2, M]."""
    drawn = Resamples(('a',), names, value[:, None], samples.T[:, None], support, is_clustered)
    return np.array([intervals(drawn, LEVEL)['a'][name] for name in names]).T


def methods(rng: np.random.Generator, between: np.ndarray, num_resamples: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (method, interval [2, 4]) for one data set."""
    num_errors = len(between) - 1
    value = metrics_of(between, np.ones(num_errors))
    samples = resample(rng, between, num_resamples)
    yield 'percentile', np.quantile(samples, [TAIL, 1 - TAIL], axis=0)
    yield 'stratified', np.quantile(resample(rng, between, num_resamples, True), [TAIL, 1 - TAIL], axis=0)
    yield 'BCa', bca(value, samples, *without_one(between))
    inside = np.clip(value, 1e-6, 1 - 1e-6)
    half = t.ppf(1 - TAIL, num_errors - 1) * samples.std(axis=0) / (inside * (1 - inside))
    yield 't, logit', expit(logit(inside) + np.array([[-1], [1]]) * half)
    yield 'studentized, logit', studentized_auroc(between, rng, num_resamples)
    yield 'ours', ours(value, resample_with_one_more(rng, between, num_resamples), num_errors, NAMES)


class Covered:
    """Counts of how often each method's interval holds the truth, and the intervals' widths."""

    def __init__(self):
        self.hits: dict[str, list[np.ndarray]] = {}
        self.widths: dict[str, list[np.ndarray]] = {}

    def add(self, method: str, ends: np.ndarray, truth: np.ndarray) -> None:
        inside = np.where(np.isnan(ends[0]), np.nan, (ends[0] <= truth) & (truth <= ends[1]))
        self.hits.setdefault(method, []).append(inside)
        self.widths.setdefault(method, []).append(ends[1] - ends[0])


def of_units(num_errors: int, rate: float, num_data: int, num_resamples: int) -> None:
    """Print the rows of the table of units: the mean coverage over populations, and the worst."""
    worst: dict[str, list[np.ndarray]] = {}
    widths: dict[str, list[np.ndarray]] = {}
    for number, (gap, hard) in enumerate(POPULATIONS):
        population, rng, covered = Population(gap, hard, rate), np.random.default_rng(number), Covered()
        truth = population.truth()
        for _ in range(num_data):
            for method, ends in methods(rng, population.draw(rng, round(num_errors / rate)), num_resamples):
                covered.add(method, ends, truth)
        for method, hits in covered.hits.items():
            worst.setdefault(method, []).append(np.mean(hits, axis=0))
            widths.setdefault(method, []).append(np.mean(covered.widths[method], axis=0))
    for method, rows in worst.items():
        cells = [
            '-' if np.isnan(mean) else f'{mean:.3f} ({low:.3f})'
            for mean, low in zip(np.mean(rows, axis=0), np.min(rows, axis=0), strict=True)
        ]
        relative = np.mean(np.array(widths[method]) / widths['percentile'], axis=0)
        cells += ['-' if np.isnan(relative).any() else f'{np.mean(relative):.2f}']
        print(f'| {num_errors} of {round(num_errors / rate):,} | {method} | {" | ".join(cells)} |', flush=True)


def draw_images(
    rng: np.random.Generator, count: int, memory: float, is_skewed: bool, num_pixels: int = 300, num_levels: int = 48
) -> tuple[np.ndarray, np.ndarray]:
    """Return correct and wrong pixels [G, L] by falling confidence.

    `memory` ties a frame's difficulty to that of the one before; skewed, a few images hold most of the errors.
    """
    hard = rng.gamma(0.5, 2.8, count) - 1.4 if is_skewed else rng.standard_normal(count)
    for i in range(1, count if memory else 0):
        hard[i] = memory * hard[i - 1] + np.sqrt(1 - memory**2) * hard[i]
    hard = 0.5 * hard[:, None]
    wrong = rng.random((count, num_pixels)) < expit(hard - 2.5)
    confidence = rng.standard_normal((count, num_pixels)) + np.where(wrong, 0.3 * hard, 1.8 - 0.3 * hard)
    level = np.clip(((4.5 - confidence) / 9 * num_levels).astype(int), 0, num_levels - 1)
    cell = level + num_levels * np.arange(count)[:, None]
    both = [
        np.bincount(cell[kind], minlength=count * num_levels).reshape(count, num_levels) for kind in (~wrong, wrong)
    ]
    return both[0].astype(float), both[1].astype(float)


def image_metrics(correct: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Return accuracy, AUROC and AURC of counts [..., L] by falling confidence: [..., 3]."""
    right, errors = np.cumsum(correct, axis=-1), np.cumsum(wrong, axis=-1)
    units = np.maximum(right + errors, 1)
    auroc = np.sum(wrong * (right - correct / 2), axis=-1) / (right[..., -1] * errors[..., -1])
    risk = errors / units
    before = np.concatenate([risk[..., :1], risk[..., :-1]], axis=-1)
    aurc = np.sum((correct + wrong) * (risk + before) / 2, axis=-1) / units[..., -1]
    return np.stack([right[..., -1] / units[..., -1], auroc, aurc], axis=-1)


def of_clusters(
    count: int, memory: float, block_length: int, is_skewed: bool, num_data: int, num_resamples: int
) -> None:
    """Print the rows of the table of images: independent ones, or the frames of a video."""
    truth = image_metrics(*(x.sum(axis=0) for x in draw_images(np.random.default_rng(0), 40_000, memory, is_skewed)))
    rng, covered = np.random.default_rng(1), Covered()
    for number in range(num_data):
        correct, wrong = draw_images(rng, count, memory, is_skewed)
        value = image_metrics(correct.sum(axis=0), wrong.sum(axis=0))
        weights = cluster_weights(count, 1, num_resamples, number)
        samples = image_metrics(weights @ correct, weights @ wrong)
        covered.add('percentile', np.quantile(samples, [TAIL, 1 - TAIL], axis=0), truth)
        left_out = image_metrics(correct.sum(axis=0) - correct, wrong.sum(axis=0) - wrong)
        covered.add('BCa', bca(value, samples, left_out, np.ones(count)), truth)
        names = ('accuracy', 'auroc', 'aurc')
        covered.add('ours', ours(value, samples, count, names, True), truth)
        if block_length > 1:
            weights = cluster_weights(count, block_length, num_resamples, number)
            samples = image_metrics(weights @ correct, weights @ wrong)
            ends = ours(value, samples, count // block_length, names, True)
            covered.add(f'ours, blocks of {block_length}', ends, truth)
    what = f'{count} frames in a row' if memory else f'{count} images' + (', few with errors' if is_skewed else '')
    for method, hits in covered.hits.items():
        print(f'| {what} | {method} | {" | ".join(f"{x:.3f}" for x in np.mean(hits, axis=0))} |', flush=True)


def of_equals(num_errors: int, num_data: int, num_resamples: int, num_scores: int = 24) -> None:
    """Print how often any of equally good scores is told apart, at 95 %."""
    rng = np.random.default_rng(0)
    counts = {'best against each other one': 0, 'reference, Holm': 0, 'among the best': 0}
    num_correct = 10 * num_errors
    for _ in range(num_data):
        shared = rng.standard_normal(num_correct + num_errors)
        drawn = np.sqrt(0.5) * (shared + rng.standard_normal((num_scores, len(shared))))
        drawn[:, num_errors:] += 2
        places = np.quantile(drawn[:, num_errors:], (np.arange(NUM_PLACES) + 0.5) / NUM_PLACES, axis=1).T
        errors = np.concatenate([drawn[:, :num_errors], places], axis=1)
        chance = np.concatenate([np.ones(num_errors), np.full(NUM_PLACES, 1 / NUM_PLACES)]) / (num_errors + 1)
        times = rng.multinomial(num_errors + 1, chance, num_resamples)
        of_correct = rng.multinomial(num_correct, np.full(num_correct, 1 / num_correct), num_resamples)
        samples, values = [], []
        for own, wrong in zip(drawn[:, num_errors:], errors, strict=True):
            is_above = (own > wrong[:, None]).astype(np.float32)
            values.append(is_above[:num_errors].mean())
            samples.append(np.sum(times * (of_correct.astype(np.float32) @ is_above.T), axis=1))
        names = tuple(map(str, range(num_scores)))
        scaled = np.array(samples)[None] / (num_correct * (num_errors + 1))
        resamples = Resamples(names, ('auroc',), np.array([values]), scaled, num_errors)
        best = names[int(np.argmax(values))]
        counts['best against each other one'] += any(
            compare(resamples, best, other, 'auroc', LEVEL).is_distinguishable for other in names if other != best
        )
        found = compare_with_reference(resamples, '0', 'auroc', LEVEL).values()
        counts['reference, Holm'] += any(row.is_distinguishable for row in found)
        counts['among the best'] += len(level_with_best(resamples, LEVEL)['auroc']) < num_scores
    print(f'| {num_errors} | {" | ".join(f"{x / num_data:.3f}" for x in counts.values())} |', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='fewer data sets and resamples: a minute')
    quick = parser.parse_args().quick
    num_data, num_resamples = (40, 200) if quick else (600, 500)
    start = time.perf_counter()
    parts: list[tuple[str, list[Callable[[], None]]]] = [
        (
            '| errors | method | AUROC | AURC | AUPR-Error | FPR@95%TPR | width |\n|---|---|---|---|---|---|---|',
            [
                lambda n=n, rate=rate: of_units(n, rate, num_data, num_resamples)
                for n, rate in ((5, 0.02), (20, 0.02), (20, 0.2), (50, 0.02), (200, 0.02))
            ],
        ),
        (
            '| images | method | accuracy | AUROC | AURC |\n|---|---|---|---|---|',
            [
                lambda row=row: of_clusters(*row, num_data, num_resamples)
                for row in (
                    (6, 0.0, 1, False),
                    (12, 0.0, 1, False),
                    (50, 0.0, 1, False),
                    (12, 0.0, 1, True),
                    (200, 0.8, 20, False),
                )
            ],
        ),
        (
            '| errors | best against each other one | reference, Holm | among the best |\n|---|---|---|---|',
            [lambda n=n: of_equals(n, num_data, num_resamples) for n in (20, 50, 200)],
        ),
    ]
    for head, rows in parts:
        print(f'\n{head}')
        for row in rows:
            row()
    print(f'\n{num_data:,} data sets, {num_resamples:,} resamples, {time.perf_counter() - start:.0f} s')


if __name__ == '__main__':
    main()
