"""The report: one self-contained page to read, figures as PNG, and tables as CSV.

`build` makes it from `results.Evaluation`. Every figure is also a function of plain arrays, for notebooks: see the
modules `figures_*` and docs/notebook.md. A new section is one file in `sections/`. plotly is imported by those modules,
and only when `build` is called.
"""

from pathlib import Path

from failpred_jax.console import phase
from failpred_jax.results import Evaluation


def build(evaluation: Evaluation, folder: Path, *, png: bool = True) -> Path:
    """Write the report of an evaluation and return the path of its page.

    Args:
      evaluation: in memory. Optional parts may be absent: the page then says what is missing.
      folder: created if missing. Gets `index.html`, one CSV per table, and `figures/*.png`; existing files are
        replaced, each as a whole.
      png: whether to export figures as PNG; without a browser for it, one message says so.

    Raises:
      OSError: the folder cannot be written.
    """
    from failpred_jax.report import page  # plotly costs time and memory: pay when a report is made

    with phase('building the report'):
        return page.build(evaluation, Path(folder), png=png)
