"""failpred_jax: software that knows when a neural network is wrong.

failpred_jax.evaluate_predictions(labels, logits, confidences)   compare confidence scores on any predictions
failpred_jax.load(workdir).predict(images)                        what a finished run says of new images
failpred_jax.metrics.failure_metrics(confidence, correct)         how well one confidence finds the errors
"""

import importlib
from typing import Any

__version__ = '0.1.0'


def __getattr__(name: str) -> Any:
    # Loaded when first used, so that importing the package costs nothing.
    if name == 'evaluate_predictions':
        return importlib.import_module('failpred_jax.predictions').evaluate_predictions
    if name == 'load':
        return importlib.import_module('failpred_jax.predictor').load
    if name in ('metrics', 'report'):
        return importlib.import_module(f'failpred_jax.{name}')
    raise AttributeError(f"module 'failpred_jax' has no attribute '{name}'")
