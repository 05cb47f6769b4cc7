"""Slices in which a model fails more often: what was found on one half of the units and confirmed on the other.

Each search is a folder of its own in the WORKDIR's folder `slices`, which is never written over:

slices.json    what was searched and found (written last)
slices.csv     every slice that was put to the test, confirmed or not
exemplars.csv  units of the confirmed slices to look at
gallery.npz    their images, where they are at hand; sheet.png shows them
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.errors import numbered
from failpred_jax.files import whole_files, write_json, write_npz, write_text
from failpred_jax.results import plain
from failpred_jax.results.gallery import GALLERY, read_found
from failpred_jax.results.measures import Interval
from failpred_jax.results.rows import to_csv

FOLDER = 'slices'
SLICES, TABLE, EXEMPLARS, SHEET = 'slices.json', 'slices.csv', 'exemplars.csv', 'sheet.png'


@dataclass(frozen=True)
class FoundSlice:
    """A slice that was put to the test.

    Attributes:
      name: its conditions in words.
      units: of the slice in the testing half (all new units of that half, where there are no labels).
      errors: wrong predictions among them (units of this kind and of low confidence, where there are no labels).
      rate: their share.
      interval: exact, 95 %, for itself.
      baseline: the rate that it is compared with.
      lift: rate over baseline.
      p_value: exact, one-sided.
      p_adjusted: by Holm, over all that were tested.
      is_confirmed: whether p_adjusted is at most alpha.
      found_units, found_rate: the same of the searching half (of the reference, where there are no labels).
      exemplars: places of its exemplars among the rows of exemplars.csv: first, and how many.
    """

    name: str
    units: int = 0
    errors: int = 0
    rate: float = np.nan
    interval: Interval = Interval(np.nan, np.nan)
    baseline: float = np.nan
    lift: float = np.nan
    p_value: float = 1.0
    p_adjusted: float = 1.0
    is_confirmed: bool = False
    found_units: int = 0
    found_rate: float = np.nan
    exemplars: tuple[int, ...] = ()


@dataclass(frozen=True)
class Failing:
    """One search for slices.

    Attributes:
      kind: 'errors', or 'grown' for clusters of low confidence that grew.
      name: of its folder.
      unit: what is tested, 'units' or 'groups'.
      units: of all.
      searched: of the half that was searched; the other one tested.
      rate: of errors (of low confidence) in the testing half.
      tried: slices that the search looked at.
      columns: that were searched.
      alpha: the probability of any slice that is none.
      seed: of the halves.
      made: date and time.
      source: from where the predictions are.
      slices: those that were tested, confirmed ones first.
      rows: exemplars.
      notes: sentences.
      images: [R, H, W, channels] uint8 of the exemplars, or None.
    """

    kind: str
    name: str = ''
    unit: str = 'units'
    units: int = 0
    searched: int = 0
    rate: float = np.nan
    tried: int = 0
    columns: tuple[str, ...] = ()
    alpha: float = 0.05
    seed: int = 0
    made: str = ''
    source: str = ''
    slices: tuple[FoundSlice, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    images: np.ndarray | None = field(default=None, repr=False)

    @property
    def confirmed(self) -> tuple[FoundSlice, ...]:
        """The slices that the test confirmed."""
        return tuple(one for one in self.slices if one.is_confirmed)


def wrong_line(one: FoundSlice, unit: str) -> str:
    """Return what the test says of a slice; `unit` is 'units' or 'groups'."""
    return (
        f'{one.rate:.1%} wrong ({one.interval.low:.1%} to {one.interval.high:.1%}), {one.lift:.2g} times '
        f'{one.baseline:.1%}; {numbered(one.units, unit.removesuffix("s"))}'
    )


def grown_line(one: FoundSlice, unit: str) -> str:
    """Return what the test says of a kind of low confidence; `unit` is 'units' or 'groups'."""
    before = f'{one.baseline:.1%} before ({one.lift:.2g} times)' if one.baseline else 'none before'
    return (
        f'{one.rate:.1%} of all {unit} now ({one.interval.low:.1%} to {one.interval.high:.1%}; {one.errors:,} of '
        f'{one.units:,}), {before}'
    )


def write_failing(found: Failing, folder: Path, sheet: bytes | None = None) -> Path:
    """Write a search into a new folder below `folder` (the WORKDIR's `slices`), and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    place, number = folder / found.name, 1
    while place.exists():
        number += 1
        place = folder / f'{found.name}-{number}'
    content = plain.to_json(replace(found, name=place.name, images=None))
    with whole_files(place, last=SLICES) as aside:
        write_text(aside / TABLE, to_csv((_grown if found.kind == 'grown' else _flat)(found.slices)))
        write_text(aside / EXEMPLARS, to_csv(found.rows))
        if found.images is not None:
            write_npz(aside / GALLERY, {'images': found.images})
        if sheet is not None:
            (aside / SHEET).write_bytes(sheet)
        write_json(aside / SLICES, content)
    return place


def _flat(slices: Sequence[FoundSlice]) -> list[dict[str, Any]]:
    return [
        {
            'slice': one.name, 'units': one.units, 'errors': one.errors, 'rate': one.rate, 'low': one.interval.low,
            'high': one.interval.high, 'baseline': one.baseline, 'lift': one.lift, 'p_value': one.p_value,
            'p_adjusted': one.p_adjusted, 'confirmed': int(one.is_confirmed), 'found_units': one.found_units,
            'found_rate': one.found_rate,
        }
        for one in slices
    ]  # fmt: skip


def _grown(slices: Sequence[FoundSlice]) -> list[dict[str, Any]]:
    """Return the rows of kinds of low confidence: what is counted are no errors, and of all units of the half."""
    return [
        {
            'kind': one.name, 'of_this_kind': one.errors, 'of_all': one.units, 'share': one.rate,
            'low': one.interval.low, 'high': one.interval.high, 'earlier_of_this_kind': one.found_units,
            'earlier_share': one.baseline, 'times': one.lift, 'p_value': one.p_value, 'p_adjusted': one.p_adjusted,
            'confirmed': int(one.is_confirmed),
        }
        for one in slices
    ]  # fmt: skip


def read_failing(folder: Path) -> tuple[Failing, ...]:
    """Return the searches of a WORKDIR's folder `slices`, the latest first; () if there is none.

    Raises:
      UserError: something in it is damaged.
    """
    found = [read_found(Failing, file) for file in folder.glob(f'*/{SLICES}')]
    return tuple(sorted(found, key=lambda one: (one.made, one.name), reverse=True))
