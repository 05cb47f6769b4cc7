"""Another data set of tensorflow-datasets."""

import dataclasses
import sys

from failpred_jax.data.sources import images_of
from failpred_jax.errors import UserError
from failpred_jax.registry import SHIFTS, SOURCES
from failpred_jax.shift.images import Form, ShiftImages, in_form, own_classes


@SHIFTS.register('tfds', argument='NAME, or NAME@SPLIT')
def load(argument: str, form: Form) -> ShiftImages:
    """Return the test split (or another) of a prepared set; strangers unless its classes are the run's."""
    name, _, split = argument.partition('@')
    if not name:
        raise UserError("give the name of a tfds data set, such as 'tfds:cifar10'")
    split = split or 'test'
    options = form.data.options_of('tfds')
    # The source wants a training part as well: one image of the split.
    options = dataclasses.replace(
        options, name=name, train_split=f'{split}[:1]', test_split=f'{split}[1:]', validation_split=''
    )
    # In memory whatever its size: its images are brought to the form of the run's.
    raw = SOURCES['tfds'](dataclasses.replace(form.data, source='tfds', memory_mb=sys.maxsize), options)
    if raw.info.task != 'classification' or raw.test is None:
        raise UserError(f"'{name}' is no set of classified images")
    is_own = own_classes(raw.info.class_names, form.info)
    return ShiftImages(
        in_form(images_of(raw.test), form.info),
        raw.test.labels if is_own else None,
        f'the {split} split of {name}, {"of the same classes" if is_own else "strangers"}',
    )
