"""Time and memory of the failure metrics: ours, scikit-learn's, and a loop over thresholds.

    python benchmarks/metrics.py                        # 1e4 ... 1e7; about three minutes on 2 cores
    python benchmarks/metrics.py --sizes 1e6 1e7 4e7    # the sizes of the exponent that the README states
    python benchmarks/metrics.py --bootstrap 10000x25x256 100000x9x32

Ours is `failure_metrics` with all it finds (14 values); scikit-learn is `roc_auc_score` and two
`average_precision_score`; the loop visits every distinct threshold with whole-array operations, as the reference
implementation does for its AURC alone, and is left out above --loop-up-to. Every case runs in a process of its own, so
that its peak memory is its own: 'extra' is the peak during later calls less what the process held before them, divided
by the size of the input (5 bytes a unit: a float32 and a bool). The first call, which compiles ours, is timed apart.
Ratios and exponents are those of processor time.
"""

import argparse
import ctypes
import json
import math
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

BYTES_A_UNIT = 5
KINDS = ('ours', 'sklearn', 'loop')


def make_units(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return [size] float32 confidences in [0, 1] and correctness, correct about nine times in ten."""
    rng = np.random.default_rng(0)
    confidence = np.sqrt(np.sqrt(rng.random(size, dtype=np.float32)))
    return confidence, rng.random(size, dtype=np.float32) < 0.5 + confidence / 2


def ours(confidence: np.ndarray, correct: np.ndarray) -> None:
    from failpred_jax.metrics import failure_metrics

    failure_metrics(confidence, correct)


def sklearn(confidence: np.ndarray, correct: np.ndarray) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    roc_auc_score(correct, confidence)
    average_precision_score(correct, confidence)
    average_precision_score(~correct, -confidence)


def loop(confidence: np.ndarray, correct: np.ndarray) -> None:
    """Visit every threshold: selective risk and coverage from whole-array comparisons, quadratic in the size."""
    area, coverage_before, risk_before = 0.0, None, None
    for threshold in np.unique(confidence):
        accepted = confidence >= threshold
        coverage, risk = accepted.mean(), 1 - correct[accepted].mean()
        if coverage_before is not None:
            area += (coverage_before - coverage) * (risk_before + risk) / 2
        coverage_before, risk_before = coverage, risk


def resident() -> int:
    """Return the bytes of memory that this process holds now."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * resource.getpagesize()


class Peak:
    """The most memory this process held while a block ran, sampled every millisecond."""

    def __enter__(self) -> 'Peak':
        self.start = self.most = resident()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.001):
            self.most = max(self.most, resident())

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()
        self.most = max(self.most, resident())


def one_case(kind: str, size: int, repeats: int) -> dict[str, float]:
    """Run one case in this process: first call, best later call, extra memory of a later call."""
    confidence, correct = make_units(size)
    run = {'ours': ours, 'sklearn': sklearn, 'loop': loop}[kind]
    # Imports are not what is measured; a call on a few units brings them in.
    run(confidence[:8], np.arange(8) % 2 == 0)
    first = times = [timed(run, confidence, correct)]
    if kind != 'loop':
        # What the first call freed but the allocator kept would hide what later calls need.
        ctypes.CDLL(None).malloc_trim(0)
        with Peak() as peak:
            times = [timed(run, confidence, correct) for _ in range(repeats)]
    extra = (peak.most - peak.start) / (BYTES_A_UNIT * size) if kind != 'loop' else math.nan
    seconds, used = (min(kind) for kind in zip(*times, strict=True))
    return {'seconds': seconds, 'used': used, 'first': first[0][0], 'extra': extra}


def timed(
    run: Callable[[np.ndarray, np.ndarray], None], confidence: np.ndarray, correct: np.ndarray
) -> tuple[float, float]:
    """Return the seconds of one call: wall clock, and processor time."""
    start, used = time.perf_counter(), time.process_time()
    run(confidence, correct)
    return time.perf_counter() - start, time.process_time() - used


def bootstrap_case(case: str) -> None:
    """Print the time of a bootstrap, second call, of UNITSxSCORESxRESAMPLES: wall clock and processor time."""
    from failpred_jax.metrics import bootstrap

    size, num_scores, num_resamples = (int(x) for x in case.split('x'))
    rng = np.random.default_rng(0)
    correct = rng.random(size) < 0.9
    confidences = {f's{i}': (correct * 1.0 + rng.standard_normal(size)).astype(np.float32) for i in range(num_scores)}
    bootstrap(confidences, correct, num_resamples=num_resamples)
    wall, used = time.perf_counter(), time.process_time()
    bootstrap(confidences, correct, num_resamples=num_resamples)
    wall, used = time.perf_counter() - wall, time.process_time() - used
    visit = used / (size * num_scores * num_resamples)
    print(
        f'bootstrap {case}: {wall:.2f} s, processor time {used:.2f} s, {1e9 * visit:.1f} ns a unit, score and resample'
    )


def exponent(results: dict[int, float], above: float = 1e6) -> float:
    """Return the slope of log time over log size by least squares, over sizes of at least `above`."""
    points = [(math.log(size), math.log(seconds)) for size, seconds in results.items() if size >= above]
    if len(points) < 2:
        return math.nan
    x, y = np.array(points).T
    return float(np.polyfit(x, y, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sizes', type=float, nargs='+', default=[1e4, 1e5, 1e6, 1e7], help='numbers of units')
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=list(KINDS), help='what to run')
    parser.add_argument('--loop-up-to', type=float, default=1e4, help='largest size for the loop')
    parser.add_argument('--repeats', type=int, default=3, help='calls a case; the fastest counts')
    parser.add_argument('--case', nargs=2, metavar=('KIND', 'SIZE'), help='run one case here and print JSON')
    parser.add_argument('--bootstrap', nargs='+', default=[], metavar='UNITSxSCORESxRESAMPLES', help='time these alone')
    args = parser.parse_args()
    if args.bootstrap:
        for case in args.bootstrap:
            bootstrap_case(case)
        return
    if args.case:
        print(json.dumps(one_case(args.case[0], int(float(args.case[1])), args.repeats)))
        return
    found: dict[str, dict[int, dict[str, float]]] = {kind: {} for kind in args.kinds}
    print('| N | what | seconds | processor time | against ours | first call | extra memory / input |')
    print('|---|---|---|---|---|---|---|')
    for size in (int(x) for x in args.sizes):
        for kind in args.kinds:
            if kind == 'loop' and size > args.loop_up_to:
                continue
            command = [sys.executable, __file__, '--case', kind, str(size), '--repeats', str(args.repeats)]
            case = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            found[kind][size] = case
            # Of processor time, which other work on the machine disturbs less.
            ratio = case['used'] / found['ours'][size]['used'] if 'ours' in found else math.nan
            print(
                f'| {size:.0e} | {kind} | {case["seconds"]:.4g} | {case["used"]:.4g} | {ratio:.3g} | '
                f'{case["first"]:.3g} | {case["extra"]:.2f} |',
                flush=True,
            )
    for kind, cases in found.items():
        slope = exponent({size: case['used'] for size, case in cases.items()})
        if not math.isnan(slope):
            print(f'{kind}: time grows as N^{slope:.3f} (sizes from 1e6)')


if __name__ == '__main__':
    main()
