"""What an evaluation measures: the units of each split, wherever they come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import jax
import numpy as np

from failpred_jax.blocks import in_blocks
from failpred_jax.evaluate.collect import Reader
from failpred_jax.outcomes import is_correct
from failpred_jax.results import About
from failpred_jax.scores.score import ScoreInputs
from failpred_jax.types import Array, DatasetInfo, Examples


@dataclass(frozen=True)
class Part:
    """Units of one split, all in memory.

    Attributes:
      inputs: what scores read of them; `labels` and `columns` are filled in when scores are computed.
      labels: [N] int32 in [0, C); empty, as the logits are, where only `correct` is known.
      confidences: scores that came with the units, name -> [N] of any real type; ranked exactly, never rounded.
      correct: [N] bool, or float grades in [0, 1], as given; None where it follows from labels and logits.
      about: what is known of the units besides: what they belong to, their names, what they count.
    """

    inputs: ScoreInputs
    labels: np.ndarray
    confidences: Mapping[str, np.ndarray] = field(default_factory=dict)
    correct: np.ndarray | None = None
    about: About = field(default_factory=About)

    @property
    def has_classes(self) -> bool:
        """Whether labels and outputs are known, and not only what is right."""
        return len(self.labels) > 0

    def outcome(self) -> np.ndarray:
        """Return what is right: [N] bool, or float grades."""
        if self.correct is not None:
            return self.correct
        rows = np.asarray(self.inputs.logits), np.asarray(self.labels)
        return in_blocks(lambda of_block: is_correct(*of_block), rows)


@dataclass(frozen=True)
class PixelStream:
    """Test images of a segmentation, whose pixels are too many to be held.

    Attributes:
      reader: of everything that the scores need.
      examples: images and label maps.
      info: of the data set.
      seed: of the sample of pixels that is kept.
    """

    reader: Reader
    examples: Examples
    info: DatasetInfo
    seed: int


@dataclass(frozen=True)
class Parts:
    """The splits of an evaluation.

    Attributes:
      task: 'classification' or 'segmentation'.
      test: what is measured.
      val: what scores are fitted on, or None.
      train: what scores that say so are fitted on besides, or None.
      key: of whatever is random in a fit.
      no_intervals: why intervals of these units would mislead, or ''.
      cal: what certificates alone read, or None: its scores are computed, and nothing is fitted on it.
      shifts: name -> shifted units, of which the same holds.
    """

    task: str
    test: Part | PixelStream
    val: Part | None = None
    train: Part | None = None
    key: Array = field(default_factory=lambda: jax.random.key(0))
    no_intervals: str = ''
    cal: Part | None = None
    shifts: Mapping[str, Part] = field(default_factory=dict)
