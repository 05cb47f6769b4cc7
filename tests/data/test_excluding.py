"""Classes that are left out, whatever they are called."""

import numpy as np
import pytest

from failpred_jax.data.excluding import without_classes
from failpred_jax.data.sources import RawData
from failpred_jax.types import DatasetInfo, Examples

NAMES = ('gown', 'gown, dress', ' cap ', 'a,b , c', 'dress', 'plain')


def of_names(names):
    labels = np.arange(3 * len(names), dtype=np.int32) % len(names)
    examples = Examples(np.zeros((len(labels), 2, 2, 1), np.uint8), labels)
    return RawData(DatasetInfo('clothes', 'classification', (2, 2, 1), names), examples, None, examples)


@pytest.mark.parametrize(
    ('given', 'left_out'),
    [
        (('gown',), [0]),
        # As a list on the command line, or of a config file, comes.
        (('gown', 'dress'), [1]),
        (('dress', 'gown'), [4, 0]),
        (('a', 'b', 'c'), [3]),
        (('gown', 'a', 'b', 'c', 'plain'), [0, 3, 5]),
        (('cap',), [2]),
    ],
)
def test_names_with_commas_are_found_in_a_list_of_words(given, left_out):
    raw = of_names(NAMES)
    rest, strangers = without_classes(raw, given)
    assert rest.info.class_names == tuple(name for n, name in enumerate(NAMES) if n not in left_out)
    assert set(strangers.labels.tolist()) == set(left_out)
