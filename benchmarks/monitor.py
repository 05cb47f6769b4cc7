"""What a monitor promises and finds: false alarms, delays, and how far off its accuracies are.

  python benchmarks/monitor.py [--streams=400]                                # populations whose truth is known
  python benchmarks/monitor.py --workdir=RUN [--repeats=20] [--page=DIR]      # a finished run, its images corrupted

The first draws a reference and a stream anew each time. The second needs a run with calibration units and images kept
(config.data.calibration_fraction, config.evaluate.keep_images_mb). tests/monitor/test_statistics.py runs the first with
fewer draws.
"""

import argparse
import dataclasses
import math
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import ks_2samp

from failpred_jax import apply
from failpred_jax.monitor import Monitor, Options
from failpred_jax.monitor.alarms import STAKES, log_bets
from failpred_jax.monitor.estimates import atc_level, by_calibration, by_level
from failpred_jax.monitor.reference import make_reference, reference_arrays
from failpred_jax.monitor.wealth import no_wealth

ALARMS = ('estimated_error', 'confidence_ranks', 'realized_error', 'accepted_error')
NAIVE = 'a KS test per window'
LABELED = 0.3
NOISE = ('gaussian_noise', 'shot_noise', 'impulse_noise')
OTHERS = ('blur', 'contrast', 'rotation', 'occlusion')


@dataclasses.dataclass(frozen=True)
class Streams:
    """What came of many streams: alarm -> [R] unit after the change at which it went off, inf where it did not.

    Without a change, the change is at the first unit.
    """

    delays: dict[str, np.ndarray]
    seconds: float

    def share_of_alarms(self, name: str) -> float:
        """Return in which share of the streams an alarm went off."""
        return float(np.isfinite(self.delays[name]).mean())

    def median_delay(self, name: str) -> float:
        """Return the median of the units until it went off."""
        return float(np.median(self.delays[name]))


def units(rng: np.random.Generator, num: int, drop: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return (confidence, right) of units of which 95 % are right, less `drop`: of some, the hard ones, half are."""
    is_hard = rng.random(num) < drop / 0.45
    confidence = np.where(is_hard, rng.beta(2, 2, num), rng.beta(9, 0.47, num))
    return confidence, rng.random(num) < confidence


def reference_of(rng: np.random.Generator, num: int) -> tuple[apply.Policy, object]:
    """Return a policy that accepts over 0.6 and promises 5 % errors there, and the reference of so many units."""
    confidence, right = units(rng, num)
    arrays = reference_arrays(confidence, right, None, 0, (), None)
    content = {
        'format': apply.FORMAT, 'score': 'mine', 'dtype': 'float64', 'model': '', 'data': '', 'otherwise': 'human',
        'tiers': [{'name': 'accept', 'thresholds': [0.6], 'kind': 'selective', 'risk': 0.05, 'reason': ''}],
        'by': '', 'groups': [], 'calibrator': {'knots': {'confidence': [0.0, 1.0], 'probability': [0.0, 1.0]}},
        'audit_rate': 0.0, 'audit_seed': 0,
    }  # fmt: skip
    policy = apply.parse_policy(content)
    return policy, make_reference(arrays, policy)


def streams(
    num: int, drop: float, length: int = 10_000, num_reference: int = 2000, change: int = 2000, **options
) -> Streams:
    """Return what a monitor says of `num` streams whose accuracy drops at unit `change`; 30 % of units have labels."""
    start, change = time.process_time(), change if drop else 0
    delays = {name: np.full(num, math.inf) for name in (*ALARMS, 'any', NAIVE)}
    for stream in range(num):
        rng = np.random.default_rng([stream, 1])
        policy, reference = reference_of(rng, num_reference)
        before, after = units(rng, change), units(rng, length - change, drop)
        confidence, right = (np.concatenate(pair) for pair in zip(before, after, strict=True))
        correct = np.where(rng.random(length) < LABELED, right, np.nan)
        monitor = Monitor(policy, reference, Options(seed=stream, **options))
        monitor.update(confidence=confidence, correct=correct)
        for name, found in monitor.raised.items():
            delays[name][stream] = found.unit - change
            delays['any'][stream] = min(delays['any'][stream], found.unit - change)
        for first in range(0, length, 200):
            if ks_2samp(reference.confidence, confidence[first : first + 200], method='asymp').pvalue < 0.05:
                delays[NAIVE][stream] = first + 200 - change
                break
    return Streams(delays, time.process_time() - start)


def at_the_limit(num: int, alpha: float, length: int = 10_000, limit: float = 0.05, window: int = 500) -> int:
    """Return how many of `num` streams, whose mean error is just what is allowed, come to 1 / alpha."""
    count = 0
    for stream in range(num):
        rng = np.random.default_rng([stream, 2])
        errors = rng.beta(0.1, 0.1 * (1 - limit) / limit, length)
        wealth, highest = no_wealth(len(STAKES), is_ever=True), -math.inf
        for first in range(0, length, window):
            wealth, path = wealth.after(log_bets(errors[first : first + window], limit))
            highest = max(highest, float(path.max()))
        count += highest >= -math.log(alpha)
    return count


def print_populations(num: int) -> None:
    """Print false alarms and delays."""
    names = ('any', *ALARMS, NAIVE)
    print(f'| {num} streams of 10,000 | {" | ".join(names)} | always alarm | never alarm | s |')
    print(f'|---|{"---|" * (len(names) + 3)}')
    for size in (500, 2000, 6000):
        found = streams(num, 0.0, num_reference=size)
        shares = ' | '.join(f'{found.share_of_alarms(name):.2%}' for name in names)
        print(
            f'| clean, {size:,} reference units: false alarms | {shares} | 100% | 0% | {found.seconds:.0f} |',
            flush=True,
        )
    for drop in (0.02, 0.05, 0.10):
        found = streams(num // 4, drop)
        cells = ' | '.join(f'{found.share_of_alarms(name):.0%}, {found.median_delay(name):,.0f}' for name in names[:-1])
        print(
            f'| drop of {drop:.0%}: found, median delay | {cells} | - | 100%, 1 | 0% | {found.seconds:.0f} |',
            flush=True,
        )
    found = at_the_limit(num, 0.05)
    print(f'\nmean error at the limit itself, alpha 5 %: {found / num:.2%} of {num} streams ever pass 20')


def of_run(workdir: Path, score: str) -> tuple:
    """Return (policy, reference, evaluation) of a run, decided by a score."""
    from failpred_jax.config import DecideConfig
    from failpred_jax.decide.deciding import Given, make_decisions
    from failpred_jax.decide.units import of_predictions
    from failpred_jax.results import read_evaluation

    evaluation = read_evaluation(workdir / 'evaluation')
    names = tuple(map(str, evaluation.run.dataset.class_names))
    parts = (of_predictions(p) for p in (evaluation.calibration, evaluation.validation, evaluation.test))
    decided, _ = make_decisions(Given(*parts, 'image', names), DecideConfig(score=score, sets='none'))
    policy = apply.parse_policy(decided.policy)
    return policy, make_reference(decided.reference, policy), evaluation


@dataclasses.dataclass(frozen=True)
class Shifted:
    """Predictions of one shifted set: what was done, whether each is right, score -> confidence, and the classes."""

    name: str
    right: np.ndarray
    confidence: dict[str, np.ndarray]
    predicted: np.ndarray


def shifted_sets(workdir: Path, evaluation, score: str) -> list[Shifted]:
    """Return the test images under corruptions, and under ten shifts of the shares of the classes."""
    import failpred_jax
    from failpred_jax.shift.corruption import corrupt

    predictor = failpred_jax.load(workdir)
    images, labels = np.asarray(evaluation.images), np.asarray(evaluation.test.labels)
    if images.ndim == 3:
        images = images[..., None]

    def predicted(name: str, pixels: np.ndarray) -> Shifted:
        found = predictor.predict(pixels, scores=('mcp', score))
        return Shifted(name, found.label == labels, dict(found.confidences), found.label)

    clean = predicted('clean', images)
    sets = [clean]
    for seed in range(10):
        rng = np.random.default_rng([seed, 3])
        share = rng.dirichlet(np.full(labels.max() + 1, 0.5))[labels]
        rows = rng.choice(len(labels), len(labels), p=share / share.sum())
        confidence = {name: values[rows] for name, values in clean.confidence.items()}
        sets.append(Shifted('label shift', clean.right[rows], confidence, clean.predicted[rows]))
    for name in (*NOISE, *OTHERS):
        for severity in range(1, 6):
            sets.append(predicted(f'{name} {severity}', corrupt(images, name, severity)[0]))
    return sets


def estimates(found: Shifted, plain, learned) -> dict[str, float]:
    """Return method -> estimated accuracy; `plain` and `learned` are (policy, reference) of MCP and of the head."""
    mcp = found.confidence['mcp'].astype(np.float64)
    values = {
        'average MCP': float(mcp.mean()),
        'difference of MCP': plain[1].accuracy + float(mcp.mean() - plain[1].confidence.astype(np.float64).mean()),
        'ATC of MCP': by_level(found.confidence['mcp'], atc_level(plain[1]), len(plain[1])).value,
    }
    confidence = found.confidence[learned[0].score]
    p_correct = np.asarray(apply.decide(learned[0], confidence).p_correct)
    calibrated, difference = by_calibration(p_correct, learned[1])
    return values | {
        'ATC of the head': by_level(confidence, atc_level(learned[1]), len(learned[1])).value,
        'calibrated head': calibrated.value,
        'calibrated head, difference': difference.value,
    }


def print_accuracies(sets: list[Shifted], plain, learned) -> None:
    """Print the mean absolute errors of the estimates, in points."""
    groups = {'label shift': [s for s in sets if s.name == 'label shift']}
    for kinds, said in ((NOISE, 'noise'), (OTHERS, ', '.join(OTHERS))):
        own = [s for s in sets if s.name.split()[0] in kinds]
        groups[f'{said}: over 80 % right'] = [s for s in own if s.right.mean() > 0.8]
        groups[f'{said}: the harder ones'] = [s for s in own if s.right.mean() <= 0.8]
    methods = list(estimates(sets[0], plain, learned))
    print(f'\n| mean absolute error, points | sets | accuracy | {" | ".join(methods)} |')
    print(f'|---|---|---|{"---|" * len(methods)}')
    for name, chosen in groups.items():
        if not chosen:
            continue
        off = [[abs(v - s.right.mean()) for v in estimates(s, plain, learned).values()] for s in chosen]
        mean = float(np.mean([s.right.mean() for s in chosen]))
        print(
            f'| {name} | {len(chosen)} | {mean:.1%} | '
            + ' | '.join(f'{100 * x:.1f}' for x in np.mean(off, axis=0))
            + ' |'
        )


def print_image_delays(sets: list[Shifted], policy, reference, repeats: int) -> None:
    """Print false alarms on the shuffled test images, and delays once they are corrupted."""
    score, clean = policy.score, sets[0]
    half = len(clean.right) // 2
    print(
        f'\n| {repeats} shuffles, {half:,} clean, then | accuracy | any: found, median delay | {" | ".join(ALARMS)} |'
    )
    print(f'|---|---|---|{"---|" * len(ALARMS)}')
    window = 500 if half >= 2000 else 50
    for after in [s for s in sets if s.name == 'clean' or s.name.split()[0] in ('gaussian_noise', 'blur', 'rotation')]:
        delays = {name: np.full(repeats, math.inf) for name in (*ALARMS, 'any')}
        for repeat in range(repeats):
            order = np.random.default_rng([repeat, 4]).permutation(len(clean.right))
            first, then = order[:half], order[half:]
            monitor = Monitor(policy, reference, Options(window=window, seed=repeat))
            for found, rows in ((clean, first), (after, then)):
                correct = np.where(np.random.default_rng(repeat).random(len(rows)) < LABELED, found.right[rows], np.nan)
                monitor.update(confidence=found.confidence[score][rows], correct=correct)
            for name, raised in monitor.raised.items():
                delays[name][repeat] = raised.unit - half
                delays['any'][repeat] = min(delays['any'][repeat], raised.unit - half)
        cells = [f'{np.isfinite(d).mean():.0%}, {np.median(d):,.0f}' for d in (delays['any'], *map(delays.get, ALARMS))]
        print(f'| {after.name} | {after.right.mean():.1%} | {" | ".join(cells)} |')


def write_page(folder: Path, workdir: Path, evaluation, policy, reference, score: str) -> Path:
    """Write the page of a monitor over the shuffled test images followed by noisier and noisier ones."""
    import failpred_jax
    from failpred_jax.monitor import save
    from failpred_jax.monitor.output import Table
    from failpred_jax.report.monitoring import build_page
    from failpred_jax.shift.corruption import corrupt

    images, labels = np.asarray(evaluation.images), np.asarray(evaluation.test.labels)
    order = np.random.default_rng(5).permutation(len(labels))
    images, labels = (images[..., None] if images.ndim == 3 else images)[order], labels[order]
    pictures = folder / 'pictures'
    pictures.mkdir(parents=True, exist_ok=True)
    predictor, state = failpred_jax.load(workdir), folder / 'monitor.json'
    monitor = Monitor(policy, reference, Options(window=500 if len(labels) >= 5000 else 50))
    table = Table(state.with_suffix('.csv'), 0)
    for severity in range(6):
        rows = np.arange(len(labels)) if not severity else np.arange(severity % 5, len(labels), 5)
        shown = corrupt(images[rows], 'gaussian_noise', severity)[0]
        ids = [f'{severity}_{row}.png' for row in rows]
        for name, image in zip(ids, shown, strict=True):
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(pictures / name)
        found = predictor.predict(shown, scores=(score,))
        correct = np.where(np.random.default_rng(6).random(len(rows)) < 0.1, found.label == labels[rows], np.nan)
        confidence = {f'confidence_{score}': found.confidences[score]}
        table.add(monitor.update(confidence, predicted=found.label, correct=correct, id=ids))
    save(monitor, state)
    return build_page(monitor, state, pictures)


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--streams', type=int, default=400)
    parser.add_argument('--workdir', type=Path, default=None)
    parser.add_argument('--score', default='confidnet')
    parser.add_argument('--repeats', type=int, default=20)
    parser.add_argument('--page', type=Path, default=None)
    asked = parser.parse_args()
    if asked.workdir is None:
        print_populations(asked.streams)
        return
    policy, reference, evaluation = of_run(asked.workdir, asked.score)
    plain = of_run(asked.workdir, 'mcp')[:2]
    if asked.page:
        print(write_page(asked.page, asked.workdir, evaluation, policy, reference, asked.score))
    start = time.process_time()
    sets = shifted_sets(asked.workdir, evaluation, asked.score)
    print_accuracies(sets, plain, (policy, reference))
    print_image_delays(sets, policy, reference, asked.repeats)
    print(f'{time.process_time() - start:.0f} s of processor time')


if __name__ == '__main__':
    main()
