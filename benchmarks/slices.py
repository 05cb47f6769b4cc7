"""Slices: how often something is found where nothing is, and how well planted slices are found.

  python -m benchmarks.slices [--runs=200] [--only=null,groups,planted,grown]

`null`: errors depend on the confidence alone; `groups`: units of 1,000 groups err together. `planted` hides two
slices: a pair of columns (site b over 60), and a cluster of features. precision@10, as in Domino (Eyuboglu et al.,
ICLR 2022): of the ten units that are shown first of the found slice that fits a planted one best, the share that
belongs to it; 0 where none is confirmed. `grown` compares two files without labels.
"""

import argparse
import time
from typing import NamedTuple

import numpy as np

from failpred_jax.sliced import exemplars
from failpred_jax.slicing import SliceUnits, find_failing, find_grown

UNITS = 4_000


class Planted(NamedTuple):
    """Units, and the masks of what is hidden in them."""

    units: SliceUnits
    hidden: dict[str, np.ndarray]


def make_units(seed: int, is_planted: bool, units: int = UNITS, groups: int = 0) -> Planted:
    """Return units with five columns, 16 features in ten clouds, a confidence and a class; about 9 % are wrong.

    With `groups`, units of a group are wrong together: one draw decides for most of it.
    """
    rng = np.random.default_rng(seed)
    site, age = rng.choice(list('abcdef'), units), rng.uniform(0, 90, units)
    cloud = rng.integers(0, 10, units)
    features = 3 * rng.standard_normal((10, 16))[cloud] + rng.standard_normal((units, 16))
    confidence = rng.random(units)
    rate = 0.04 + 0.1 * (1 - confidence)
    hidden = {'site and age': (site == 'b') & (age > 60), 'cloud': cloud == 3}
    if is_planted:
        rate = np.where(hidden['site and age'] | hidden['cloud'], 0.4, rate)
    luck, group = rng.random(units), None
    if groups:
        group = rng.integers(0, groups, units)
        luck = np.where(rng.random(units) < 0.8, rng.random(groups)[group], luck)
        rate = np.full(units, 0.1)
        # What belongs together is alike, as the images of a patient are.
        site = np.array(list('abcdef'))[group % 6]
        features += 2 * rng.standard_normal((groups, 16))[group]
    columns = {
        'site': site, 'age': age, 'device': rng.choice(['x', 'y', 'z'], units), 'dose': rng.integers(0, 4, units),
        'weight': rng.normal(70, 10, units),
    }  # fmt: skip
    predicted = rng.integers(0, 5, units).astype(str)
    return Planted(SliceUnits(luck < rate, confidence, predicted, columns, features, group), hidden)


def finds_nothing(seed: int, **how) -> bool:
    """Return whether nothing is confirmed where there is nothing."""
    found = find_failing(make_units(seed, False, **how).units, seed=seed)
    return not any(one.is_confirmed for one, _ in found.slices)


def precision_at_10(seed: int, units: int = UNITS) -> dict[str, float]:
    """Return the precision of the ten first exemplars for each planted slice."""
    made = make_units(seed, True, units)
    found = find_failing(made.units, seed=seed)
    confirmed = [mask for one, mask in found.slices if one.is_confirmed]
    shares = {}
    for name, hidden in made.hidden.items():
        fits = [(mask & hidden).sum() / (mask | hidden).sum() for mask in confirmed]
        if not fits:
            shares[name] = 0.0
            continue
        shown = exemplars(made.units, found.distance, confirmed[int(np.argmax(fits))])
        shares[name] = float(hidden[shown[:10]].mean())
    return shares


def grown(seed: int, is_planted: bool, units: int = UNITS) -> tuple[bool, float]:
    """Return whether anything is confirmed between two files, and the precision@10 of its first slice.

    What is planted: a cloud that the reference hardly has becomes a tenth of the new units, with low confidence.
    """
    old, new = make_units(2 * seed, False, units), make_units(2 * seed + 1, False, units)
    reference, later = old.units, new.units
    rng = np.random.default_rng([seed, 5])
    strange = np.zeros(units, bool)
    # Both files are of one world: the same clouds.
    clouds = np.random.default_rng([seed, 9]).standard_normal((11, 16)) * 3
    places = [rng.integers(0, 10, units) for _ in range(2)]
    places[0][: units // 100] = 10
    confidences = [reference.confidence, later.confidence]
    assert confidences[0] is not None and confidences[1] is not None
    confidences[0][: units // 100] *= 0.3
    if is_planted:
        strange[: units // 10] = True
    else:
        strange[: units // 100] = True
    places[1][strange] = 10
    confidences[1][strange] *= 0.3
    made = [
        SliceUnits(None, c, u.predicted, u.columns, clouds[p] + rng.standard_normal((units, 16)))
        for c, u, p in zip(confidences, (reference, later), places, strict=True)
    ]
    found = find_grown(made[0], made[1], seed=seed)
    confirmed = [mask for one, mask in found.slices if one.is_confirmed]
    if not confirmed:
        return False, 0.0
    return True, float(strange[exemplars(made[1], found.distance, confirmed[0])[:10]].mean())


def main() -> None:
    """Print one line for each question."""
    parser = argparse.ArgumentParser(description='null and planted slices')
    parser.add_argument('--runs', type=int, default=200)
    parser.add_argument('--only', default='null,groups,planted,grown')
    given = parser.parse_args()
    runs, only, began = given.runs, given.only.split(','), time.process_time()
    for name, how in {'null': {}, 'groups': {'groups': 1000}}.items():
        if name in only:
            nothing = sum(finds_nothing(seed, **how) for seed in range(runs))
            print(f'{name}: nothing found in {nothing} of {runs} runs', flush=True)
    if 'planted' in only:
        found = [precision_at_10(seed) for seed in range(runs)]
        for name in found[0]:
            _tell(f'planted, {name}', np.array([one[name] for one in found]))
    if 'grown' in only:
        nothing = sum(not grown(seed, False)[0] for seed in range(runs))
        print(f'grown, null: nothing found in {nothing} of {runs} runs', flush=True)
        _tell('grown, planted', np.array([grown(seed, True)[1] for seed in range(runs)]))
    print(f'{time.process_time() - began:.0f} s of processor time')


def _tell(what: str, shares: np.ndarray) -> None:
    print(
        f'{what}: precision@10 {shares.mean():.3f} (found in {np.mean(shares > 0):.1%} of {len(shares)} runs)',
        flush=True,
    )


if __name__ == '__main__':
    main()
