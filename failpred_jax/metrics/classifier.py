"""Calibration and classification metrics for callers with data: checked inputs, double precision, JSON-able values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from failpred_jax.errors import UserError
from failpred_jax.metrics.calibration import (
    classwise_ece,
    confidence_calibration,
    multiclass_brier,
    multiclass_nll,
)
from failpred_jax.metrics.classification import confusion_matrix, confusion_values, top_k_accuracy
from failpred_jax.metrics.ranking import check_inputs
from failpred_jax.metrics.reliability import NUM_BINS
from failpred_jax.metrics.segmentation import segmentation_values
from failpred_jax.registry import METRICS
from failpred_jax.types import Array

_confusion = functools.partial(jax.jit, static_argnames='num_classes')(confusion_matrix)
_calibration = functools.partial(jax.jit, static_argnames='num_bins')(confidence_calibration)


@functools.partial(jax.jit, static_argnames=('num_bins', 'top_k'))
def _from_probs(probs: Array, labels: Array, mask: Array, num_bins: int, top_k: tuple[int, ...]):
    found = {f'top_{k}_accuracy': top_k_accuracy(probs, labels, mask, k=k) for k in top_k}
    return found | {
        'multiclass_nll': multiclass_nll(probs, labels, mask),
        'multiclass_brier': multiclass_brier(probs, labels, mask),
        'classwise_ece': classwise_ece(probs, labels, mask, num_bins),
    }


def calibration_metrics(
    confidence: Array, correct: Array, mask: Array | None = None, num_bins: int = NUM_BINS
) -> dict[str, float]:
    """Return how well a confidence serves as the probability of being correct.

    Args:
      confidence: [...] float in [0, 1]; rounded to float32.
      correct: [...] bool (or 0 and 1).
      mask: [...] bool; False marks units that count nowhere. None counts all.
      num_bins: bins of ECE, MCE and the parts of the Brier score.

    Returns:
      {ece, ece_equal_mass, signed_ece, mce, brier, brier_reliability, brier_resolution, brier_uncertainty, nll: float}.
      NaN throughout for no unit; NLL is infinite where a certain confidence was wrong.

    Raises:
      UserError: shapes differ, or a counted confidence is outside [0, 1].

    Reference: Guo et al., ICML 2017, equations 3 and 5; Murphy, Journal of Applied Meteorology 1973.
    """
    _, correct, mask = check_inputs(np.asarray(confidence, np.float32), correct, mask)
    return checked_calibration(confidence, correct, mask, num_bins)


def checked_calibration(
    confidence: Array, correct: Array, mask: Array | None = None, num_bins: int = NUM_BINS
) -> dict[str, float]:
    """Return what `calibration_metrics` does, of `correct` [N] that was checked: bool, or float grades in [0, 1]."""
    narrow = np.asarray(confidence, np.float32).reshape(-1)
    counted = narrow if mask is None else narrow[np.asarray(mask)]
    outside = int(np.sum(~((counted >= 0) & (counted <= 1))))
    if outside:
        raise UserError(
            f'confidence is outside [0, 1] for {outside} of {counted.size} units; calibration is about probabilities: '
            'map the score to [0, 1] (Platt scaling), or leave out its calibration'
        )
    with jax.enable_x64(jax.default_backend() != 'tpu'):
        found = jax.device_get(_calibration(narrow, correct, mask, num_bins))
    return {name: float(found[name]) for name in METRICS if name in found}


def classifier_metrics(
    probs: Array,
    labels: Array,
    mask: Array | None = None,
    num_bins: int = NUM_BINS,
    top_k: tuple[int, ...] = (5,),
) -> dict[str, float | list]:
    """Return how good a classifier's predictions and class probabilities are.

    Args:
      probs: [..., C] float in [0, 1]; the prediction is the first class of highest probability.
      labels: [...] int in [0, C).
      mask: [...] bool; False marks units that count nowhere. None counts all.
      num_bins: bins of the classwise ECE.
      top_k: values of k; those of C or more are left out.

    Returns:
      {accuracy, balanced_accuracy, top_<k>_accuracy, multiclass_nll, multiclass_brier, classwise_ece: float; recall,
      precision, f1: [C] floats; confusion: [C][C] ints, rows labels}. NaN where undefined.

    Raises:
      UserError: shapes do not fit, or a counted label or probability is out of range.

    Reference: scikit-learn accuracy_score, balanced_accuracy_score, precision_recall_fscore_support, log_loss.
    """
    probs, labels = np.asarray(probs), np.asarray(labels)
    num_classes = probs.shape[-1]
    mask = np.ones(labels.shape, bool) if mask is None else np.asarray(mask)
    check_labels(labels, probs.shape[:-1], mask, num_classes)
    good: np.ndarray = np.all((probs >= 0) & (probs <= 1), axis=-1)
    if not good[mask].all():
        raise UserError(
            f'probs has values outside [0, 1] for {int(np.sum(~good[mask]))} units; apply softmax to logits'
        )
    predicted = np.argmax(probs, axis=-1)
    ks = tuple(k for k in top_k if k < num_classes)
    with jax.enable_x64(jax.default_backend() != 'tpu'):
        confusion = _confusion(predicted, labels, mask, num_classes=num_classes)
        found = confusion_values(confusion) | _from_probs(probs, labels, mask, num_bins, ks)
    found = {name: np.asarray(value).tolist() for name, value in found.items()}
    return found | {'confusion': np.asarray(confusion).tolist()}


def segmentation_metrics(confusion: Array) -> dict[str, float | list]:
    """Return pixel accuracy, IoU and per-class figures of a segmentation from its confusion matrix.

    Args:
      confusion: [C, C] int, rows labels: the sum of `confusion_matrix` over all batches.

    Returns:
      {pixel_accuracy, mean_iou, balanced_accuracy: float; iou, recall, precision, f1: [C] floats; confusion}.

    Reference: Long, Shelhamer & Darrell, CVPR 2015, section 5.
    """
    confusion = np.asarray(confusion)
    with jax.enable_x64(jax.default_backend() != 'tpu'):
        found = confusion_values(jnp.asarray(confusion)) | segmentation_values(jnp.asarray(confusion))
    del found['accuracy']  # The pixel accuracy, under its name in segmentation.
    return {name: np.asarray(value).tolist() for name, value in found.items()} | {'confusion': confusion.tolist()}


def check_labels(labels: np.ndarray, shape: tuple[int, ...], mask: np.ndarray, num_classes: int) -> None:
    """Raise UserError unless labels and mask have `shape` and counted labels are in [0, C)."""
    for name, x in (('labels', labels), ('mask', mask)):
        if x.shape != shape:
            raise UserError(f'{name} has shape {x.shape}, but the predictions ask for {shape}; give one value per unit')
    if labels.dtype.kind not in 'iu':
        raise UserError(f'labels has type {labels.dtype}; give integers')
    bad = mask & ((labels < 0) | (labels >= num_classes))
    if bad.any():
        raise UserError(
            f'{int(bad.sum())} labels are outside 0 ... {num_classes - 1}, such as {labels[bad][0]}; mask the units to '
            'ignore'
        )
