"""The report: one self-contained page that people read to the end, figures as PNG, and tables as CSV.

`build` makes it from a `Results`. Every figure is also a function of plain arrays, for notebooks: see the
modules `figures_*` and docs/notebook.md. plotly is imported by those modules, and only when `build` is called.
"""

from pathlib import Path

from failpred_jax.results import Results


def build(results: Results, folder: Path, *, png: bool = True) -> Path:
    """Write the report of an evaluation and return the path of its page.

    Args:
      results: the evaluation in memory. Optional parts may be absent: the page then says what is missing.
      folder: made if it is not there. Gets `index.html`, one CSV a table, and `figures/*.png`; files that are there
        are replaced, each whole.
      png: whether to export figures as PNG, where a browser for it is found; where none is, that is said once.

    Raises:
      OSError: if the folder cannot be written.
    """
    from failpred_jax.report import page  # plotly costs time and memory: pay when a report is made

    return page.build(results, Path(folder), png=png)
