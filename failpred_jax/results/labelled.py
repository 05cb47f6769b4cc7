"""What labels were asked for, what those that came back say, and which labels are doubtful.

Each is a folder of its own in the WORKDIR's folder `labelling`, which is never written over:

label.json    what it is, its first rows, and what was found (written last)
<kind>.csv    to_label.csv, estimates.csv or label_issues.csv: all rows
design.npz    of an audit: every unit of the pool with P(correct) and the probability of being drawn
gallery.npz   images of the first rows, where they are at hand; sheet.png shows them
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.files import DAMAGE, read_npz, whole_files, write_json, write_npz, write_text
from failpred_jax.results import plain
from failpred_jax.results.gallery import GALLERY, read_found
from failpred_jax.results.measures import Interval
from failpred_jax.results.rows import to_csv

FOLDER = 'labelling'
LABEL, DESIGN, SHEET = 'label.json', 'design.npz', 'sheet.png'
TABLES = {'selection': 'to_label.csv', 'audit': 'estimates.csv', 'issues': 'label_issues.csv'}
# Rows that label.json holds, and the page shows.
MOST_SHOWN = 60


@dataclass(frozen=True)
class Rate:
    """An error rate, estimated from the labels of an audit; see label/estimate.py.

    Attributes:
      of: 'all predictions' or 'accepted predictions'.
      value, interval: the estimate.
      labels, errors: labels behind it, and wrong predictions among them.
      units: that it is about.
      uniform_width: of the interval of a uniform sample of as many labels.
      slope: 1 where the confidence is calibrated, below it where it is overconfident.
    """

    of: str
    value: float = np.nan
    interval: Interval = Interval(np.nan, np.nan)
    labels: int = 0
    errors: int = 0
    units: int = 0
    uniform_width: float = np.nan
    slope: float = np.nan


@dataclass(frozen=True)
class Labelled:
    """One request for labels, or what came of it.

    Attributes:
      kind: 'selection', 'audit' (the labels of one that came back) or 'issues'.
      name: of its folder.
      strategy: that chose, or the part whose labels are doubted.
      pool: digest of the units, which ties returned labels to them.
      units: their number.
      budget: how many labels were asked for.
      seed: of what is random.
      score: the confidence that is shown.
      made: date and time.
      source: from where the predictions are.
      candidates: of issues, how many labels confident learning doubts.
      accuracy: of issues, the share of predictions that agree with their label.
      rates: of an audit, what it found.
      rows: the first rows of the table.
      notes: sentences.
      images: [R, H, W, channels] uint8, of the first R rows; None where none are at hand.
    """

    kind: str
    name: str = ''
    strategy: str = ''
    pool: str = ''
    units: int = 0
    budget: int = 0
    seed: int = 0
    score: str = ''
    made: str = ''
    source: str = ''
    candidates: int = 0
    accuracy: float = np.nan
    rates: tuple[Rate, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    images: np.ndarray | None = field(default=None, repr=False)


def write_labelled(
    found: Labelled,
    rows: Sequence[Mapping[str, Any]],
    folder: Path,
    design: Mapping[str, np.ndarray] | None = None,
    sheet: bytes | None = None,
) -> Path:
    """Write what was found into a new folder below `folder` (the WORKDIR's `labelling`), and return it.

    What is there is never written over: a user may have filled it in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place, number = folder / found.name, 1
    while place.exists():
        number += 1
        place = folder / f'{found.name}-{number}'
    kept = replace(found, name=place.name, rows=tuple(rows[:MOST_SHOWN]), images=None)
    content = plain.to_json(kept)
    with whole_files(place, last=LABEL) as aside:
        write_text(aside / TABLES[found.kind], to_csv(rows))
        if design is not None:
            write_npz(aside / DESIGN, design)
        if found.images is not None:
            write_npz(aside / GALLERY, {'images': found.images})
        if sheet is not None:
            (aside / SHEET).write_bytes(sheet)
        write_json(aside / LABEL, content)
    return place


def read_labelled(folder: Path) -> tuple[Labelled, ...]:
    """Return what a WORKDIR's folder `labelling` holds, the latest first; () if there is none.

    Raises:
      UserError: something in it is damaged.
    """
    found = [read_found(Labelled, file) for file in folder.glob(f'*/{LABEL}')]
    return tuple(sorted(found, key=lambda one: (one.made, one.name), reverse=True))


def designs(folder: Path) -> Iterator[tuple[Labelled, dict[str, np.ndarray]]]:
    """Yield the audits whose labels may come back, the latest first, each with what it drew from."""
    for one in read_labelled(folder):
        file = folder / one.name / DESIGN
        if one.kind == 'selection' and file.exists():
            try:
                yield one, read_npz(file)
            except DAMAGE as error:
                raise UserError(f"'{file}' cannot be read ({error}); restore it, or draw a new audit") from error
