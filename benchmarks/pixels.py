"""Time and memory of the evaluation of a segmenter, from one image to CamVid's whole test set.

  python benchmarks/pixels.py [--images 30 120 233]

Label maps and logits of 360 x 480 pixels and 12 classes are made up image by image, so that what is measured is the
evaluation itself: scores, counts, confusion matrix, calibration, intervals, maps. Memory is the peak of the process
beyond what it held before the evaluation began; each size runs in a process of its own.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np

SIZE, NUM_CLASSES, VOID = (360, 480), 12, 11
SCORES = ('mcp', 'entropy', 'margin', 'doctor_alpha', 'doctor_beta', 'energy', 'max_logit', 'tcp')


class MadeUp:
    """Stands in for evaluate.collect.Reader: logits that lean to the label, drawn anew for each image by its number."""

    def __init__(self, labels: np.ndarray):
        self.labels = labels

    def logits(self, number: int) -> np.ndarray:
        rng = np.random.default_rng(number)
        logits = rng.standard_normal((*SIZE, NUM_CLASSES), np.float32)
        lead = 3 + rng.standard_normal((*SIZE, 1), np.float32)
        at = self.labels[number][..., None].astype(np.int64)
        np.put_along_axis(logits, at, np.take_along_axis(logits, at, -1) + lead, -1)
        return logits

    def batches(self, examples, numbers=None, places=None):
        from failpred_jax.scores.score import ScoreInputs

        for number in range(len(examples.labels)) if numbers is None else numbers:
            yield ScoreInputs(logits=self.logits(number)[None]), 1


def peak_mb() -> float:
    """Return the largest memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(num_images: int) -> None:
    """Evaluate so many images and print a row of the table."""
    from failpred_jax.config import EvaluateConfig
    from failpred_jax.evaluate.measure import measure as measure_parts
    from failpred_jax.evaluate.parts import Part, Parts, PixelStream
    from failpred_jax.evaluate.scoring import make_plan
    from failpred_jax.scores.score import ScoreInputs
    from failpred_jax.types import DatasetInfo, Examples

    labels = np.random.default_rng(0).integers(0, NUM_CLASSES, (num_images, *SIZE)).astype(np.uint8)
    reader = MadeUp(labels)
    # Images are never read here; one is shown for all.
    test = Examples(np.broadcast_to(np.zeros((), np.uint8), (num_images, *SIZE, 3)), labels)
    info = DatasetInfo('made up', 'segmentation', (*SIZE, 3), tuple(map(str, range(NUM_CLASSES))), VOID)
    val = Part(
        ScoreInputs(logits=reader.logits(0).reshape(-1, NUM_CLASSES)[:100_000]),
        labels[0].reshape(-1)[:100_000].astype(np.int32),
    )
    parts = Parts('segmentation', PixelStream(reader, test, info, seed=0), val)
    plan = make_plan(SCORES, {}, 'segmentation')
    before, started = peak_mb(), time.perf_counter()
    found = measure_parts(parts, plan, EvaluateConfig()).measures
    seconds = time.perf_counter() - started
    mcp = found.scores['mcp']
    limits = mcp.limits['aurc']
    print(
        f'| {num_images} | {found.classifier.num_units:,} | {seconds:.0f} s | '
        f'{seconds / num_images * 1000:.0f} ms | {peak_mb() - before:.0f} MB | '
        f'{mcp.metrics["aurc"]:.6f} ({limits.low:.6f}, {limits.high:.6f}) |'
    )


def main() -> None:
    """Run every size in a process of its own, since the peak of a process never falls."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, nargs='+', default=[30, 120, 233])
    parser.add_argument('--one', type=int, help='measure this many images here, without the heading')
    given = parser.parse_args()
    if given.one:
        measure(given.one)
        return
    print(f'{len(SCORES)} scores, 1,000 resamples of whole images\n')
    print('| images | valid pixels | time | an image | peak memory | AURC of mcp (limits) |')
    print('|---|---|---|---|---|---|', flush=True)
    for num_images in given.images:
        subprocess.run([sys.executable, __file__, '--one', str(num_images)], check=True)


if __name__ == '__main__':
    main()
