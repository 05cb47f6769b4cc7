"""The results of the paper, to compare a run with.

Source: Corbière, Thome, Bar-Hen, Cord and Pérez, "Addressing Failure Prediction by Learning Model Confidence",
NeurIPS 2019, table 1; https://arxiv.org/abs/1910.04851. All in percent, one training run each.
"""

from collections.abc import Mapping
from typing import Any

SOURCE = 'Corbière et al., NeurIPS 2019, table 1 (arXiv:1910.04851)'
METRICS = ('fpr_at_95tpr', 'aupr_error', 'aupr_success', 'auroc')

# experiment -> score of ours -> values of METRICS; None where the paper prints none.
FIGURES: dict[str, dict[str, tuple[float | None, ...]]] = {
    'MNIST, MLP': {
        'mcp': (14.87, 37.70, 99.94, 97.13),
        'mc_dropout': (15.15, 38.22, 99.94, 97.15),
        'trust_score': (12.31, 52.18, 99.95, 97.52),
        'confidnet': (11.79, 57.37, 99.95, 97.83),
    },
    'MNIST, small convnet': {
        'mcp': (5.56, 35.05, 99.99, 98.63),
        'mc_dropout': (5.26, 38.50, 99.99, 98.65),
        'trust_score': (10.00, 35.88, 99.98, 98.20),
        'confidnet': (3.33, 45.89, 99.99, 98.82),
    },
    'SVHN, small convnet': {
        'mcp': (31.28, 48.18, 99.54, 93.20),
        'mc_dropout': (36.60, 43.87, 99.52, 92.85),
        'trust_score': (34.74, 43.32, 99.48, 92.16),
        'confidnet': (28.58, 50.72, 99.55, 93.44),
    },
    'CIFAR-10, VGG16': {
        'mcp': (47.50, 45.36, 99.19, 91.53),
        'mc_dropout': (49.02, 46.40, 99.27, 92.08),
        'trust_score': (55.70, 38.10, 98.76, 88.47),
        'confidnet': (44.94, 49.94, 99.24, 92.12),
    },
    'CIFAR-100, VGG16': {
        'mcp': (67.86, 71.99, 92.49, 85.67),
        'mc_dropout': (64.68, 72.59, 92.96, 86.09),
        'trust_score': (71.74, 66.82, 91.58, 84.17),
        'confidnet': (62.96, 73.68, 92.68, 86.28),
    },
    'CamVid, SegNet': {
        'mcp': (63.87, 48.53, 96.37, 84.42),
        'mc_dropout': (62.95, 49.35, 96.40, 84.58),
        'trust_score': (None, 20.42, 92.72, 68.33),
        'confidnet': (61.52, 50.51, 96.58, 85.02),
    },
}

# Scores of ours that the paper's column of that name is compared with; the paper's ConfidNet is the fine-tuned one.
ALIASES = {
    'mcp': ('mcp',),
    'mc_dropout': ('mc_dropout', 'mc_dropout_entropy', 'mc_entropy', 'mc_dropout_mcp'),
    'trust_score': ('trust_score',),
    'confidnet': ('confidnet_finetuned', 'confidnet'),
}


def experiment_of(dataset: str, model: str) -> str | None:
    """Return the paper's experiment on this data set and architecture, or None.

    Args:
      dataset: name of the data set, such as 'mnist' or 'cifar10'.
      model: name of the architecture; MNIST has two experiments, one with an 'mlp'.
    """
    key = dataset.lower().replace('-', '').replace('_', '').removesuffix('cropped')
    if key == 'mnist':
        return 'MNIST, MLP' if 'mlp' in model.lower() else 'MNIST, small convnet'
    return {
        'svhn': 'SVHN, small convnet',
        'cifar10': 'CIFAR-10, VGG16',
        'cifar100': 'CIFAR-100, VGG16',
        'camvid': 'CamVid, SegNet',
    }.get(key)


def comparison(experiment: str, ours: Mapping[str, Any]) -> list[tuple[str, str | None, tuple[float | None, ...]]]:
    """Return (paper's score, our score or None, the paper's values of METRICS as shares) for each score of a row.

    Args:
      experiment: a key of FIGURES.
      ours: the run's scores.
    """
    rows = []
    for score, values in FIGURES[experiment].items():
        match = next((name for name in ALIASES[score] if name in ours), None)
        rows.append((score, match, tuple(None if v is None else v / 100 for v in values)))
    return rows
