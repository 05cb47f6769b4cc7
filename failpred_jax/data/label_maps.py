"""The numbers in label maps as classes: 0, 1, 2, ... as they are, or others by a list, and one that counts nowhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from failpred_jax.data.lazy_maps import numbers_in
from failpred_jax.data.parts import some
from failpred_jax.errors import UserError

# The largest label of a map whose numbers nobody has explained: more would be a color or an instance.
MOST_CLASSES = 2**16


class MapRule(NamedTuple):
    """How the numbers of label maps become classes.

    Attributes:
      values: the number of each class; () for 0, 1, 2, ...
      names: of the classes; () for their numbers.
      ignore: the label, as the network sees it, whose pixels count nowhere; None for none.
      ignored_number: the number in the maps that becomes it; -1 for none.
    """

    values: tuple[int, ...]
    names: tuple[str, ...]
    ignore: int | None
    ignored_number: int

    @classmethod
    def of(cls, options: Any) -> 'MapRule':
        """Return the rule that a source's options `mask_values`, `class_names` and `ignore_label` make."""
        number = options.ignore_label
        if number < 0:
            ignore = None
        else:
            # By a list, classes are numbered anew, and what counts nowhere comes after them if it would be one of them.
            ignore = max(number, len(options.mask_values)) if options.mask_values else number
        return cls(tuple(options.mask_values), tuple(options.class_names), ignore, number)

    @property
    def dtype(self) -> type:
        """The type of the maps in memory."""
        is_small = self.values and len(self.values) <= 255 and (self.ignore or 0) <= 255
        return np.uint8 if is_small else np.uint16

    def problems(self, path: str) -> Iterator[str]:
        """Yield what cannot work."""
        if len(set(self.values)) < len(self.values):
            yield f'{path}.mask_values is {self.values}, in which a number stands twice'
        if self.ignored_number >= 0 and self.ignored_number in self.values:
            yield f'{path}.ignore_label is {self.ignored_number}, which {path}.mask_values gives a class'
        if self.values and self.names and len(self.values) != len(self.names):
            yield (
                f'{path}.mask_values has {len(self.values)} numbers, but {path}.class_names has {len(self.names)} names'
            )

    def applied(self, label: np.ndarray, where: Path | str) -> np.ndarray:
        """Return a map [H, W] of numbers as classes, of `dtype`. Raises UserError for a number that is none."""
        if not self.values:
            if label.size and (label.min() < 0 or label.max() >= MOST_CLASSES):
                wrong = label.min() if label.min() < 0 else label.max()
                raise UserError(
                    f"the label map '{where}' holds {wrong}; classes are numbers from 0 to {MOST_CLASSES - 1}"
                )
            return label.astype(self.dtype)
        known = {number: i for i, number in enumerate(self.values)}
        if self.ignore is not None:
            known[self.ignored_number] = self.ignore
        present, places = np.unique(label, return_inverse=True)
        unknown = [number for number in present.tolist() if number not in known]
        if unknown:
            raise UserError(
                f"the label map '{where}' holds {some(unknown)}, which are none of mask_values "
                f'({some(self.values)}); add '
                'them, or make them the ignore_label'
            )
        return np.array([known[n] for n in present.tolist()], self.dtype)[places].reshape(label.shape)

    def class_names(self, labels: np.ndarray, where: str, path: str) -> tuple[str, ...]:
        """Return the names of the classes of maps [N, H, W]. Raises UserError if their numbers look like no classes."""
        if self.names or self.values:
            return self.names or tuple(map(str, self.values))
        present, _ = numbers_in(labels)
        if self.ignore is not None:
            present = present[present != self.ignore]
        check_numbers(present, where, path)
        return tuple(map(str, range(int(present.max(initial=0)) + 1)))


def check_numbers(present: np.ndarray, where: str, path: str) -> None:
    """Refuse numbers that cannot be classes from 0 on, where nothing explains them.

    Args:
      present: the distinct numbers, rising, without the one that is ignored.
      where: what holds them, for the message.
      path: the section of the source's options, for the remedy.

    Raises:
      UserError: there are gaps, as where 255 means "nothing", or where a mask is black and white.
    """
    if not len(present):
        raise UserError(f'{where} hold no pixel that counts')
    largest = int(present[-1])
    empty = largest + 1 - len(present)
    if len(present) == 2 and largest >= 10 and present[0] == 0:
        raise UserError(
            f'{where} hold the numbers 0 and {largest} alone, as black and white; if these are two classes, set '
            f'--{path}.mask_values=0,{largest}; if {largest} counts nowhere, --{path}.ignore_label={largest}'
        )
    if empty > len(present) and largest >= 10:
        ignored = f'did you mean --{path}.ignore_label={largest}? Else' if largest in (254, 255, 65535) else ''
        raise UserError(
            f'{where} hold {len(present)} numbers ({some(present.tolist(), 8)}), so {empty} of {largest + 1} classes '
            f'would be without a pixel; {ignored or "if these are classes,"} list their numbers: '
            f'--{path}.mask_values=0,1,...'
        )
