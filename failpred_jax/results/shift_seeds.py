"""What several seeds say together of shifted inputs, in the folder `shift` of their WORKDIR.

seeds.json   mean and spread of every figure over seeds, and in how many of them a score beats the reference
seeds.md     score x shift for people
seeds.csv    one row per shifted set, setting, score and metric; each seed's own figures are in seed_K/shift
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.files import DAMAGE, read_json, whole_files, write_json, write_text
from failpred_jax.results import plain
from failpred_jax.results.measures import Spread
from failpred_jax.results.rows import to_csv

SEEDS = 'seeds.json'


@dataclass(frozen=True)
class ShiftSpread:
    """One figure over seeds.

    Attributes:
      mean: over seeds; NaN where one of them has none.
      std: sample standard deviation over seeds; NaN for one seed.
      wins: seeds in which the score is better than the reference; NaN for the reference itself, or without one.
      best: seeds in which no score is better.
    """

    mean: float = np.nan
    std: float = np.nan
    wins: float = np.nan
    best: float = np.nan


# metric -> figure.
Figures = Mapping[str, ShiftSpread]


@dataclass(frozen=True)
class SetOverSeeds:
    """One shifted set that every seed was measured on.

    Attributes:
      name, description, is_strangers, units: as of the set of one seed.
      accuracy: of labeled units.
      scores: score -> setting -> figures.
    """

    name: str
    description: str
    is_strangers: bool
    units: int
    accuracy: Spread = field(default_factory=Spread)
    scores: Mapping[str, Mapping[str, Figures]] = field(default_factory=dict)


@dataclass(frozen=True)
class ShiftedSeeds:
    """All that several seeds say of shifted inputs.

    Attributes:
      seeds: the seeds, rising.
      reference: the score that the others are compared with; '' for none, or where seeds differ in it.
      errors: score -> figures of the test set alone.
      sets: the shifted sets that every seed has.
      strangers: score -> AURC with 10 % strangers, the mean over all sets of strangers.
      notes: sentences.
    """

    seeds: tuple[int, ...]
    reference: str = ''
    errors: Mapping[str, Figures] = field(default_factory=dict)
    sets: tuple[SetOverSeeds, ...] = ()
    strangers: Mapping[str, ShiftSpread] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def write_shifted_seeds(found: ShiftedSeeds, table: str, folder: Path) -> bool:
    """Write the files unless they hold the same already; return whether they were written."""
    content = plain.to_json(found)
    if _content(folder / SEEDS) == content:
        return False
    with whole_files(folder, last=SEEDS) as aside:
        write_text(aside / 'seeds.md', table)
        write_text(aside / 'seeds.csv', to_csv(rows_of(found)))
        write_json(aside / SEEDS, content)
    return True


def read_shifted_seeds(folder: Path) -> ShiftedSeeds | None:
    """Return what a folder holds, or None if it has no seeds.json.

    Raises:
      UserError: it is damaged.
    """
    if not (folder / SEEDS).exists():
        return None
    try:
        return plain.from_json(ShiftedSeeds, read_json(folder / SEEDS))
    except (*DAMAGE, plain.WrongTypeError) as error:
        raise UserError(
            f'{folder / SEEDS} cannot be read ({type(error).__name__}: {error}); remove it, and --mode=evaluate makes '
            'it again'
        ) from error


def _content(file: Path) -> Any:
    """Return what a JSON file holds; None for one that is missing or damaged."""
    try:
        return read_json(file)
    except (OSError, *DAMAGE):
        return None


def rows_of(found: ShiftedSeeds) -> Iterator[dict[str, Any]]:
    """Yield every figure as a row of seeds.csv."""
    alone = {score: {'errors': figures} for score, figures in found.errors.items()}
    whole = [('test', False, alone), *((one.name, one.is_strangers, one.scores) for one in found.sets)]
    for name, is_strangers, scores in whole:
        for score, settings in scores.items():
            for setting, figures in settings.items():
                for metric, value in figures.items():
                    yield {
                        'shift': name, 'kind': 'strangers' if is_strangers else 'labeled', 'setting': setting,
                        'score': score, 'metric': metric, 'mean': value.mean, 'std': value.std,
                        'seeds': len(found.seeds), 'better_than_reference': value.wins, 'best': value.best,
                    }  # fmt: skip
