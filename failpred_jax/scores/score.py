"""What a confidence score is, what it may read, and the decorator that registers one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from failpred_jax.errors import DeclarationError, ScoreUnavailableError, nearest
from failpred_jax.registry import SCORES
from failpred_jax.scores.bank import Bank, make_bank
from failpred_jax.types import Array, PyTree

ScoreFn = Callable[..., Array]
ROLES = ('', 'baseline', 'learned', 'bound')


class Shared:
    """What several scores need of the same units, made once: results of functions, by function and arguments."""

    def __init__(self):
        self._made: dict[tuple, tuple[tuple, Any]] = {}

    def get(self, make: Callable[..., Any], given: Any, of: tuple) -> Any:
        """Return `make(given, *of)`, made now or before."""
        key = (make, *map(_identity, of))
        if key not in self._made:
            self.put(make, of, make(given, *of))
        return self._made[key][1]

    def put(self, make: Callable[..., Any], of: tuple, value: Any) -> None:
        """Keep what `make` would find, and the arguments with it, so that no other takes their identity."""
        self._made[make, *map(_identity, of)] = (of, value)


def _identity(argument: Any) -> Any:
    try:
        hash(argument)
    except TypeError:
        return id(argument)
    return argument


class SampleSummary(NamedTuple):
    """What several predictive distributions of the same units (dropout passes, ensemble members) leave behind.

    T distributions are summed as they come, so memory does not grow with T.

    Attributes:
      mean_probs: [..., C] float32, mean over T of the class probabilities.
      mean_entropy: [...] float32, mean over T of the entropy in nats.
      variance: [...] float32, variance over T of the probability of each class, averaged over classes.
      mean_log_probs: [..., C] float32, mean over T of the logarithms of the class probabilities, whose softmax is that
        of the mean logits; None where it was not kept.
    """

    mean_probs: Array
    mean_entropy: Array
    variance: Array
    mean_log_probs: Array | None = None


class ScoreInputs(NamedTuple):
    """What scores may read of the evaluated units. A score declares the fields it needs; the others may be None.

    Attributes:
      logits: [N, C] float32; log-probabilities where `probabilities` are given.
      features: [N, D] float32.
      confidence_logit: [N] float32 of the head trained on the frozen encoder.
      finetuned_logit: [N] float32 of the head with its own fine-tuned encoder.
      mc_dropout: SampleSummary over dropout passes.
      ensemble: SampleSummary over the classifiers of several seeds.
      labels: [N] int32. Only for scores that are marked as reading the label.
      columns: score name -> [N], the values of the other scores for these units (bounds left out), and of the user's
        own. Filled for scores that combine others, in an evaluation; None elsewhere. Of the validation units they come
        from fits that have not seen the label of the unit (scores/crossfit.py).
      shared: what scores have found of these units besides their values; see `once`. None where each finds it itself.
      probabilities: [N, C] float32 in [0, 1] as somebody gave them, who need not have divided them by their sums; None
        where they follow from the logits. A score that needs 'logits' may read them (scores/given.py): exponentials of
        logarithms tell units apart that are equal.
    """

    logits: Array
    features: Array | None = None
    confidence_logit: Array | None = None
    finetuned_logit: Array | None = None
    mc_dropout: SampleSummary | None = None
    ensemble: SampleSummary | None = None
    labels: Array | None = None
    columns: Mapping[str, Array] | None = None
    shared: Shared | None = None
    probabilities: Array | None = None

    def once(self, make: Callable[..., Any], *of: Any) -> Any:
        """Return `make(self, *of)`, which is not made again for the next score that asks."""
        return make(self, *of) if self.shared is None else self.shared.get(make, self, of)

    def get(self, field: str) -> Any:
        """Return a field that must be there; ScoreUnavailableError where it is None."""
        value = getattr(self, field)
        if value is None:
            raise ScoreUnavailableError(f"'{field}' of these units is missing")
        return value


class Fit(NamedTuple):
    """What fitting a score left. A plain (fitted, notes) does as well.

    Attributes:
      fitted: pytree of arrays, handed to the score.
      notes: sentences for the reader of the table (a chosen constant, a fallback).
      candidates: where the fit chose one of a few constants by validation AURC: [N, J], the confidence of the
        validation units under each, so that the choice can be made again without some of the units.
      default: which candidate is taken where the AURC does not tell them apart.
    """

    fitted: PyTree
    notes: tuple[str, ...] = ()
    candidates: Array | None = None
    default: int = 0


FitResult = Fit | tuple[PyTree, tuple[str, ...]]


def as_fit(found: FitResult) -> Fit:
    """Return what a fit returned as a Fit."""
    return found if isinstance(found, Fit) else Fit(*found)


class FitInputs(NamedTuple):
    """What a score may be fitted on: never the test set.

    Attributes:
      val: the validation units, and their labels [N] int32 in `val_labels`.
      train: the training units (evaluation mode, no augmentation), and `train_labels`. Only `logits` and
        `features` are filled. None where the run cannot offer them.
      key: PRNG key for whatever is random in a fit.
      bank: training units that all scores of an evaluation measure distances to; see `bank_of`.
      shared: what fits have found of the training units alone; see `once`. None where each finds it itself.
    """

    val: ScoreInputs
    val_labels: Array
    train: ScoreInputs | None
    train_labels: Array | None
    key: Array
    bank: Bank | None = None
    shared: Shared | None = None

    def once(self, make: Callable[..., Any], *of: Any) -> Any:
        """Return `make(self, *of)`, which reads training units alone and is not made again for the next fit."""
        return make(self, *of) if self.shared is None else self.shared.get(make, self, of)

    def bank_of(self, name: str, holds: frozenset[str]) -> Bank:
        """Return a bank of training units that holds what the score `name` reads of them; see bank.py.

        Raises:
          ScoreUnavailableError: there are no training units.
        """
        if self.bank is not None and holds <= set(self.bank.holds):
            return self.bank
        return make_bank(*self.training(name), self.val.logits.shape[-1], self.key, holds)

    def training(self, name: str) -> tuple[Array, Array]:
        """Return the features [M, D] and labels [M] of the training units.

        Raises:
          ScoreUnavailableError: there are none; the message says that the score `name` needs them.
        """
        if self.train is None or self.train.features is None or self.train_labels is None:
            raise ScoreUnavailableError(f'{name} needs the features of the training set')
        return self.train.features, self.train_labels


@dataclass(frozen=True)
class MeasuresDistances:
    """What a score reads of the distances to training units, said beforehand, so that one pass serves all scores.

    Attributes:
      holds: what the bank has to hold; see bank.py.
      to_fit: what the fit asks for the validation units; see distances.py.
      of_units: fitted -> (bank, question) of `fn`, or None where it asks for nothing.
    """

    holds: frozenset[str]
    to_fit: Any
    of_units: Callable[[PyTree], tuple[Bank, Any] | None]


@dataclass(frozen=True)
class Score:
    """One confidence score.

    Attributes:
      name: the key in tables and files.
      fn: `fn(inputs) -> [N] float32`, or `fn(inputs, fitted) -> [N]` where `fit` is given. Higher means more confident.
      needs: fields of ScoreInputs that `fn` (and `fit`, of the validation units) reads.
      fit: `fit(FitInputs) -> Fit`, or (fitted, notes). Raises ScoreUnavailableError, with the reason, where there is
        none.
      fits_on_train: whether `fit` reads the training units too.
      reads_val_labels: whether `fit` reads the labels of the validation units, so that the score is too good on them.
      needs_raw_logits: whether it means nothing for the logarithms of probabilities, which have lost the scale of the
        logits.
      description: one line for the report.
      reference: paper and equation.
      role: 'baseline' (what costs nothing to have, against which others are compared), 'learned' (a trained confidence
        head), 'bound' (reads the label: an upper bound, marked as such wherever it is shown), or ''.
      is_probability: whether the value is meant as P(correct), so that its calibration can be judged.
      estimates: what the value was trained to predict where that is not P(correct), such as 'the true class
        probability'; its calibration is then shown with this beside it. '' for none.
      per_pixel: whether it makes sense for segmentation.
      ranks_errors: False for a score that only tells inputs unlike the training ones, and need not rank errors.
      distances: what it reads of the distances to training units, which are then measured once for all scores; None
        for a score that reads none, or measures them itself.
      shares: whether `fn` reads what several scores share (`ScoreInputs.once`). It is then given all units at once, and
        has to take many of them some at a time itself. Always so with `distances`.
    """

    name: str
    fn: Callable[..., Array]
    needs: frozenset[str]
    description: str
    reference: str
    fit: Callable[[FitInputs], FitResult] | None = None
    fits_on_train: bool = False
    reads_val_labels: bool = True
    needs_raw_logits: bool = False
    role: str = ''
    is_probability: bool = False
    estimates: str = ''
    per_pixel: bool = True
    ranks_errors: bool = True
    distances: MeasuresDistances | None = None
    shares: bool = False

    def __post_init__(self):
        if self.role not in ROLES:
            raise DeclarationError(
                f"score '{self.name}' has the role '{self.role}'; allowed: {', '.join(map(repr, ROLES))}"
            )
        if self.reads_label != ('labels' in self.needs):
            raise DeclarationError(f"score '{self.name}': a score is a 'bound' exactly if it needs 'labels'")

    @property
    def reads_label(self) -> bool:
        """Whether the score is an upper bound."""
        return self.role == 'bound'

    @property
    def combines(self) -> bool:
        """Whether the score reads the values of others, and so comes after them."""
        return 'columns' in self.needs


def _check_needs(name: str, needs: frozenset[str]) -> None:
    for wrong in sorted(needs - set(ScoreInputs._fields)):
        allowed = [field for field in ScoreInputs._fields if field != 'shared']
        raise DeclarationError(
            f"score '{name}' needs '{wrong}'{nearest(wrong, allowed)} (allowed: {', '.join(allowed)})"
        )


def score(
    name: str,
    *,
    needs: Iterable[str],
    description: str,
    reference: str,
    fit: Callable[[FitInputs], FitResult] | None = None,
    fits_on_train: bool = False,
    reads_val_labels: bool = True,
    needs_raw_logits: bool = False,
    role: str = '',
    is_probability: bool = False,
    estimates: str = '',
    per_pixel: bool = True,
    ranks_errors: bool = True,
    distances: MeasuresDistances | None = None,
    shares: bool = False,
) -> Callable[[ScoreFn], ScoreFn]:
    """Return a decorator that files a function in SCORES and hands it back unchanged.

    Args:
      name: the key in tables and files.
      needs: names of the fields of ScoreInputs that the function, and `fit`, read.
      description: one line for the report.
      reference: paper and equation.
      fit: see `Score`, as all that follows.

    Raises:
      DeclarationError: `name` is taken, `needs` names what is no field of ScoreInputs, or `role` does not fit.
    """
    needs = frozenset(needs)
    _check_needs(name, needs)

    def add(fn: ScoreFn) -> ScoreFn:
        entry = Score(
            name=name,
            fn=fn,
            needs=needs,
            description=description,
            reference=reference,
            fit=fit,
            fits_on_train=fits_on_train,
            reads_val_labels=reads_val_labels,
            needs_raw_logits=needs_raw_logits,
            role=role,
            is_probability=is_probability,
            estimates=estimates,
            per_pixel=per_pixel,
            ranks_errors=ranks_errors,
            distances=distances,
            shares=shares or distances is not None,
        )
        SCORES.register(name)(entry)
        return fn

    return add


def with_role(role: str) -> list[str]:
    """Return the names of the registered scores of a role."""
    return [name for name in SCORES if SCORES[name].role == role]
