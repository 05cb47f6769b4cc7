"""Another data set of tensorflow-datasets."""

import dataclasses

from failpred_jax.data.sources import images_of
from failpred_jax.data.tfds import load_split
from failpred_jax.errors import UserError
from failpred_jax.registry import SHIFTS
from failpred_jax.shift.images import Form, ShiftImages, in_form, own_classes


@SHIFTS.register('tfds', argument='NAME, or NAME@SPLIT')
def load(argument: str, form: Form) -> ShiftImages:
    """Return the test split (or another) of a prepared set; strangers unless its classes are the run's."""
    name, _, split = argument.partition('@')
    if not name:
        raise UserError("give the name of a tfds data set, such as 'tfds:cifar10'")
    split = split or 'test'
    options = dataclasses.replace(form.data.options_of('tfds'), name=name)
    info, found = load_split(form.data, options, split)
    if info.task != 'classification':
        raise UserError(f"'{name}' is no set of classified images")
    is_own = own_classes(info.class_names, form.info)
    return ShiftImages(
        in_form(images_of(found), form.info),
        found.labels if is_own else None,
        f'the {split} split of {name}, {"of the same classes" if is_own else "strangers"}',
    )
