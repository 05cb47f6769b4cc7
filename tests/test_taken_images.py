"""What a finished run says of images of another form: what it tells to do makes them what they should be."""

import re

import numpy as np
import pytest

from failpred_jax.errors import UserError
from failpred_jax.taken_images import checked_images

SHAPE = (4, 4, 1)


def refused(images):
    with pytest.raises(UserError) as error:
        checked_images(images, SHAPE, False)
    return str(error.value)


@pytest.mark.parametrize(
    'kind', ['int8', 'int16', 'uint16', 'int32', 'int64', 'float16', 'float32', 'float64', '0 to 1', 'bool']
)
def test_the_remedy_for_another_type_makes_the_images_that_were_meant(kind, rng):
    meant = rng.integers(0, 100 if kind == 'int8' else 256, (5, *SHAPE)).astype(np.uint8)
    if kind == 'bool':
        meant = np.where(meant > 127, 255, 0).astype(np.uint8)
    images = {'0 to 1': meant / np.float32(255), 'bool': meant > 127}.get(kind)
    images = meant.astype(kind) if images is None else images
    said = refused(images)
    remedy = re.search(r': (\(?images.*)$|become (images.*)$', said)
    assert remedy, said
    made = eval(remedy[1] or remedy[2], {'images': images})  # noqa: S307  (our own message)
    np.testing.assert_array_equal(checked_images(made, SHAPE, False), meant)


@pytest.mark.parametrize('images', [np.full((2, *SHAPE), -1), np.full((2, *SHAPE), 300), np.full((2, *SHAPE), np.nan)])
def test_values_that_are_no_bytes_have_no_remedy_but_to_be_undone(images):
    assert re.search(
        r'these reach from \S+ to \S+; undo what was done to them, and bring them to 0 to 255$', refused(images)
    )
    assert refused(np.array([['a']])).endswith('as its own images are stored')
