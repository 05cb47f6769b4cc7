"""Anybody's predictions, as files and arrays of many forms, brought to one form and checked; see file.py."""

from failpred_jax.prediction_file.file import parse_arrays as parse_arrays
from failpred_jax.prediction_file.file import read_parts as read_parts
from failpred_jax.prediction_file.file import read_predictions as read_predictions
from failpred_jax.prediction_file.part import Units as Units
