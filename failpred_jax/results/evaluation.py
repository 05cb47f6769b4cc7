"""One evaluation in memory: what was measured, where it comes from, and the arrays behind it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from failpred_jax.results.decisions import Decided, SeedDecided
from failpred_jax.results.description import RunDescription
from failpred_jax.results.failing import Failing
from failpred_jax.results.fits import KeptFits
from failpred_jax.results.labelled import Labelled
from failpred_jax.results.measures import ClassifierResult, Measures, ScoreResult
from failpred_jax.results.shift_seeds import ShiftedSeeds
from failpred_jax.results.shifted import Shifted


@dataclass(frozen=True)
class About:
    """What is known of units besides what was predicted of them; each [N], or None.

    Attributes:
      ids: words, what each unit is called.
      group: words or numbers, equal for units that belong together: they are resampled together.
      weight: float64, 0 or greater, what each unit counts.
      columns: name -> words, numbers or truth values, by which units can be told apart.
    """

    ids: np.ndarray | None = None
    group: np.ndarray | None = None
    weight: np.ndarray | None = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Predictions:
    """Units of one split with what was predicted of them.

    Attributes:
      labels: [N] int32; empty, as the logits are, where only what is right is known.
      logits: [N, C] float32.
      correct: [N] bool, or float grades in [0, 1].
      confidences: score name -> [N] of any real type, higher means more confident.
      about: what is known of the units besides.
      probs: [N, C] float32, the class probabilities where they were given; None where they are the logits' softmax.
    """

    labels: np.ndarray
    logits: np.ndarray
    correct: np.ndarray
    confidences: Mapping[str, np.ndarray] = field(default_factory=dict)
    about: About = field(default_factory=About)
    probs: np.ndarray | None = None


@dataclass(frozen=True)
class SeedResult:
    """What was measured with one seed of several."""

    seed: int
    measures: Measures


@dataclass(frozen=True)
class Evaluation:
    """The evaluation folder in memory: all that the report reads.

    Attributes:
      measures: metrics.json.
      run: context.json.
      test: the evaluated units; of a segmentation, a uniform sample of the pixels.
      validation: the units that scores were fitted on, with their confidences, each by a fit that has not seen the
        label of the unit; None where there are none.
      images: [N, H, W, channels] uint8 of the test units, or None where they were not kept.
      history: stage -> {column: [values]}, the stages' metrics.csv.
      maps: segmentation only: name -> array for a few images; see results/folder.py.
      augmented: name -> array of a few training images under random changes; None where training makes none.
      seeds: of several seeds, each one's measures.
      calibration: the units for certificates alone, with their confidences by the fits on the validation units; None
        where there are none. Of a segmentation a sample of pixels, of which those of one image err together: a
        certificate that takes them for independent does not hold.
      fits: what was fitted, on its way to the folder `fitted`, from where `read_fits` alone reads it; None where it is
        not kept.
      decisions: what was decided, or None; it lives in a folder of its own, see results/decisions.py.
      seed_decisions: of several seeds, what was decided with each; it lives in the seeds' folders.
      labelled: labels that were asked for, came back, or are doubted; each in a folder of its own, see
        results/labelled.py.
      failing: slices in which the model fails more often; see results/failing.py.
      shifted: what was measured on shifted inputs, or None; it lives in the folder `shift`, see results/shifted.py.
      strangers: gallery.npz of that folder; empty without one.
      shifted_seeds: of several seeds, what they say together of shifted inputs; see results/shift_seeds.py.
    """

    measures: Measures
    run: RunDescription
    test: Predictions
    validation: Predictions | None = None
    images: np.ndarray | None = None
    history: Mapping[str, Mapping[str, list]] = field(default_factory=dict)
    maps: Mapping[str, np.ndarray] | None = None
    augmented: Mapping[str, np.ndarray] | None = None
    seeds: tuple[SeedResult, ...] = ()
    calibration: Predictions | None = None
    fits: KeptFits | None = None
    decisions: Decided | None = None
    seed_decisions: tuple[SeedDecided, ...] = ()
    labelled: tuple[Labelled, ...] = ()
    failing: tuple[Failing, ...] = ()
    shifted: Shifted | None = None
    strangers: Mapping[str, np.ndarray] = field(default_factory=dict)
    shifted_seeds: ShiftedSeeds | None = None

    @property
    def classifier(self) -> ClassifierResult:
        """How good the classifier itself is."""
        return self.measures.classifier

    @property
    def scores(self) -> Mapping[str, ScoreResult]:
        """Score -> how well it finds the errors."""
        return self.measures.scores

    def with_role(self, role: str) -> list[str]:
        """Return the scores of a role, in the order of the table."""
        return [name for name, found in self.scores.items() if found.role == role]
