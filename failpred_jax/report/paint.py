"""Label, error and confidence maps as pictures."""

from typing import Any

import numpy as np

VOID = np.array((128, 128, 128), np.uint8)
ERROR, CORRECT = np.array(((213, 94, 0), (228, 232, 235)), np.uint8)
# From vermillion-black (low confidence) to pale (high).
CONFIDENCE = ((46, 18, 8), (160, 60, 10), (238, 146, 60), (250, 215, 165), (252, 248, 240))
CONFIDENCE_STEPS = 48


def class_colors(num_classes: int) -> np.ndarray:
    """Return [C, 3] uint8 colors; classes with neighboring numbers are far apart in hue and differ in lightness."""
    hue = (np.arange(num_classes) * 0.61803398875) % 1.0
    light = np.where(np.arange(num_classes) % 2, 0.42, 0.66)
    # A cosine wheel: three phases one third of a turn apart, around the lightness.
    wheel = np.cos(2 * np.pi * (hue[:, None] - np.array([0.0, 1 / 3, 2 / 3])))
    return np.clip((light[:, None] + 0.3 * wheel) * 255, 0, 255).astype(np.uint8)


def labels(label: Any, num_classes: int) -> np.ndarray:
    """Return a label map [H, W] int as [H, W, 3] uint8; labels outside [0, C) (void) are gray."""
    label = np.asarray(label)
    known = (label >= 0) & (label < num_classes)
    painted = class_colors(num_classes)[np.where(known, label, 0)]
    return np.where(known[..., None], painted, VOID)


def errors(label: Any, prediction: Any, num_classes: int) -> np.ndarray:
    """Return [H, W, 3] uint8: vermillion where prediction and label differ, pale where equal, gray for void."""
    label = np.asarray(label)
    known = (label >= 0) & (label < num_classes)
    painted = np.where((label != prediction)[..., None], ERROR, CORRECT)
    return np.where(known[..., None], painted, VOID)


def confidence(values: Any, low: float, high: float) -> np.ndarray:
    """Return a confidence map [H, W] as [H, W, 3] uint8, from dark (low) to pale (high).

    Args:
      values: [H, W] float; NaN is gray.
      low: shown darkest.
      high: shown lightest.
    """
    values = np.asarray(values, np.float64)
    anchors = np.array(CONFIDENCE, np.float64)
    scaled = np.clip((np.nan_to_num(values) - low) / max(high - low, 1e-12), 0, 1)
    steps = np.round(scaled * (CONFIDENCE_STEPS - 1)) / (CONFIDENCE_STEPS - 1) * (len(anchors) - 1)
    painted = np.stack([np.interp(steps, np.arange(len(anchors)), anchors[:, c]) for c in range(3)], axis=-1)
    return np.where(np.isnan(values)[..., None], VOID, painted.astype(np.uint8))
