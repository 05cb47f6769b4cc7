"""The decorator that turns a function into a registered score."""

from collections.abc import Callable, Iterable

from failpred_jax.registry import SCORES
from failpred_jax.types import Array, FitInputs, PyTree, Score, ScoreInputs

ScoreFn = Callable[..., Array]


def score(
    name: str,
    *,
    needs: Iterable[str],
    description: str,
    reference: str,
    fit: Callable[[FitInputs], tuple[PyTree, tuple[str, ...]]] | None = None,
    fits_on_train: bool = False,
    combines: bool = False,
    reads_label: bool = False,
    is_probability: bool = False,
    per_pixel: bool = True,
) -> Callable[[ScoreFn], ScoreFn]:
    """Return a decorator that files a function in SCORES and hands it back unchanged.

    Args:
      name: the key in tables and files.
      needs: names of the fields of ScoreInputs that the function, and `fit`, read.
      description: one line for the report.
      reference: paper and equation.
      fit: see types.Score, as all that follows.

    Raises:
      ValueError: if `name` is taken, or `needs` names what is no field of ScoreInputs.
    """
    needs = frozenset(needs)
    unknown = needs - set(ScoreInputs._fields)
    if unknown:
        raise ValueError(f"score '{name}' needs {sorted(unknown)}; ScoreInputs has {list(ScoreInputs._fields)}")

    def add(fn: ScoreFn) -> ScoreFn:
        entry = Score(
            name=name,
            fn=fn,
            needs=needs,
            description=description,
            reference=reference,
            fit=fit,
            fits_on_train=fits_on_train,
            combines=combines,
            reads_label=reads_label,
            is_probability=is_probability,
            per_pixel=per_pixel,
        )
        SCORES.register(name)(entry)
        return fn

    return add
