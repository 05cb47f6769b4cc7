"""Results to make reports of: real digits, a synthetic segmentation, and ten thousand images."""

import functools

import numpy as np
import pytest
import sklearn.datasets
import sklearn.linear_model
import sklearn.metrics

from failpred_jax.results import Results

HOSTILE = '<script>alert(1)</script>'


def score_table(confidences: dict[str, np.ndarray], correct: np.ndarray, intervals: bool = True) -> dict[str, dict]:
    """Return the metrics of each score by scikit-learn, with rough intervals."""
    table = {}
    for name, confidence in confidences.items():
        order = np.argsort(-confidence, kind='stable')
        accepted = np.arange(1, len(correct) + 1)
        errors = np.cumsum(~correct[order])
        row = {
            'auroc': float(sklearn.metrics.roc_auc_score(correct, confidence)),
            'aupr_success': float(sklearn.metrics.average_precision_score(correct, confidence)),
            'aupr_error': float(sklearn.metrics.average_precision_score(~correct, -confidence)),
            'fpr_at_95tpr': float(np.mean(confidence[~correct] >= np.quantile(confidence[correct], 0.05))),
            'aurc': float(np.mean(errors / accepted)),
            'augrc': float(np.mean(errors) / len(correct)),
            'risk_at_80_coverage': float(errors[int(0.8 * len(correct))] / (0.8 * len(correct))),
        }
        row['e_aurc'] = row['aurc'] - 0.001
        if intervals:
            row['ci'] = {key: [max(0.0, value * 0.85), min(1.0, value * 1.1)] for key, value in row.items()}
        table[name] = row
    return table


def comparisons(table: dict[str, dict]) -> list[dict]:
    names = list(table)
    rows = []
    for metric in ('aurc', 'auroc', 'aupr_error'):
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                difference = table[a][metric] - table[b][metric]
                half = 0.004 if metric == 'aurc' else 0.03
                rows.append(
                    {
                        'metric': metric,
                        'a': a,
                        'b': b,
                        'difference': difference,
                        'low': difference - half,
                        'high': difference + half,
                        'a_wins': 0.4,
                    }
                )
    return rows


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def make_confidences(logits: np.ndarray, labels: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Return confidences of a classifier: real ones from its logits, and stand-ins for learned ones."""
    rng = np.random.default_rng(seed)
    probabilities = softmax(logits)
    ordered = np.sort(probabilities, axis=-1)
    true = probabilities[np.arange(len(labels)), labels]
    found = {
        'mcp': ordered[:, -1],
        'margin': ordered[:, -1] - ordered[:, -2],
        'negative_entropy': (probabilities * np.log(probabilities + 1e-12)).sum(-1),
        'max_logit': logits.max(-1),
        'confidnet': 1 / (1 + np.exp(-(4 * (0.55 * true + 0.45 * ordered[:, -1]) - 2 + rng.normal(0, 0.5, len(true))))),
        'confidnet_finetuned': np.clip(0.6 * true + 0.4 * ordered[:, -1] + rng.normal(0, 0.08, len(true)), 0, 1),
        'tcp': true,
    }
    return {name: values.astype(np.float32) for name, values in found.items()}


def make_history(rng: np.random.Generator, stages=('baseline', 'confidence', 'finetune'), epochs: int = 30) -> dict:
    history = {}
    for stage in stages:
        epoch = np.arange(1, epochs + 1)
        fall = np.exp(-epoch / 6)
        columns = {
            'epoch': epoch.tolist(),
            'step': (epoch * 10).tolist(),
            'train_loss': (fall + 0.1 + rng.normal(0, 0.01, epochs)).tolist(),
            'val_loss': (fall + 0.2 + rng.normal(0, 0.02, epochs)).tolist(),
            'learning_rate': (0.1 * fall).tolist(),
        }
        if stage == 'baseline':
            columns['train_accuracy'] = (1 - fall * 0.7).tolist()
            columns['val_accuracy'] = (0.95 - fall * 0.7).tolist()
        columns['val_auroc'] = [None, *(0.93 - 0.1 * fall[1:] + rng.normal(0, 0.01, epochs - 1)).tolist()]
        columns['val_aupr_error'] = (0.5 - 0.2 * fall + rng.normal(0, 0.02, epochs)).tolist()
        history[stage] = columns
    return history


def definitions(names: list[str]) -> dict:
    probability = ('mcp', 'confidnet', 'confidnet_finetuned')
    return {
        'metrics': {
            'auroc': {
                'definition': 'Area under the ROC curve, correct being positive.',
                'reference': 'sklearn roc_auc_score',
            },
            'aurc': {'definition': 'Area under the risk-coverage curve.', 'reference': 'Geifman et al., ICLR 2019'},
        },
        'scores': {
            name: {
                'description': f'What {name} is, in one line.',
                'reference': 'Corbière et al., NeurIPS 2019, eq. 2',
                'reads_label': name == 'tcp',
                'is_probability': name in probability,
            }
            for name in names
        },
    }


def make_results(
    labels: np.ndarray, logits: np.ndarray, images: np.ndarray | None, class_names: list[str], name: str, **dataset
) -> Results:
    """Return whole Results of a classifier, every optional part filled."""
    correct = logits.argmax(-1) == labels
    confidences = make_confidences(logits, labels)
    table = score_table(confidences, correct)
    for score in ('mcp', 'confidnet'):
        table[score]['calibration'] = {'ece': 0.07, 'brier': 0.11, 'signed_ece': -0.01}
    table['confidnet']['notes'] = ['best checkpoint at epoch 12']
    usable = sorted((n for n in table if n != 'tcp'), key=lambda n: table[n]['aurc'])
    rng = np.random.default_rng(0)
    metrics = {
        'classifier': {
            'accuracy': float(correct.mean()),
            'num_errors': int((~correct).sum()),
            'num_units': len(labels),
            'multiclass_nll': 0.31,
            'top_5_accuracy': 0.99,
        },
        'scores': table,
        'best': {'aurc': usable[:3], 'auroc': usable[:2]},
        'comparisons': comparisons({n: table[n] for n in ('confidnet_finetuned', 'confidnet', 'mcp', 'max_logit')}),
        'unavailable': {'mc_dropout': 'the model has no dropout'},
        'undefined': {},
        'calibration': {'temperature': 1.62},
    }
    context = {
        'dataset': {
            'name': name,
            'task': 'classification',
            'num_classes': len(class_names),
            'class_names': class_names,
            'num_train': 200,
            'num_val': 40,
            'num_test': len(labels),
            **dataset,
        },
        'model': {'name': 'mlp', 'hidden_units': 64, 'num_parameters': 12345},
        'stages': [
            {
                'name': stage,
                'step': 210,
                'num_steps': 300,
                'seconds': 12.3,
                'best_value': 0.51,
                'select_by': 'val_aupr_error',
            }
            for stage in ('baseline', 'confidence', 'finetune')
        ],
        'warnings': ['TCP is above 0.99 for 91 % of the training images: the head has little to learn from.'],
        'config': {'seed': 0, 'data': {'name': name}, 'evaluate': {'interval': 0.95}},
        'environment': {'python': '3.11.7', 'devices': ['TFRT_CPU_0'], 'git_commit': '40b1b86d0c'},
        'created': '2026-11-22T18:30:00',
        'mode': 'run',
        'definitions': definitions(list(table)),
        'train_targets': {
            'num_units': 220,
            'num_errors': 9,
            'histogram': {
                'edges': np.linspace(0, 1, 21).tolist(),
                'correct': [*[0] * 6, *[2] * 13, 160],
                'wrong': [4, 2, 1, 1, 1, *[0] * 15],
            },
        },
    }
    return Results(metrics, context, labels, logits, correct, confidences, images, make_history(rng))


@functools.cache
def digits_results(hostile: bool = False) -> Results:
    """Return the real digits under a weak classifier, about 130 errors in 1,597 images."""
    digits = sklearn.datasets.load_digits()
    model = sklearn.linear_model.LogisticRegression(C=0.05, max_iter=500)
    model.fit(digits.data[:200] / 16, digits.target[:200])
    logits = (6 * model.decision_function(digits.data[200:] / 16)).astype(np.float32)
    images = (digits.images[200:] * 15.9).astype(np.uint8)[..., None]
    names = [str(i) for i in range(10)]
    if hostile:
        names[3], names[4], names[5] = HOSTILE, '</script><!--<b>x', 'a & b "c" %{x} {y}'
    name = f'digits{HOSTILE}' if hostile else 'digits'
    results = make_results(digits.target[200:].astype(np.int32), logits, images, names, name, image_shape=[8, 8, 1])
    if hostile:
        results.context['warnings'].append(f'a warning with {HOSTILE}')
        results.context['config']['data']['path'] = f'/data/{HOSTILE}'
    return results


@functools.cache
def large_results(num: int = 10_000, num_classes: int = 10, seed: int = 1) -> Results:
    """Return as many synthetic images as MNIST's or CIFAR-10's test set holds, 32 by 32 in color."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num).astype(np.int32)
    logits = rng.normal(0, 1.6, (num, num_classes)).astype(np.float32)
    logits[np.arange(num), labels] += rng.gamma(4, 1.7, num).astype(np.float32)
    images = rng.integers(0, 256, (num, 32, 32, 3), dtype=np.uint8)
    names = [f'class number {i}' for i in range(num_classes)]
    return make_results(labels, logits, images, names, 'cifar10', image_shape=[32, 32, 3])


@functools.cache
def segmentation_results() -> Results:
    """Return six synthetic street scenes with precomputed curves and no per-unit arrays, as a large run has."""
    rng = np.random.default_rng(2)
    height, width, num_classes = 120, 160, 6
    rows, columns = np.mgrid[:height, :width]
    maps: dict[str, list] = {key: [] for key in ('image', 'label', 'prediction', 'accuracy', 'index')}
    confidences: dict[str, list] = {'mcp': [], 'confidnet': [], 'tcp': []}
    colors = rng.integers(40, 220, (num_classes, 3))
    for index in range(6):
        label = np.full((height, width), 2)
        horizon = 40 + 5 * index
        label[rows < horizon] = 0
        label[(rows > horizon - 20) & (columns % 50 < 22)] = 1
        label[(rows - 90) ** 2 + (columns - 60 - 8 * index) ** 2 < 400] = 3
        label[(columns > 130) & (columns < 136)] = 4
        label[:, :3] = -1
        edge = np.zeros(label.shape)
        edge[1:, :] += label[1:, :] != label[:-1, :]
        edge[:, 1:] += label[:, 1:] != label[:, :-1]
        for _ in range(4):
            edge = (edge + np.roll(edge, 1, 0) + np.roll(edge, -1, 0) + np.roll(edge, 1, 1) + np.roll(edge, -1, 1)) / 3
        sure = np.clip(1 - 0.8 * edge + rng.normal(0, 0.05, label.shape), 0.05, 1)
        wrong = rng.random(label.shape) > sure
        prediction = np.where(wrong, rng.integers(0, num_classes, label.shape), np.maximum(label, 0))
        image = np.clip(colors[np.maximum(label, 0)] + rng.normal(0, 18, (*label.shape, 3)), 0, 255)
        maps['image'].append(image.astype(np.uint8))
        maps['label'].append(label)
        maps['prediction'].append(prediction)
        maps['index'].append(30 + index)
        maps['accuracy'].append(float((prediction == label)[label >= 0].mean()))
        confidences['mcp'].append(np.clip(sure + rng.normal(0, 0.1, label.shape), 0, 1))
        confidences['confidnet'].append(sure)
        confidences['tcp'].append(np.where(wrong, 0.2, sure))
    arrays = {key: np.array(values) for key, values in maps.items()}
    arrays.update({f'confidence_{key}': np.array(v, np.float32) for key, v in confidences.items()})
    known = arrays['label'] >= 0
    correct = (arrays['prediction'] == arrays['label'])[known]
    flat = {key: np.array(v, np.float32)[known] for key, v in confidences.items()}
    table = score_table(flat, correct)
    curves = {}
    for name, confidence in flat.items():
        order = np.argsort(-confidence)
        errors, accepted = np.cumsum(~correct[order]), np.arange(1, len(order) + 1)
        keep = np.unique(np.linspace(0, len(order) - 1, 200).astype(int))
        edges = np.linspace(0, 1, 101)
        curves[name] = {
            'risk_coverage': [(accepted / len(order))[keep].tolist(), (errors / accepted)[keep].tolist()],
            'roc': [
                (errors / errors[-1])[keep].tolist(),
                ((accepted - errors) / (accepted - errors)[-1])[keep].tolist(),
            ],
            'pr_error': [np.linspace(0, 1, 50).tolist(), np.linspace(0.9, 0.1, 50).tolist()],
            'histogram': {
                'edges': edges.tolist(),
                'correct': np.histogram(confidence[correct], edges)[0].tolist(),
                'wrong': np.histogram(confidence[~correct], edges)[0].tolist(),
            },
        }
    iou = [0.91, 0.72, 0.95, 0.61, 0.33, None]
    names = ['sky', 'building', 'road', 'car', 'pole', 'pedestrian']
    base = digits_results()
    metrics = {
        'classifier': {
            'accuracy': float(correct.mean()),
            'num_errors': int((~correct).sum()),
            'num_units': len(correct),
            'mean_iou': 0.704,
            'iou': iou,
            'confusion': sklearn.metrics.confusion_matrix(
                arrays['label'][known], arrays['prediction'][known], labels=range(num_classes)
            ).tolist(),
        },
        'scores': table,
        'best': {'aurc': ['confidnet']},
        'comparisons': [],
        'curves': curves,
    }
    context = {
        **base.context,
        'dataset': {
            'name': 'camvid',
            'task': 'segmentation',
            'num_classes': num_classes,
            'class_names': names,
            'image_shape': [120, 160, 3],
            'num_test': 233,
        },
        'model': {'name': 'segnet'},
        'warnings': [],
        'definitions': definitions(list(table)),
    }
    empty = np.zeros(0)
    return Results(
        metrics,
        context,
        empty.astype(np.int32),
        np.zeros((0, num_classes), np.float32),
        empty.astype(bool),
        {},
        history=base.history,
        maps=arrays,
    )


@pytest.fixture(scope='session')
def digits() -> Results:
    return digits_results()


@pytest.fixture(scope='session')
def hostile() -> Results:
    return digits_results(hostile=True)


@pytest.fixture(scope='session')
def large() -> Results:
    return large_results()


@pytest.fixture(scope='session')
def segmentation() -> Results:
    return segmentation_results()
