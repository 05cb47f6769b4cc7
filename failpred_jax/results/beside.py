"""What stands beside an evaluation in its WORKDIR and is shown on the same page, each in a folder of its own."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from failpred_jax.results import failing, labelled
from failpred_jax.results.decisions import POLICY, read_decisions
from failpred_jax.results.evaluation import Evaluation
from failpred_jax.results.shift_seeds import SEEDS, read_shifted_seeds
from failpred_jax.results.shifted import SHIFT, read_gallery, read_shifted

DECISIONS = 'decisions'
SHIFTED = 'shift'
# Folders of a WORKDIR that belong to its evaluation.
FOLDERS = (DECISIONS, labelled.FOLDER, failing.FOLDER, SHIFTED)


def with_beside(evaluation: Evaluation, workdir: Path) -> Evaluation:
    """Return an evaluation with what its WORKDIR holds beside it.

    Raises:
      UserError: something there is damaged.
    """
    found = {
        'decisions': read_decisions(workdir / DECISIONS),
        'labelled': labelled.read_labelled(workdir / labelled.FOLDER),
        'failing': failing.read_failing(workdir / failing.FOLDER),
        'shifted': read_shifted(workdir / SHIFTED),
        'strangers': read_gallery(workdir / SHIFTED),
        'shifted_seeds': read_shifted_seeds(workdir / SHIFTED),
    }
    known = {name: value for name, value in found.items() if value}
    return dataclasses.replace(evaluation, **known) if known else evaluation


def files_beside(workdir: Path) -> Iterator[Path]:
    """Yield the files that are written last of what is there, by whose age a page can tell whether it is up to date."""
    if (workdir / DECISIONS / POLICY).exists():
        yield workdir / DECISIONS / POLICY
    for name in (SHIFT, SEEDS):
        if (workdir / SHIFTED / name).exists():
            yield workdir / SHIFTED / name
    yield from (workdir / labelled.FOLDER).glob(f'*/{labelled.LABEL}')
    yield from (workdir / failing.FOLDER).glob(f'*/{failing.SLICES}')
